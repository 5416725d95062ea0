package kafkagroup

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// leaveTimeout bounds how long leaving the group may take before its connections are cut.
const leaveTimeout = 3 * time.Second

// Dialer knows the group's connections, to cut them. It goes into the group's configuration.
type Dialer struct {
	*kafka.Dialer
	mutex sync.Mutex
	conns map[net.Conn]struct{}
}

// NewDialer makes one that dials as d does.
func NewDialer(d *kafka.Dialer) *Dialer {
	g := &Dialer{conns: map[net.Conn]struct{}{}}
	own := *d
	dial := own.DialFunc
	if dial == nil {
		dial = (&net.Dialer{Timeout: own.Timeout, KeepAlive: own.KeepAlive}).DialContext
	}
	own.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w := &conn{Conn: c, g: g}
		g.mutex.Lock()
		g.conns[w] = struct{}{}
		g.mutex.Unlock()
		return w, nil
	}
	g.Dialer = &own
	return g
}

type conn struct {
	net.Conn
	g *Dialer
}

func (c *conn) Close() error {
	c.g.mutex.Lock()
	delete(c.g.conns, c)
	c.g.mutex.Unlock()
	return c.Conn.Close()
}

// Leave leaves the group, or cuts its connections when that takes too long.
func (g *Dialer) Leave(group *kafka.ConsumerGroup) {
	left := make(chan struct{})
	go func() { group.Close(); close(left) }()
	cut := time.NewTicker(leaveTimeout)
	defer cut.Stop()
	for range 3 {
		select {
		case <-left:
			return
		case <-cut.C:
			g.mutex.Lock()
			conns := make([]net.Conn, 0, len(g.conns))
			for c := range g.conns {
				conns = append(conns, c)
			}
			g.mutex.Unlock()
			for _, c := range conns {
				c.Close()
			}
		}
	}
}
