package cmd

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"millrace/internal/porttest"
)

// sinkServer counts the NUL-ended frames that come over TCP and, as an ingester's
// metrics do, says that they are published.
type sinkServer struct {
	address, metrics string
	frames           atomic.Uint64
	dropped          uint64
}

func newSink(t *testing.T, dropped uint64) *sinkServer {
	t.Helper()
	in := &sinkServer{dropped: dropped}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	in.address = "tcp://" + l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					in.frames.Add(uint64(strings.Count(string(buf[:n]), "\x00")))
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := in.frames.Load()
		dropped := min(n, in.dropped)
		fmt.Fprintf(w, "millrace_frames_received_total{listener=\"a\"} %d\n", n)
		fmt.Fprintf(w, "millrace_frames_published_total{listener=\"a\"} %d\n", n-dropped)
		fmt.Fprintf(w, "millrace_frames_dropped_total{listener=\"a\",reason=\"backpressure\"} %d\n", dropped)
	}))
	t.Cleanup(s.Close)
	in.metrics = s.URL
	return in
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	in := newSink(t, 0)
	r := execute(t, "", "generate", "--to", in.address, "--count", "3000", "--connections", "2", "--wait-published", in.metrics)
	r.contains(t, 0, "sent 3000 frames, ", "published 3000 rejected 0 dropped 0\n")
	kinds := regexp.MustCompile(`(?m)^message (\d+)\nstatus (\d+)$`).FindStringSubmatch(r.out)
	if kinds == nil {
		t.Fatalf("no counts by kind in %s", r.out)
	}
	messages, _ := strconv.Atoi(kinds[1])
	statuses, _ := strconv.Atoi(kinds[2])
	if messages == 0 || statuses == 0 || messages+statuses != 3000 || in.frames.Load() != 3000 {
		t.Errorf("%d messages, %d statuses, %d frames came", messages, statuses, in.frames.Load())
	}
	if r.errs != "" {
		t.Errorf("progress on what is no terminal: %q", r.errs)
	}
}

func TestGenerateFailures(t *testing.T) {
	t.Parallel()
	in := newSink(t, 7)
	execute(t, "", "generate", "--to", in.address, "--count", "100", "--wait-published", in.metrics).
		contains(t, 1, "published 93 rejected 0 dropped 7\n", "millrace: cannot ")
	gone := porttest.TCP(t)
	execute(t, "", "generate", "--to", "tcp://"+gone).contains(t, 1, "sent 0 frames", "millrace: cannot ", "connection refused")
	execute(t, "", "generate", "--to", in.address, "--wait-published", "http://"+gone).
		contains(t, 1, "millrace: cannot read metrics: ")
	execute(t, "", "generate", "--to", in.address, "--format", "m9").contains(t, 1, "millrace: cannot ", "m9")
	execute(t, "", "generate", "--to", in.address, "--count", "10", "--wait-published", in.metrics, "--listener", "other", "--wait-timeout", "1ms").
		contains(t, 1, "(--wait-timeout)")
}

// Nothing is written over a line that nobody looks at.
func TestProgress(t *testing.T) {
	t.Parallel()
	p := newProgress(io.Discard)
	p.show("sent %d", 5)
	p.end()
	var b strings.Builder
	p = &progress{out: &b}
	p.show("sent %d", 5)
	p.show("sent %d", 6)
	p.end()
	if want := "\r\x1b[Ksent 5\r\x1b[Ksent 6\r\x1b[K"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestGenerate_Logs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	execute(t, "", "generate", "--logs", dir, "--count", "2000", "--tz", "Europe/Sofia").contains(t, 0, "wrote 2000 messages, ")
	for _, name := range []string{"smtp-25.log", "smtp-587.log", "delivery.log", "spamdyke.log", "abuse.mbox"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	execute(t, "", "generate", "--logs", dir, "--rate", "5").contains(t, 2, "--rate is for frames that are sent")
	execute(t, "", "generate", "--logs", dir, "--tz", "Mars/Olympus").contains(t, 2, "--tz")
}
