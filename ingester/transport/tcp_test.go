package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/schema"
)

var overTCP = variant{name: "tcp", network: "tcp"}

// shown is a frame on one line.
func shown(frames []got) []string {
	var lines []string
	for _, f := range frames {
		line := fmt.Sprintf("%q", f.text)
		if f.reject != "" {
			line = fmt.Sprintf("%s(%d) %q", f.reject, f.size, f.text)
		}
		for _, w := range f.flags.Words() {
			line += " " + w
		}
		lines = append(lines, line)
	}
	return lines
}

// TestFramesOverTCP is frames 4 to 12, 14 and 24 of the forty, in the pieces that the
// sender writes.
func TestFramesOverTCP(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70000)
	const seven = `<14>"seven","abcd"`
	all := variants(t)
	for _, c := range []struct {
		name   string
		mode   framing.Mode
		pieces []string
		eof    bool // the sender closes its side
		want   []string
		closed bool // the listener closes the connection
		empty  uint64
	}{
		{name: "4", pieces: []string{"<14>A\x00<14>B\x00"}, want: []string{`"<14>A"`, `"<14>B"`}},
		{name: "5", pieces: []string{"<1", "4>", "A\x00"}, want: []string{`"<14>A"`}},
		{name: "6", pieces: []string{"<14>\"one\ntwo\"\x00"}, want: []string{`"<14>\"one\ntwo\""`}},
		{name: "6 forged, nul", mode: framing.NUL, pieces: []string{"<14>one\n<14>two\x00"}, want: []string{`"<14>one\n<14>two"`}},
		{name: "7", pieces: []string{"<14>A\n<14>B\n"}, want: []string{`"<14>A"`, `"<14>B"`}},
		{name: "8", pieces: []string{"17 <14>\"seven\",\"a\nb\""}, want: []string{`"<14>\"seven\",\"a\nb\""`}},
		{name: "9", pieces: []string{"99999999999999999999 <14>.."}, want: []string{`frame_too_big(27) "99999999999999999999 <14>.."`}, closed: true},
		{name: "9 a GiB", pieces: []string{"1073741824 <"}, want: []string{`frame_too_big(12) "1073741824 <"`}, closed: true},
		{name: "10", pieces: []string{"16 " + seven}, want: []string{`"<14>\"seven\",\"abc"`, `bad_frame(2) "d\""`}, closed: true},
		{name: "11 octet", pieces: []string{"17 <14>A"}, eof: true, want: []string{`truncated_eof(8) "17 <14>A"`}, closed: true},
		{name: "11 delimiter", pieces: []string{"<14>A"}, eof: true, want: []string{`"<14>A" no_trailer`}, closed: true},
		{name: "12", pieces: []string{"<14>" + long, "\x00<14>B\x00"}, want: []string{fmt.Sprintf("oversize(70004) %q", ("<14>" + long)[:1024]), `"<14>B"`}},
		{name: "14", pieces: []string{"\x00\x00\x00<14>\x00<14>A\x00"}, want: []string{`"<14>A"`}, empty: 2},
		{name: "14 lone LF", pieces: []string{"\n"}, eof: true, closed: true, empty: 1},
		{name: "24", pieces: []string{"<14>\"a\x00b\"\x00"}, want: []string{`"<14>\"a"`, `"b\""`}},
		{name: "idle, no delimiter", pieces: []string{"<14>A"}, want: []string{`"<14>A" no_trailer`}},
		{name: "idle in an oversize frame", pieces: []string{"<14>" + long}, want: []string{fmt.Sprintf("oversize(70004) %q", ("<14>" + long)[:1024])}},
	} {
		for _, v := range all {
			if !v.delimited() {
				continue
			}
			t.Run(c.name+" "+v.name, func(t *testing.T) {
				t.Parallel()
				s := start(t, v, Options{Framing: c.mode}, newRecorder())
				conn := s.dial(t, "").(interface {
					net.Conn
					CloseWrite() error
				})
				for i, p := range c.pieces {
					if i > 0 {
						// The piece before has been read: the two cannot arrive as one.
						sent := uint64(len(strings.Join(c.pieces[:i], "")))
						eventually(t, "a piece is read", func() bool { return s.Stats().Bytes.Load() == sent })
					}
					send(t, conn, p)
				}
				if c.eof {
					conn.CloseWrite()
				}
				s.waitFor(t, len(c.want))
				if c.closed {
					conn.SetReadDeadline(time.Now().Add(patience))
					if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the connection is still open: %v", err)
					}
				}
				if have := shown(s.waitFor(t, len(c.want))); !slices.Equal(have, c.want) {
					t.Errorf("have %.300q\nwant %.300q", have, c.want)
				}
				eventually(t, "empty frames are counted", func() bool { return s.Stats().Empty.Load() == c.empty })
			})
		}
	}
}

