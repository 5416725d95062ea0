package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/internal/porttest"
)

// counting counts frames, over all listeners that share it.
type counting struct{ frames *atomic.Int64 }

func (c counting) Frame(netip.AddrPort, framing.Frame) error { c.frames.Add(1); return nil }
func (c counting) Flush()                                    {}

// instance is a listener that serves, as a process would.
type instance struct {
	Listener
	stop, abort context.CancelFunc
	done        chan error
}

func runInstance(t *testing.T, o Options, frames *atomic.Int64) *instance {
	t.Helper()
	return runInstanceWith(t, o, func(Receipts) Sink { return counting{frames} })
}

func runInstanceWith(t *testing.T, o Options, open func(Receipts) Sink) *instance {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	soft, stop := context.WithCancel(context.Background())
	hard, abort := context.WithCancel(context.Background())
	i := &instance{l, stop, abort, make(chan error, 1)}
	go func() { i.done <- l.Serve(soft, hard, open) }()
	t.Cleanup(func() { i.end(t) })
	return i
}

// end stops it gently and waits for that.
func (i *instance) end(t *testing.T) {
	t.Helper()
	i.stop()
	select {
	case err := <-i.done:
		i.done <- nil
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		i.abort()
		t.Error("a stop does not end")
	}
}

// handOvers upgrades from instance to instance while senders run: each stops once the next
// one has the sockets. sent is how far the senders are, of all that they will send.
func handOvers(t *testing.T, old *instance, o Options, frames, sent *atomic.Int64, all int64) (dropped uint64) {
	t.Helper()
	const upgrades = 8
	for u := range upgrades {
		eventually(t, "traffic", func() bool { return sent.Load() >= all*int64(u+1)/(upgrades+2) })
		next := runInstance(t, o, frames)
		old.end(t)
		dropped += drops(old)
		old = next
	}
	eventually(t, "all is sent", func() bool { return sent.Load() == all })
	eventually(t, "all has come", func() bool { return frames.Load() == all })
	old.end(t)
	return dropped + drops(old)
}

func drops(i *instance) uint64 {
	s := i.Stats()
	return s.Kernel.Load() + s.Shutdown.Load() + s.NotAllowed.Load() + s.Refused.Load()
}

// 20,000 connections of one frame each, from eight senders, over eight upgrades: each is
// made, each frame arrives, none is reset.
func TestHandOver_TCP(t *testing.T) {
	t.Parallel()
	const all, senders = 20_000, 8
	o := Options{Network: "tcp", Address: porttest.TCP(t), ReusePort: true}
	var frames, sent atomic.Int64
	first := runInstance(t, o, &frames) // there is one before the senders begin
	var wg sync.WaitGroup
	for i := range senders {
		// A source address each, so that ports do not run out.
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(10+i))}}
		wg.Go(func() {
			for range all / senders {
				c, err := dialer.Dial("tcp", o.Address)
				if err != nil {
					t.Error(err)
					return
				}
				_, werr := c.Write([]byte("<14>one frame\x00"))
				c.(*net.TCPConn).CloseWrite()
				_, rerr := io.Copy(io.Discard, c) // to its end: a reset is an error
				c.Close()
				if werr != nil || rerr != nil {
					t.Error(werr, rerr)
					return
				}
				sent.Add(1)
			}
		})
	}
	dropped := handOvers(t, first, o, &frames, &sent, all)
	wg.Wait()
	if frames.Load() != all || dropped != 0 {
		t.Errorf("%d frames of %d connections, %d drops", frames.Load(), all, dropped)
	}
}

// 200,000 datagrams over eight upgrades: all arrive.
func TestHandOver_UDP(t *testing.T) {
	t.Parallel()
	const all, senders, window = 200_000, 8, 400
	o := Options{Network: "udp", Address: porttest.UDP(t), Sockets: 2, ReceiveBuffer: 4 << 20, ReusePort: true}
	testDatagrams(t, o, "udp", all, senders, window)
}

func TestHandOver_Unixgram(t *testing.T) {
	t.Parallel()
	o := Options{Network: unixgram, Address: socketPath(t), ReusePort: true}
	testDatagrams(t, o, unixgram, 50_000, 4, 1<<20)
	if _, err := os.Lstat(o.Address); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last one has not removed the file: %v", err)
	}
}

