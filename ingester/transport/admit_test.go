package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"millrace/ingester/framing"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// header is what a load balancer writes.
func header(t *testing.T, version byte, from string) string {
	t.Helper()
	to := "192.0.2.9:514"
	if strings.HasPrefix(from, "[") {
		to = "[2001:db8::9]:514"
	}
	h := proxyproto.HeaderProxyFromAddrs(version,
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ended wants the listener to have closed the connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is still open: %d, %v", n, err)
	}
}

// The sender is who the header says, before allow and TLS come to their turn.
func TestProxy_Sender(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		if !v.delimited() {
			continue
		}
		for _, c := range []struct {
			version byte
			from    string
		}{{1, "198.51.100.7:1234"}, {2, "198.51.100.7:1234"}, {1, "[2001:db8::7]:1234"}, {2, "[2001:db8::7]:1234"}} {
			t.Run(fmt.Sprintf("%s, v%d, %s", v.name, c.version, c.from), func(t *testing.T) {
				t.Parallel()
				s := start(t, v, Options{Framing: framing.NUL, ProxyFrom: prefixes("127.0.0.0/8"), Allow: prefixes("198.51.100.0/24", "2001:db8::/32")}, newRecorder())
				raw, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				h := header(t, c.version, c.from)
				send(t, raw, h[:9], h[9:])
				conn := raw
				if v.client != nil {
					conn = v.client(raw)
				}
				send(t, conn, "<14>one\x00<14>two\x00")
				for _, f := range s.waitFor(t, 2) {
					if f.peer.String() != c.from {
						t.Errorf("%q: peer %s, want %s", f.text, f.peer, c.from)
					}
				}
			})
		}
	}
}

// Header and frames in one packet.
func TestProxy_InOnePiece(t *testing.T) {
	t.Parallel()
	s := start(t, overTCP, Options{ProxyFrom: prefixes("127.0.0.1/32"), AllowAny: true}, newRecorder())
	for i, version := range []byte{1, 2} {
		c := s.dial(t, "")
		send(t, c, header(t, version, "198.51.100.7:1234")+"<14>one\x00<14>two\x00")
		if f := s.waitFor(t, 2*i+2)[2*i]; f.text != "<14>one" || f.peer.Addr() != netip.MustParseAddr("198.51.100.7") {
			t.Errorf("v%d: %+v", version, f)
		}
	}
}

// Whoever is not a load balancer has its header for a frame like any other.
func TestProxy_NotBelieved(t *testing.T) {
	t.Parallel()
	s := start(t, overTCP, Options{Framing: framing.LF, ProxyFrom: prefixes("127.0.0.2/32"), AllowAny: true}, newRecorder())
	c := s.dial(t, "127.0.0.3")
	send(t, c, "PROXY TCP4 198.51.100.7 192.0.2.9 1234 514\r\n<14>one\n")
	frames := s.waitFor(t, 2)
	if !strings.HasPrefix(frames[0].text, "PROXY TCP4 ") || frames[0].peer.Addr() != netip.MustParseAddr("127.0.0.3") || frames[1].peer != frames[0].peer {
		t.Errorf("%+v", frames)
	}
}

func TestProxy_Allow(t *testing.T) {
	t.Parallel()
	s := start(t, overTCP, Options{ProxyFrom: prefixes("127.0.0.0/8"), Allow: prefixes("198.51.100.0/24", "127.0.0.0/8")}, newRecorder())
	stranger := s.dial(t, "")
	send(t, stranger, header(t, 2, "203.0.113.7:1234"))
	ended(t, stranger)
	send(t, s.dial(t, ""), header(t, 2, "198.51.100.7:1234")+"<14>friend\x00")
	s.waitFor(t, 1)
	if st := s.Stats(); st.NotAllowed.Load() != 1 || st.BadHeaders.Load() != 0 {
		t.Errorf("not allowed %d, bad headers %d", st.NotAllowed.Load(), st.BadHeaders.Load())
	}
}