// A sender waits while the sink does, and loses nothing.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, overTCP, Options{}, r)
	c := s.dial(t, "")
	line := "<14>" + strings.Repeat("x", 1000) + "\n"
	chunk := []byte(strings.Repeat(line, 100))
	var sent int
	for {
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.Write(chunk[sent%len(line):])
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if sent > 1<<30 {
			t.Fatalf("%d bytes were taken by a sink that takes none", sent)
		}
	}
	if read := s.Stats().Bytes.Load(); read > 2*readRoom {
		t.Errorf("%d bytes were read while nothing was taken", read)
	}
	close(r.gate)
	c.SetWriteDeadline(time.Time{})
	send(t, c, line[sent%len(line):])
	sent += len(line) - sent%len(line)
	for _, f := range s.waitFor(t, sent/len(line)) {
		if f.text != line[:len(line)-1] || f.reject != "" {
			t.Fatalf("%s %.100q", f.reject, f.text)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	s := start(t, overTCP, Options{MaxConnections: 2}, newRecorder())
	a, b := s.dial(t, ""), s.dial(t, "")
	send(t, a, "<14>a\x00")
	send(t, b, "<14>b\x00")
	s.waitFor(t, 2)
	c := s.dial(t, "")
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a third connection is open: %v", err)
	}
	st := s.Stats()
	if st.Refused.Load() != 1 || st.Connections.Load() != 2 || st.Open.Load() != 2 {
		t.Errorf("refused %d, connections %d, open %d", st.Refused.Load(), st.Connections.Load(), st.Open.Load())
	}
	a.Close()
	eventually(t, "the connection is gone", func() bool { return st.Open.Load() == 1 })
	d := s.dial(t, "")
	send(t, d, "<14>d\x00")
	s.waitFor(t, 3)
}

// Connections that wait hold no read buffer, with and without an open frame.
func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	t.Parallel()
	const n = 200
	var made atomic.Int64
	v := overTCP
	v.before = func(l Listener) {
		slabs := &l.(*tcpListener).slabs
		makeOne := slabs.New
		slabs.New = func() any {
			made.Add(1)
			return makeOne()
		}
	}
	s := start(t, v, Options{FrameIdle: time.Hour}, newRecorder())
	var sent uint64
	for i := range n {
		c := s.dial(t, "")
		send(t, c, "<14>whole\x00<14>open")
		sent += 18
		s.waitFor(t, i+1)
	}
	if s.Stats().Open.Load() != n || s.Stats().Bytes.Load() != sent {
		t.Errorf("%d connections, %d bytes", s.Stats().Open.Load(), s.Stats().Bytes.Load())
	}
	// Under the race detector a pool forgets every fourth buffer on purpose.
	if m := made.Load(); m > n/2 {
		t.Errorf("%d buffers for %d idle connections", m, n)
	}
}

