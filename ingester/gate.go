package ingester

import (
	"context"
	"sync/atomic"
)

// Gate stops intake from outside: the trial stack closes it when its disk is
// nearly full. While it is closed TCP waits and datagrams are counted as drops.
// The zero value is open.
type Gate struct {
	opened atomic.Pointer[chan struct{}] // nil: the gate is open
}

// Close stops intake until Open.
func (g *Gate) Close() {
	opened := make(chan struct{})
	g.opened.CompareAndSwap(nil, &opened)
}

// Open lets intake go on.
func (g *Gate) Open() {
	if opened := g.opened.Swap(nil); opened != nil {
		close(*opened)
	}
}

// closed is nil when the gate is open, else a channel that ends with the wait.
// Every frame asks.
func (g *Gate) closed() <-chan struct{} {
	if g == nil {
		return nil
	}
	if opened := g.opened.Load(); opened != nil {
		return *opened
	}
	return nil
}

// wait returns when the gate is open or the context has ended.
func (g *Gate) wait(ctx context.Context) error {
	closed := g.closed()
	if closed == nil {
		return nil
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
