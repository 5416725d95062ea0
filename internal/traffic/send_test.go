package traffic

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is a TCP receiver that keeps all it reads and counts connections.
type peer struct {
	net.Listener
	mu    sync.Mutex
	data  [][]byte
	group sync.WaitGroup
}

func newPeer(t *testing.T, handle func(net.Conn) ([]byte, error)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l}
	p.group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() {
				defer conn.Close()
				data, _ := handle(conn)
				p.mu.Lock()
				defer p.mu.Unlock()
				p.data = append(p.data, data)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.group.Wait()
	})
	return p
}

func (p *peer) received() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.data...)
}

func readAll(conn net.Conn) ([]byte, error) { return io.ReadAll(conn) }

func countKinds(frames [][]byte) map[string]uint64 {
	kinds := map[string]uint64{"message": 0, "status": 0}
	for _, frame := range frames {
		if bytes.Contains(frame, []byte(`>"sx-m3","`)) {
			kinds["message"]++
		} else if bytes.Contains(frame, []byte(`>"sx-s3","`)) {
			kinds["status"]++
		}
	}
	return kinds
}

func TestSend_tcpDeliversWhatItReports(t *testing.T) {
	t.Parallel()
	p := newPeer(t, readAll)
	report, err := Send(t.Context(), SendOptions{
		To: "tcp://" + p.Addr().String(), Count: 100_003, Connections: 4, Seed: 5, Format: "m3", Framing: "nul",
	})
	if err != nil {
		t.Fatal(err)
	}
	// Send returned after the peer closed, but the peer may still be storing.
	_ = p.Close()
	p.group.Wait()
	var frames [][]byte
	var size uint64
	for _, data := range p.received() {
		size += uint64(len(data))
		frames = append(frames, bytes.Split(bytes.TrimSuffix(data, []byte{0}), []byte{0})...)
	}
	kinds := countKinds(frames)
	if report.Frames != 100_003 || uint64(len(frames)) != report.Frames || size != report.Bytes ||
		kinds["message"] != report.ByKind["message"] || kinds["status"] != report.ByKind["status"] ||
		kinds["message"]+kinds["status"] != report.Frames {
		t.Errorf("reported %+v, received %d frames, %d bytes, %v", report, len(frames), size, kinds)
	}
	if n := len(p.received()); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

func TestSend_udpDeliversWhatItReports(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var frames [][]byte
	var group sync.WaitGroup
	const count = 300
	group.Go(func() {
		buffer := make([]byte, 64<<10)
		for len(frames) < count {
			n, _, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			frames = append(frames, bytes.Clone(buffer[:n]))
		}
	})
	report, err := Send(t.Context(), SendOptions{To: "udp://" + socket.LocalAddr().String(), Count: count, Format: "m3", Rate: 500})
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.SetReadDeadline(time.Now().Add(5 * time.Second))
	group.Wait()
	kinds := countKinds(frames)
	if len(frames) != count || report.Frames != count || kinds["message"] != report.ByKind["message"] || kinds["status"] != report.ByKind["status"] {
		t.Errorf("reported %+v, received %d %v", report, len(frames), kinds)
	}
}

func TestSend_keepsToTheRate(t *testing.T) {
	t.Parallel()
	p := newPeer(t, readAll)
	report, err := Send(t.Context(), SendOptions{To: "tcp://" + p.Addr().String(), Count: 500, Rate: 1_000, Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	// 500 frames at 1,000 a second end 249 intervals of a connection after its
	// first; only too fast is wrong, too slow may be the machine.
	if report.Elapsed < 490*time.Millisecond {
		t.Errorf("500 frames at 1000/s took %v", report.Elapsed)
	}
}

func TestSend_endsWithTheContext(t *testing.T) {
	t.Parallel()
	p := newPeer(t, readAll)
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	report, err := Send(ctx, SendOptions{To: "tcp://" + p.Addr().String(), Rate: 5_000, Framing: "lf", Progress: func(r Report) {
		if r.Frames > 0 {
			once.Do(cancel)
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context canceled", err)
	}
	_ = p.Close()
	p.group.Wait()
	got := bytes.Count(bytes.Join(p.received(), nil), []byte("\n"))
	if uint64(got) != report.Frames || got == 0 {
		t.Errorf("reported %d frames, received %d", report.Frames, got)
	}
}

func TestSend_peerThatBreaksOff(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(conn net.Conn) ([]byte, error) {
		_, err := io.ReadFull(conn, make([]byte, 1000))
		_ = conn.(*net.TCPConn).SetLinger(0)
		return nil, err
	})
	_, err := Send(t.Context(), SendOptions{To: "tcp://" + p.Addr().String(), Connections: 2})
	if err == nil || !strings.Contains(err.Error(), "cannot send to tcp://") && !strings.Contains(err.Error(), "cannot tell that") {
		t.Errorf("error %v, want one of the connection", err)
	}
}

func TestSend_peerThatNeverCloses(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	p := newPeer(t, func(conn net.Conn) ([]byte, error) {
		data, err := io.ReadAll(conn)
		<-hold
		return data, err
	})
	defer close(hold)
	report, err := Send(t.Context(), SendOptions{To: "tcp://" + p.Addr().String(), Count: 10, Drain: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "did not close the connection within 50ms") || report.Frames != 10 {
		t.Errorf("report %+v, error %v", report, err)
	}
}

func TestSend_Failure(t *testing.T) {
	t.Parallel()
	f := func(o SendOptions, want string) {
		t.Helper()
		if _, err := Send(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Send(%+v): %v, want %q", o, err, want)
		}
	}
	f(SendOptions{To: "127.0.0.1:514"}, `cannot send to "127.0.0.1:514"`)
	f(SendOptions{To: "http://127.0.0.1:514"}, `tcp://HOST:PORT or udp://HOST:PORT`)
	f(SendOptions{To: "tcp://127.0.0.1"}, `tcp://HOST:PORT`)
	f(SendOptions{To: "udp://127.0.0.1:9", Framing: "octet"}, "octet")
	f(SendOptions{To: "tcp://127.0.0.1:9", Rate: -1}, "rate of -1")
	f(SendOptions{To: "tcp://127.0.0.1:9", Connections: -1}, "-1 connections")
	f(SendOptions{To: "tcp://127.0.0.1:9", Format: "x"}, `format "x"`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	f(SendOptions{To: "tcp://" + l.Addr().String()}, "cannot connect to tcp://")
}

// metrics serves the counts of an ingester that publishes a step with each look.
type metrics struct {
	mu        sync.Mutex
	published uint64
	step      uint64
	dropped   uint64
}

func (m *metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	published := strconv.FormatUint(m.published, 10)
	_, _ = io.WriteString(w, `# HELP millrace_frames_published_total Frames that Kafka acknowledged as events.
# TYPE millrace_frames_published_total counter
millrace_frames_published_total{listener="filter"} `+published+`
millrace_frames_published_total{listener="other"} 1e+06
millrace_frames_rejected_total{listener="filter",reason="short"} 3
millrace_frames_rejected_total{listener="filter",reason="bad_frame"} 4
millrace_frames_dropped_total{listener="filter",reason="kernel"} `+strconv.FormatUint(m.dropped, 10)+`
millrace_frames_received_total{listener="filter"} 5000
millrace_frames_in_flight{listener="filter"} 2
`)
	m.published += m.step
}

func TestWaitPublished_Success(t *testing.T) {
	t.Parallel()
	m := &metrics{published: 100, step: 40}
	server := httptest.NewServer(m)
	defer server.Close()
	all, err := Published(t.Context(), server.URL, "")
	if err != nil || all != (Counts{Received: 5000, Published: 1_000_100, Rejected: 7, Dropped: 0}) {
		t.Fatalf("%+v, %v", all, err)
	}
	base, err := Published(t.Context(), strings.TrimPrefix(server.URL, "http://"), "filter")
	if err != nil || base != (Counts{Received: 5000, Published: 140, Rejected: 7, Dropped: 0}) {
		t.Fatalf("%+v, %v", base, err)
	}
	grown, err := WaitPublished(t.Context(), server.URL+"/metrics", "filter", base, 100)
	if err != nil || grown.Published != 120 || grown.Rejected != 0 {
		t.Errorf("%+v, %v", grown, err)
	}
}

func TestWaitPublished_Failure(t *testing.T) {
	t.Parallel()
	m := &metrics{published: 100, dropped: 1}
	server := httptest.NewServer(m)
	defer server.Close()
	f := func(base Counts, want uint64, text string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := WaitPublished(ctx, server.URL, "filter", base, want); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
	f(Counts{Published: 90, Rejected: 7}, 11, "1 of 11 frames were dropped")
	f(Counts{Published: 100, Rejected: 7}, 10, "cannot wait for 10 frames: 0 were published, 0 rejected, 1 dropped")
	f(Counts{Published: 500}, 10, "started anew")
	server.Close()
	f(Counts{}, 10, "cannot read metrics")
	if _, err := Published(t.Context(), "http://", ""); err == nil {
		t.Error("no error for a URL without a host")
	}
}

func TestParseCounts_Failure(t *testing.T) {
	t.Parallel()
	if _, err := parseCounts(strings.NewReader(`millrace_frames_published_total{listener="x"} many`), ""); err == nil {
		t.Error("no error for a count that is no number")
	}
}

// BenchmarkSend is the sender against a peer on the same machine that throws
// everything away: the most that a benchmark of a receiver can be given.
func BenchmarkSend(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 256<<10))
				_ = conn.Close()
			})
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	report, err := Send(b.Context(), SendOptions{To: "tcp://" + l.Addr().String(), Count: uint64(b.N)})
	b.StopTimer()
	_ = l.Close()
	group.Wait()
	if err != nil || report.Frames != uint64(b.N) {
		b.Fatalf("%+v, %v", report, err)
	}
	b.SetBytes(int64(report.Bytes) / int64(b.N))
}
