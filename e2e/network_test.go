package e2e

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// troubledNetwork is the brokers' side of their connections.
type troubledNetwork struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	until time.Time // until when nothing moves
}

// topics are those of an ingester with the default prefix.
var topics = []string{"millrace.message", "millrace.status", "millrace.reject"}

// troubledCluster is two brokers on such a network, with all topics.
func troubledCluster(t *testing.T, partitions int32) (*kfake.Cluster, *troubledNetwork) {
	t.Helper()
	network := &troubledNetwork{conns: map[net.Conn]bool{}}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.ListenFn(network.listen), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		network.stall(0)
		cluster.Close()
	})
	return cluster, network
}

func (n *troubledNetwork) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return troubledListener{l, n}, err
}

type troubledListener struct {
	net.Listener
	n *troubledNetwork
}

func (l troubledListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.conns[c] = true
	return &troubledConn{c, l.n}, nil
}

type troubledConn struct {
	net.Conn
	n *troubledNetwork
}

func (c *troubledConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.wait()
	return n, err
}

func (c *troubledConn) Write(b []byte) (int, error) {
	c.n.wait()
	return c.Conn.Write(b)
}

func (c *troubledConn) Close() error {
	c.n.mu.Lock()
	delete(c.n.conns, c.Conn)
	c.n.mu.Unlock()
	return c.Conn.Close()
}

func (n *troubledNetwork) wait() {
	for {
		n.mu.Lock()
		d := time.Until(n.until)
		n.mu.Unlock()
		if d <= 0 {
			return
		}
		time.Sleep(min(d, 20*time.Millisecond)) // the end may be brought forward
	}
}

func (n *troubledNetwork) stall(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until = time.Now().Add(d)
}

func (n *troubledNetwork) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.Close()
	}
}
