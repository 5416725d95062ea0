package transport

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

var overUDP = variant{name: "udp", network: "udp"}

// TestDatagrams is frames 1 to 3, 6, 13, 14 and 24 of the forty: a datagram is one
// message, and only its end is trimmed.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	s := start(t, overUDP, Options{Sockets: 1}, newRecorder())
	c := s.dial(t, "")
	big := "<14>" + strings.Repeat("x", 65500)
	want := []string{"<14>one", "<14>two", "<14>three", "<14>four", "<14>five", "<14>A\x00<14>B\n<14>C", "17 <14>\"seven\",\"a\nb\"", big, "<14>in\x00ner"}
	for _, d := range []string{"<14>one\x00", "<14>two", "<14>three\n\x00", "<14>four\x00\n", "<14>five\r\n",
		"<14>A\x00<14>B\n<14>C\x00", "17 <14>\"seven\",\"a\nb\"", big, "<14>in\x00ner\x00",
		"", "<14>\x00", "\x00\x00\x00", "\n", "<14>\xEF\xBB\xBF\x00"} {
		send(t, c, d)
	}
	if have := texts(s.waitFor(t, len(want))); !slices.Equal(have, want) {
		t.Errorf("have %.300q\nwant %.300q", have, want)
	}
	eventually(t, "empty datagrams are counted", func() bool { return s.Stats().Empty.Load() == 5 })
}

func TestTruncatedDatagram(t *testing.T) {
	t.Parallel()
	s := start(t, overUDP, Options{MaxFrame: 100}, newRecorder())
	c := s.dial(t, "")
	long := "<14>" + strings.Repeat("x", 200)
	send(t, c, long, "<14>short")
	frames := s.waitFor(t, 2)
	if want := []string{fmt.Sprintf("truncated_datagram(204) %q", long[:100]), `"<14>short"`}; !slices.Equal(shown(frames), want) {
		t.Errorf("%q", shown(frames))
	}
}

// What the kernel drops is counted to the last datagram, while the listener runs, though
// nothing comes behind.
func TestKernelDrops(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, overUDP, Options{ReceiveBuffer: 16 << 10}, r)
	c := s.dial(t, "")
	const n = 2000
	for range n {
		send(t, c, "<14>"+strings.Repeat("x", 500))
	}
	close(r.gate)
	st := s.Stats()
	eventually(t, "all are accounted for", func() bool { return st.Frames.Load()+st.Kernel.Load() == n })
	s.stop()
	s.wait(t)
	if st.Kernel.Load() == 0 || st.Frames.Load()+st.Kernel.Load() != n {
		t.Errorf("%d frames, %d drops, %d sent", st.Frames.Load(), st.Kernel.Load(), n)
	}
	if st.ReceiveBuffer.Load() != 16<<10 {
		t.Errorf("receive buffer %d", st.ReceiveBuffer.Load())
	}
}

// What is queued when a stop is cut short is counted.
func TestHardStop_Datagrams(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, overUDP, Options{Sockets: 1, ReceiveBuffer: 4 << 20, DrainTime: time.Minute}, r)
	c := s.dial(t, "")
	const n = 1000
	for range n {
		send(t, c, "<14>waits")
	}
	s.abort()
	s.wait(t)
	st := s.Stats()
	if st.Shutdown.Load() == 0 || st.Frames.Load()+st.Kernel.Load()+st.Shutdown.Load() != n {
		t.Errorf("%d frames, %d drops, %d given up, %d sent", st.Frames.Load(), st.Kernel.Load(), st.Shutdown.Load(), n)
	}
}

// The senders are spread over the sockets, and all are read.
func TestSockets(t *testing.T) {
	t.Parallel()
	s := start(t, overUDP, Options{Sockets: 3}, newRecorder())
	for i := range 60 {
		send(t, s.dial(t, ""), fmt.Sprintf("<14>%d", i))
	}
	used := map[int]bool{}
	for _, f := range s.waitFor(t, 60) {
		used[f.sink] = true
	}
	if len(used) < 2 {
		t.Errorf("60 senders came to %d socket", len(used))
	}
	s.stop()
	s.wait(t)
	if s.sinks != 3 {
		t.Errorf("%d sinks", s.sinks)
	}
	counted := uint64(0)
	s.Stats().Drops(func(_ schema.Reason, n uint64) { counted += n })
	if counted != 0 {
		t.Errorf("%d drops", counted)
	}
}

func TestReceivingDoesNotAllocate(t *testing.T) {
	l, err := Listen(Options{Network: "udp", Address: "127.0.0.1:0", Sockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	udp := l.(*udpListener)
	c, err := net.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := newReceiver(udp.queues[0], MaxUDP)
	if err != nil {
		t.Fatal(err)
	}
	sink := &nothing{}
	datagram := []byte("<14>one\x00")
	if n := testing.AllocsPerRun(100, func() {
		c.Write(datagram)
		batch, err := r.receive(true)
		if err != nil {
			t.Fatal(err)
		}
		udp.deliver(sink, batch)
	}); n >= 1 {
		t.Errorf("%v allocations for a datagram", n)
	}
	if sink.frames != 101 {
		t.Errorf("%d frames", sink.frames)
	}
}

func BenchmarkUDP(b *testing.B) {
	l, err := Listen(Options{Network: "udp", Address: "127.0.0.1:0", Sockets: 1})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, ctx, func(Receipts) Sink { return &nothing{} }) }()
	c, err := net.Dial("udp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	datagram := []byte("<14>" + strings.Repeat(`"some value",`, 30) + `"end"` + "\x00")
	b.SetBytes(int64(len(datagram)))
	b.ReportAllocs()
	for b.Loop() {
		c.Write(datagram)
	}
	c.Close()
	stop()
	<-done
	b.ReportMetric(float64(l.Stats().Kernel.Load())/float64(b.N), "dropped/op")
}

// A batch that fills to the last slot is flushed, although nothing comes behind it.
func TestFullBatchIsFlushed(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, overUDP, Options{Sockets: 1}, r)
	c := s.dial(t, "")
	send(t, c, "<14>first")
	eventually(t, "the first is read", func() bool { return s.Stats().Bytes.Load() > 0 })
	const full = 64 // datagrams that one system call takes
	for range full {
		send(t, c, "<14>of a full batch")
	}
	close(r.gate)
	s.waitFor(t, 1+full)
}
