package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"millrace/ingester/framing"
)

// party takes frames in sinks of which the first to get beyond a full batch waits for
// another to take one.
type party struct {
	other chan struct{} // closed when a second sink took a frame
	mu    sync.Mutex
	taken map[string]int // how often a frame came
	sinks int
}

type guest struct {
	*party
	number, frames int
}

func (p *party) open(Receipts) Sink {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sinks++
	return &guest{party: p, number: p.sinks}
}

func (g *guest) Frame(_ netip.AddrPort, f framing.Frame) error {
	g.mu.Lock()
	g.taken[string(f.Bytes)]++
	g.mu.Unlock()
	g.frames++
	switch {
	case g.number == 2 && g.frames == 1:
		close(g.other)
	case g.number == 1 && g.frames > batchSize:
		select {
		case <-g.other:
		case <-time.After(patience):
			return errors.New("nobody else reads")
		}
	}
	return nil
}

func (g *guest) Flush() {}

// One socket, and one sender: while a reader is busy with a full batch another goes on.
func TestReadAlong(t *testing.T) {
	t.Parallel()
	l, err := Listen(Options{Network: "udp", Address: "127.0.0.1:0", Sockets: 1, ReceiveBuffer: 4 << 20, DrainTime: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	udp := l.(*udpListener)
	udp.readers = 3
	c, err := net.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 10 * batchSize
	for i := range n { // they are all there when the first batch is read
		send(t, c, fmt.Sprintf("<14>%d", i))
	}
	p := &party{other: make(chan struct{}), taken: map[string]int{}}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, ctx, p.open) }()
	eventually(t, "all are taken", func() bool { return l.Stats().Frames.Load() == n })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(p.taken) != n {
		t.Errorf("%d different frames of %d", len(p.taken), n)
	}
	if p.sinks < 2 || l.Stats().Kernel.Load() != 0 || l.Stats().Shutdown.Load() != 0 {
		t.Errorf("%d sinks, %d drops, %d not taken", p.sinks, l.Stats().Kernel.Load(), l.Stats().Shutdown.Load())
	}
}