// A connection of a load balancer that does not begin as it must is closed and counted; its
// own health checks end without a word.
func TestProxy_Headers(t *testing.T) {
	t.Parallel()
	local, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	if err != nil {
		t.Fatal(err)
	}
	datagrams, err := (&proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UDPv4,
		SourceAddr:      net.UDPAddrFromAddrPort(netip.MustParseAddrPort("198.51.100.7:1234")),
		DestinationAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.9:514"))}).Format()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, begins string
		eof, counted bool
	}{
		{"a frame", "<14>one\x00", false, true},
		{"v1 without an end", "PROXY TCP4 198.51.100.7 192.0.2.9 1234 514" + strings.Repeat(" ", 200), false, true},
		{"v1 with no address", "PROXY TCP4 here there 1234 514\r\n", false, true},
		{"v2 of datagrams", string(datagrams), false, true},
		{"half of v2", string(local[:13]), true, true},
		{"nothing", "", false, true},
		{"v2 LOCAL", string(local), false, false},
		{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", false, false},
		{"connect and close", "", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, overTCP, Options{ProxyFrom: prefixes("127.0.0.0/8"), AllowAny: true, HeaderTimeout: 200 * time.Millisecond}, newRecorder())
			conn := s.dial(t, "").(*net.TCPConn)
			conn.Write([]byte(c.begins))
			if c.eof {
				conn.CloseWrite()
			}
			ended(t, conn)
			s.stop()
			s.wait(t)
			st := s.Stats()
			if have := st.BadHeaders.Load() == 1; have != c.counted || st.NotAllowed.Load()+st.Refused.Load()+st.Frames.Load() != 0 || st.Open.Load() != 0 {
				t.Errorf("bad headers %d, not allowed %d, frames %d", st.BadHeaders.Load(), st.NotAllowed.Load(), st.Frames.Load())
			}
		})
	}
}

// A stop takes what has come behind a header that it finds unread.
func TestProxy_Stop(t *testing.T) {
	t.Parallel()
	s := start(t, overTCP, Options{ProxyFrom: prefixes("127.0.0.0/8"), AllowAny: true}, newRecorder())
	c := s.dial(t, "")
	eventually(t, "it is accepted", func() bool { return s.Stats().Open.Load() == 1 })
	s.stop()
	send(t, c, header(t, 1, "198.51.100.7:1234")+"<14>late\x00")
	s.wait(t)
	if have := texts(s.waitFor(t, 0)); len(have) != 1 || have[0] != "<14>late" {
		t.Errorf("%q", have)
	}
}

// The limit counts who sends, not who connects.
func TestMaxConnectionsPerPeer(t *testing.T) {
	t.Parallel()
	s := start(t, overTCP, Options{MaxConnectionsPerPeer: 2, ProxyFrom: prefixes("127.0.0.9/32"), AllowAny: true}, newRecorder())
	seen := 0
	open := func(from, via string) net.Conn {
		c := s.dial(t, from)
		send(t, c, via+"<14>x\x00")
		seen++
		s.waitFor(t, seen)
		return c
	}
	refused := func(from, via string, n uint64) {
		c := s.dial(t, from)
		c.Write([]byte(via))
		ended(t, c)
		eventually(t, "it is counted", func() bool { return s.Stats().Refused.Load() == n })
	}
	a := open("127.0.0.2", "")
	open("127.0.0.2", "")
	refused("127.0.0.2", "", 1)
	open("127.0.0.3", "")
	for i := range 3 {
		open("127.0.0.9", header(t, 2, fmt.Sprintf("198.51.100.%d:1234", i)))
	}
	open("127.0.0.9", header(t, 2, "198.51.100.1:1235"))
	refused("127.0.0.9", header(t, 2, "198.51.100.1:1236"), 2)
	refused("127.0.0.9", header(t, 2, "127.0.0.2:1236"), 3)
	a.Close()
	eventually(t, "the connection is gone", func() bool { return s.Stats().Open.Load() == 6 })
	open("127.0.0.2", "")
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		if !v.delimited() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, v, Options{IdleTimeout: 300 * time.Millisecond}, newRecorder())
			c, silent := s.dial(t, ""), s.dial(t, "")
			if encrypted, ok := silent.(*tls.Conn); ok {
				if err := encrypted.Handshake(); err != nil {
					t.Fatal(err)
				}
			}
			send(t, c, "<14>one\x00")
			s.waitFor(t, 1)
			ended(t, c)
			ended(t, silent)
			if n := s.Stats().Idle.Load(); n != 2 {
				t.Errorf("Idle %d, want 2", n)
			}
		})
	}
}

