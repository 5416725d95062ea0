package embedded

import (
	"io"
	"log/slog"
	"net"
	"sync"
)

// relay hands TCP connections from one address on to another: ClickHouse can
// open all its listeners only on one host.
type relay struct {
	addr hostPort
	ln   net.Listener

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	wait   sync.WaitGroup
}

func startRelay(listener string, a hostPort, target string, log *slog.Logger) (*relay, error) {
	ln, err := listen(listener, a)
	if err != nil {
		return nil, err
	}
	a.port = ln.Addr().(*net.TCPAddr).Port
	r := &relay{addr: a, ln: ln, conns: make(map[net.Conn]struct{})}
	r.wait.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed
			}
			r.wait.Go(func() {
				defer conn.Close()
				up, err := net.Dial("tcp", target)
				if err != nil {
					log.Debug("cannot relay a connection", "to", target, "error", err)
					return
				}
				defer up.Close()
				if !r.add(conn, up) {
					return
				}
				defer r.remove(conn, up)
				r.wait.Go(func() { pass(up, conn) })
				pass(conn, up)
			})
		}
	})
	return r, nil
}

// pass copies one direction and passes its end on, so that the other direction
// can still finish.
func pass(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		src.Close()
		return
	}
	if tcp, ok := dst.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

func (r *relay) add(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	for _, c := range conns {
		r.conns[c] = struct{}{}
	}
	return true
}

func (r *relay) remove(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
	}
}

// close ends the listener and every connection, and waits for both.
func (r *relay) close() {
	r.ln.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wait.Wait()
}
