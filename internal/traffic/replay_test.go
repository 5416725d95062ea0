package traffic

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// TestReplay: frames go round as they are, over each framing that carries them.
func TestReplay(t *testing.T) {
	t.Parallel()
	f := func(framing string, connections int, count uint64, frames []string, want ...string) {
		t.Helper()
		p := newPeer(t, func(c net.Conn) ([]byte, error) { return io.ReadAll(c) })
		o := SendOptions{To: "tcp://" + p.Addr().String(), Framing: framing, Count: count, Connections: connections}
		for _, s := range frames {
			o.Frames = append(o.Frames, []byte(s))
		}
		r, err := Send(t.Context(), o)
		if err != nil || r.Frames != count || len(r.ByKind) != 1 || r.ByKind["replayed"] != count {
			t.Errorf("%v: %+v", err, r)
		}
		var got []string
		for _, b := range p.received() {
			got = append(got, string(b))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s, %d connections: %q, want %q", framing, connections, got, want)
		}
	}
	f("nul", 1, 5, []string{"<1>a", "<2>b\nb"}, "<1>a\x00<2>b\nb\x00<1>a\x00<2>b\nb\x00<1>a\x00")
	f("lf", 1, 2, []string{"<1>a\x00a", "<2>b"}, "<1>a\x00a\n<2>b\n")
	f("octet", 1, 2, []string{"\n<1>a\x00", strings.Repeat("x", 70_000)}, "6 \n<1>a\x0070000 "+strings.Repeat("x", 70_000))
	f("nul", 2, 5, []string{"a", "b", "c"}, "a\x00c\x00b\x00", "b\x00a\x00")
	f("nul", 3, 3, []string{"a"}, "a\x00", "a\x00", "a\x00")
}

func TestReplay_Failure(t *testing.T) {
	t.Parallel()
	f := func(framing, frame, want string) {
		t.Helper()
		_, err := Send(t.Context(), SendOptions{To: "tcp://127.0.0.1:1", Framing: framing, Frames: [][]byte{[]byte("fine"), []byte(frame)}})
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", frame, err, want)
		}
	}
	f("nul", "a\x00b", "cannot send frame 2 with a NUL behind it: it holds one itself; --framing octet carries any frame")
	f("lf", "a\nb", "cannot send frame 2 with a LF behind it: it holds one itself; --framing octet carries any frame")
	f("nul", "\na", "cannot send frame 2 with a NUL behind it: it begins or ends with a line end or NUL, which would be taken for a trailer; --framing octet carries any frame")
	f("nul", "", "cannot send frame 2: it is empty")
	f("morse", "a", `cannot send framing "morse": the framings are auto, nul, lf, octet, none`)
}

// TestReplay_Datagrams: over UDP a frame is a datagram, with nothing added.
func TestReplay_Datagrams(t *testing.T) {
	t.Parallel()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	frames := [][]byte{[]byte("\n\x00a\xff"), []byte("<1>b")}
	if _, err := Send(t.Context(), SendOptions{To: "udp://" + c.LocalAddr().String(), Framing: "nul", Count: 2, Frames: frames}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for _, want := range frames {
		n, _, err := c.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			t.Errorf("%v: %q, want %q", err, buf[:n], want)
		}
	}
}