// Many senders that are busy at the same time, while nothing is taken, hold no buffer
// each; all of them get their turn.
func TestBusyConnectionsTakeTurns(t *testing.T) {
	t.Parallel()
	const n = 5 * maxTurns
	var made atomic.Int64
	v := overTCP
	v.before = func(l Listener) {
		slabs := &l.(*tcpListener).slabs
		makeOne := slabs.New
		slabs.New = func() any {
			made.Add(1)
			return makeOne()
		}
	}
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, v, Options{}, r)
	turns := s.Listener.(*tcpListener).turns
	for range n {
		send(t, s.dial(t, ""), "<14>first\x00<14>second\x00<14>op")
	}
	eventually(t, "all turns are taken", func() bool { return len(turns) == maxTurns && s.Stats().Open.Load() == n })
	if m := made.Load(); m > 2*maxTurns { // the race detector makes a pool forgetful
		t.Errorf("%d buffers for %d busy connections", m, n)
	}
	close(r.gate)
	s.waitFor(t, 2*n)
	eventually(t, "no turn is held by who waits", func() bool { return len(turns) == 0 })
}

// An open frame survives its moves between buffers, byte by byte.
func TestSlowSender(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		if !v.delimited() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, v, Options{FrameIdle: time.Hour}, newRecorder())
			c := s.dial(t, "")
			var want []string
			sent := uint64(0)
			for i, size := range []int{10, 3000, 30000, 65536, 5} {
				frame := "<14>" + strings.Repeat(string(rune('a'+i)), size-4)
				want = append(want, frame)
				for piece := range slices.Chunk([]byte(frame+"\x00"), 1+size/20) {
					send(t, c, string(piece))
					sent += uint64(len(piece))
					eventually(t, "a piece is read", func() bool { return s.Stats().Bytes.Load() == sent })
				}
			}
			if have := texts(s.waitFor(t, len(want))); !slices.Equal(have, want) {
				t.Errorf("%.100q", have)
			}
		})
	}
}

// nothing is a sink for measurements.
type nothing struct{ frames int }

func (n *nothing) Frame(netip.AddrPort, framing.Frame) error { n.frames++; return nil }
func (n *nothing) Flush()                                    {}

func TestReadingDoesNotAllocate(t *testing.T) {
	l, err := Listen(Options{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp := l.(*tcpListener)
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc, err := tcp.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sink := &nothing{}
	c := &conn{l: tcp, nc: nc}
	c.io = nc
	c.init(func(Receipts) Sink { return sink })
	message := []byte("<14>whole\n<14>also whole\n<14>open")
	step := func() {
		client.Write(message)
		for read := 0; read < len(message); {
			n, err := c.fill(true)
			if err != nil {
				t.Fatal(err)
			}
			read += n
			c.frames(framing.More)
			c.arm()
		}
		c.frames(framing.Idle)
	}
	step()
	if n := testing.AllocsPerRun(100, step); n >= 1 && !raceEnabled {
		t.Errorf("%v allocations for a read", n)
	}
	if sink.frames < 300 {
		t.Errorf("%d frames", sink.frames)
	}
}

// A sink that fails ends its connection and no other; its frames are counted.
func TestFailingSink(t *testing.T) {
	t.Parallel()
	l, err := Listen(Options{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, context.Background(), func(Receipts) Sink { return failing{} }) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, "<14>A\x00<14>\x00<14>B\x00<14>C")
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is still open: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	counts := map[schema.Reason]uint64{}
	l.Stats().Drops(func(r schema.Reason, n uint64) { counts[r] = n })
	if counts[schema.DropShutdown] != 3 || counts[schema.DropEmpty] != 1 || l.Stats().Frames.Load() != 0 {
		t.Errorf("%v", counts)
	}
}

type failing struct{}

func (failing) Frame(netip.AddrPort, framing.Frame) error { return errors.New("no") }
func (failing) Flush()                                    {}

func BenchmarkTCP(b *testing.B) {
	for _, trailer := range []string{"\n", "\x00"} {
		b.Run(fmt.Sprintf("trailer=%q", trailer), func(b *testing.B) {
			l, err := Listen(Options{Network: "tcp", Address: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			sink := &nothing{}
			go func() { done <- l.Serve(ctx, ctx, func(Receipts) Sink { return sink }) }()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			frame := "<14>" + strings.Repeat(`"some value",`, 30) + `"end"` + trailer
			chunk := bytes.Repeat([]byte(frame), 256)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/frame")
			c.Close()
			stop()
			<-done
		})
	}
}