// A sender that never ends its frame is ended; one that ends frame after frame, never
// leaving none open, is not.
func TestFrameTimeout(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		if !v.delimited() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, v, Options{Framing: framing.NUL, FrameTimeout: 400 * time.Millisecond}, newRecorder())
			steady, slow := s.dial(t, ""), s.dial(t, "")
			send(t, steady, "<14>steady")
			go func() {
				for {
					if _, err := slow.Write([]byte("x")); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				slow.SetReadDeadline(time.Now().Add(patience))
				io.Copy(io.Discard, slow)
			}()
			for open := true; open; {
				select {
				case <-gone:
					open = false
				default:
					send(t, steady, "\x00<14>steady")
					time.Sleep(20 * time.Millisecond)
				}
			}
			send(t, steady, "\x00")
			eventually(t, "the slow one is counted", func() bool { return s.Stats().Slow.Load() == 1 && s.Stats().Open.Load() == 1 })
			cut := 0
			for _, f := range s.waitFor(t, 1) {
				if f.text != "<14>steady" {
					cut++
					if strings.Trim(f.text, "x") != "" {
						t.Errorf("%q", f.text)
					}
				}
			}
			if cut != 1 {
				t.Errorf("%d frames of the slow sender", cut)
			}
		})
	}
}

// Half-sent frames of many connections hold no more memory than open_frames; the oldest
// go, and what they sent is kept.
func TestOpenFrames(t *testing.T) {
	t.Parallel()
	const limit, n = 1 << 20, 60
	s := start(t, overTCP, Options{Framing: framing.NUL, OpenFrames: limit}, newRecorder())
	tcp := s.Listener.(*tcpListener)
	half := strings.Repeat("x", 60_000)
	var conns []net.Conn
	for i := range n {
		c := s.dial(t, "")
		send(t, c, half)
		conns = append(conns, c)
		eventually(t, "it is read", func() bool { return s.Stats().Bytes.Load() == uint64((i+1)*len(half)) })
		eventually(t, "no more is held", func() bool { return tcp.held.Load() <= limit })
	}
	ended(t, conns[0])
	send(t, conns[n-1], "\x00")
	closed := int(s.Stats().Crowded.Load())
	frames := s.waitFor(t, closed+1)
	if closed < n-limit/len(half) || closed > n-3 {
		t.Errorf("%d of %d were closed", closed, n)
	}
	for _, f := range frames {
		if f.text != half {
			t.Errorf("%.100q", f.text)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "nothing is held", func() bool { return tcp.held.Load() == 0 && s.Stats().Open.Load() == 0 })
}

// A read that has to make room for its frame wants the listener's lock; a stop at once,
// which closes its connection, must not keep it from that.
func TestStopAtOnceWhileMakingRoom(t *testing.T) {
	t.Parallel()
	reading, stopping := make(chan struct{}), make(chan struct{})
	v := overTCP
	v.before = func(l Listener) {
		tcp := l.(*tcpListener)
		makeOne := tcp.slabs.New
		tcp.slabs.New = func() any { // in the middle of a read
			close(reading)
			<-stopping
			time.Sleep(50 * time.Millisecond) // for the stop to come to the connection
			tcp.relieve()
			return makeOne()
		}
	}
	s := start(t, v, Options{}, newRecorder())
	s.dial(t, "")
	<-reading
	s.abort()
	close(stopping)
	s.wait(t)
}

// TestAllowList_Empty: a list of nobody opens a listener to nobody from elsewhere.
func TestAllowList_Empty(t *testing.T) {
	t.Parallel()
	f := func(o Options, address string, want bool) {
		t.Helper()
		if got := newAllowList(o).permits(netip.MustParseAddr(address)); got != want {
			t.Errorf("%+v: %s is permitted: %t, want %t", o, address, got, want)
		}
	}
	f(Options{}, "127.0.0.1", true)
	f(Options{}, "127.9.9.9", true)
	f(Options{}, "::1", true)
	f(Options{}, "192.0.2.1", false)
	f(Options{}, "2001:db8::1", false)
	f(Options{Network: "udp", Allow: []netip.Prefix{}}, "192.0.2.1", false)
	f(Options{AllowAny: true}, "192.0.2.1", true)
	f(Options{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "192.0.2.1", true)
	f(Options{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "127.0.0.1", false)
	if !newAllowList(Options{Network: unixgram}).permits(netip.Addr{}) {
		t.Error("a Unix socket's sender has no address")
	}
}
