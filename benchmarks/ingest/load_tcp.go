package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"millrace/benchmarks/frames"
)

// connect opens TCP connections to a port. Their send buffers are small, so that what the
// kernel holds is little beside what is sent even with a thousand of them.
func connect(port, n int) ([]net.Conn, error) {
	var conns []net.Conn
	for range n {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
		if err == nil {
			conns = append(conns, c)
			err = c.(*net.TCPConn).SetWriteBuffer(max(4<<10, (1<<20)/n))
		}
		if err != nil {
			disconnect(conns)
			return nil, fmt.Errorf("cannot open connection %d of %d: %w", len(conns)+1, n, err)
		}
	}
	return conns, nil
}

func disconnect(conns []net.Conn) {
	for _, c := range conns {
		c.Close()
	}
}

// flood writes frames over all connections as fast as they are taken, until stop is closed.
// Each starts at another place of the input. It returns how many frames it wrote.
func flood(in *frames.Input, conns []net.Conn, stop <-chan struct{}) (uint64, error) {
	var written atomic.Uint64
	errs := make([]error, len(conns))
	var writing sync.WaitGroup
	for i, c := range conns {
		writing.Go(func() {
			for at := i * len(in.Pieces) / len(conns); ; at++ {
				select {
				case <-stop:
					return
				default:
				}
				p := in.Pieces[at%len(in.Pieces)]
				if _, err := c.Write(p.Bytes); err != nil {
					errs[i] = err
					return
				}
				written.Add(uint64(p.Frames))
			}
		})
	}
	writing.Wait()
	return written.Load(), errors.Join(errs...)
}

// floodFor is flood for a time.
func floodFor(in *frames.Input, conns []net.Conn, d time.Duration) (uint64, error) {
	stop := make(chan struct{})
	timer := time.AfterFunc(d, func() { close(stop) })
	defer timer.Stop()
	return flood(in, conns, stop)
}