// testDatagrams sends no faster than they are taken: window are under way at most.
func testDatagrams(t *testing.T, o Options, network string, all, senders, window int64) {
	var frames, sent atomic.Int64
	first := runInstance(t, o, &frames)
	var wg sync.WaitGroup
	for range senders {
		c, err := net.Dial(network, o.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wg.Go(func() {
			for range all / senders {
				for sent.Load()-frames.Load() > window {
					time.Sleep(100 * time.Microsecond)
				}
				if _, err := c.Write([]byte("<14>one frame")); err != nil {
					t.Error(err)
					return
				}
				sent.Add(1)
			}
		})
	}
	dropped := handOvers(t, first, o, &frames, &sent, all)
	wg.Wait()
	if frames.Load() != all || dropped != 0 {
		t.Errorf("%d frames of %d, %d drops", frames.Load(), all, dropped)
	}
}

// The first stops as soon as the second has the sockets, before it may have noted that: it
// must know, or it would seal sockets that the second reads.
func TestHandOver_AtOnce(t *testing.T) {
	t.Parallel()
	var frames atomic.Int64
	o := Options{Network: "udp", Address: porttest.UDP(t), Sockets: 1, ReusePort: true}
	c, err := net.Dial("udp", o.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	old := runInstance(t, o, &frames)
	for u := range int64(300) {
		next := runInstance(t, o, &frames)
		old.end(t)
		old = next
		if _, err := c.Write([]byte("<14>one frame")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the frame has come", func() bool { return frames.Load() == u+1 })
	}
}

// What is in the queues at the stop is for the one that goes on, whichever of the two it is.
func TestHandOver_WhoStays(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "tls", "relp", "udp", unixgram} {
		for _, firstLeaves := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, the first leaves: %v", network, firstLeaves), func(t *testing.T) {
				t.Parallel()
				var frames atomic.Int64
				o := Options{Network: network, Sockets: 2, ReusePort: true}
				switch network {
				case unixgram:
					o.Address = socketPath(t)
				case "tls":
					o = overTLS(t).configured(o)
					fallthrough
				default:
					o.Address = "127.0.0.1:0"
				}
				first := runInstance(t, o, &frames)
				if network != unixgram {
					o.Address = first.Addr().String()
				}
				second := runInstance(t, o, &frames)
				if first.Addr().String() != second.Addr().String() {
					t.Fatalf("%s and %s", first.Addr(), second.Addr())
				}
				leaves, stays := first, second
				if !firstLeaves {
					leaves, stays = second, first
				}
				leaves.end(t)
				c, err := net.Dial(stays.Addr().Network(), stays.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				stays.end(t)
				// Now nobody is there.
				if d, err := net.Dial(stays.Addr().Network(), stays.Addr().String()); err == nil {
					_, err = d.Write([]byte("x"))
					_, again := d.Write([]byte("x"))
					d.Close()
					if err == nil && again == nil {
						t.Error("still there")
					}
				}
			})
		}
	}
}

// Without reuse_port on either side the address is taken.
func TestHandOver_NotAsked(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "udp"} {
		for _, first := range []bool{true, false} {
			var frames atomic.Int64
			o := Options{Network: network, Address: "127.0.0.1:0", Sockets: 2, ReusePort: first}
			i := runInstance(t, o, &frames)
			o.Address, o.ReusePort = i.Addr().String(), !first
			if _, err := Listen(o); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s: %v", network, err)
			}
		}
	}
}

// A successor that dies without a word leaves the queue to the first again.
func TestHandOver_SuccessorDies(t *testing.T) {
	t.Parallel()
	var frames atomic.Int64
	o := Options{Network: "tcp", Address: "127.0.0.1:0", ReusePort: true}
	first := runInstance(t, o, &frames)
	o.Address = first.Addr().String()
	second, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	tcp := first.Listener.(*tcpListener)
	eventually(t, "it is known", func() bool {
		tcp.share.mu.Lock()
		defer tcp.share.mu.Unlock()
		return len(tcp.share.others) == 1
	})
	if tcp.share.leave() {
		t.Error("it believes that another goes on")
	}
}

