package ingester

import (
	"context"
	"sync"
)

// Gate stops intake from outside: the trial stack closes it when its disk is
// nearly full. While it is closed TCP waits and datagrams are counted as drops.
// The zero value is open.
type Gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil: the gate is open
}

// Close stops intake until Open.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

// Open lets intake go on.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// closed is nil when the gate is open, else a channel that ends with the wait.
func (g *Gate) closed() <-chan struct{} {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
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