// Sockets that systemd passes outlive every instance: between two of them senders are
// kept waiting, and nothing is refused, reset or lost.
func TestPassed(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "udp", unixgram} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			o := Options{Network: network, Address: "127.0.0.1:0"}
			if network == unixgram {
				o.Address = socketPath(t)
			}
			file := passedSocket(t, network, o.Address)
			var frames atomic.Int64
			var sent int64
			var address net.Addr
			send := func() {
				for range 5 { // a Unix socket holds ten
					c, err := net.Dial(network, address.String())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := c.Write([]byte("<14>one frame\x00")); err != nil {
						t.Fatal(err)
					}
					if tcp, ok := c.(*net.TCPConn); ok {
						tcp.CloseWrite()
						t.Cleanup(func() {
							if _, err := io.Copy(io.Discard, c); err != nil {
								t.Error(err)
							}
							c.Close()
						})
					} else {
						c.Close()
					}
					sent++
				}
			}
			for range 3 {
				o.Passed = []*os.File{duplicate(t, file)}
				i := runInstance(t, o, &frames)
				address = i.Addr()
				if network == unixgram { // more than its queue holds would wait
					eventually(t, "all has come", func() bool { return frames.Load() == sent })
				}
				send()
				i.end(t)
				send() // nobody reads
			}
			o.Passed = []*os.File{duplicate(t, file)}
			i := runInstance(t, o, &frames)
			eventually(t, "all has come", func() bool { return frames.Load() == sent })
			i.end(t)
			if network == unixgram {
				if _, err := os.Lstat(o.Address); err != nil {
					t.Errorf("the file is systemd's: %v", err)
				}
			}
		})
	}
}

func TestPassed_OfAnotherKind(t *testing.T) {
	t.Parallel()
	tcp, udp := passedSocket(t, "tcp", "127.0.0.1:0"), passedSocket(t, "udp", "127.0.0.1:0")
	for network, files := range map[string][]*os.File{"tcp": {udp}, "udp": {tcp}, unixgram: {udp}, "tls": {tcp, tcp}} {
		o := Options{Network: network, Address: "127.0.0.1:0"}
		switch network {
		case unixgram:
			o.Address = "/nonexistent/log"
		case "tls":
			o = overTLS(t).configured(o)
		}
		for _, f := range files {
			o.Passed = append(o.Passed, duplicate(t, f))
		}
		if l, err := Listen(o); err == nil {
			l.Close()
			t.Errorf("%s takes it", network)
		}
	}
}

// passedSocket is a socket as systemd makes it.
func passedSocket(t *testing.T, network, address string) *os.File {
	t.Helper()
	var s interface{ File() (*os.File, error) }
	var err error
	switch network {
	case "tcp":
		var l net.Listener
		if l, err = net.Listen(network, address); err == nil {
			defer l.Close()
			s = l.(*net.TCPListener)
		}
	default:
		var c net.PacketConn
		if c, err = net.ListenPacket(network, address); err == nil {
			defer c.Close()
			s = c.(interface{ File() (*os.File, error) })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func duplicate(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// A stop has the kernel queue no more, so that no sender is told that a datagram was taken
// which is then thrown away.
func TestSealUDP(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::1]:0"} {
		o := Options{Network: "udp", Address: address, AllowAny: true}
		sockets, err := openUDP(Options{Address: address, Sockets: 1})
		if err != nil {
			t.Logf("%s: %v", o.Address, err) // no IPv6 here
			continue
		}
		s := sockets[0]
		defer s.Close()
		host := "127.0.0.1"
		if address == "[::1]:0" {
			host = "::1"
		}
		_, port, _ := net.SplitHostPort(s.LocalAddr().String())
		c, err := net.Dial("udp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		send(t, c, "before")
		if err := sealUDP(s); err != nil {
			t.Fatal(err)
		}
		send(t, c, "after")
		s.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 10)
		if n, _, err := s.ReadFrom(b); err != nil || string(b[:n]) != "before" {
			t.Errorf("%s: %q, %v", address, b[:n], err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(b); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: the sender hears %v", address, err)
		}
	}
}
