package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/internal/porttest"
	"millrace/internal/service"
)

// watched is an ingester with its operations server, over a broker in memory.
type watched struct {
	t          *testing.T
	config     string // file
	http       string
	tcp, udp   string
	octet, nul string
	stop       func()
}

// watch starts one; who may watch it is http.tap.
func watch(t *testing.T, who string) *watched {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Topics: map[string]int{"millrace.message": 1, "millrace.status": 1, "millrace.reject": 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	w := &watched{t: t, config: file(t, "m.yaml", `
listeners:
  - {name: tcp, address: "tcp://127.0.0.1:0"}
  - {name: octet, address: "tcp://127.0.0.1:0", framing: octet}
  - {name: nul, address: "tcp://127.0.0.1:0", framing: nul}
  - {name: udp, address: "udp://127.0.0.1:0"}
kafka: {brokers: ["`+broker.Addr+`"], linger: 5ms}
http: {tap: `+who+`}
`)}
	cfg, err := config.Load(w.config)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	in, err := ingester.New(ingester.Options{Config: cfg, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	server, err := service.Serve(service.ServerOptions{Address: "127.0.0.1:0", Registry: prometheus.NewRegistry(), Conditions: service.NewConditions(nil), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	for path, handler := range map[string]http.HandlerFunc{"/tap": in.Taps().Tap, "/capture": in.Taps().Capture} {
		server.Add(service.Page{Path: path, Who: cfg.HTTP.Tap, Key: "http.tap", Handler: handler})
	}
	w.http = server.Addr().String()
	for _, a := range in.Addrs() {
		*map[string]*string{"tcp": &w.tcp, "octet": &w.octet, "nul": &w.nul, "udp": &w.udp}[a.Name] = a.Addr.String()
	}
	soft, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(soft, context.Background()) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		w.stop()
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *watched) send(network, address, data string) {
	w.t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, data); err != nil {
		w.t.Fatal(err)
	}
}

// during runs a command that watches, calls f once it does, and returns its result.
func (w *watched) during(f func(), args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	errs := &watching{begun: make(chan struct{})}
	code := make(chan int, 1)
	go func() { code <- run(ctx, New(), append(args, "--http", w.http), strings.NewReader(""), &out, errs) }()
	select {
	case <-errs.begun:
	case c := <-code:
		return result{c, out.String(), errs.text.String()}
	}
	f()
	c := <-code
	return result{c, out.String(), strings.TrimPrefix(errs.text.String(), "watching the ingester at "+w.http+"; Ctrl-C ends it\n")}
}

// watching is a standard error on which the first line says that it has begun.
type watching struct {
	mu    sync.Mutex
	text  bytes.Buffer
	begun chan struct{}
}

func (w *watching) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text.Len() == 0 && bytes.HasPrefix(b, []byte("watching ")) {
		close(w.begun)
	}
	return w.text.Write(b)
}

// clock is what differs from run to run.
var clock = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{3}`)

func TestTap(t *testing.T) {
	t.Parallel()
	w := watch(t, "loopback")
	frames := frameM1 + "\x00" + frameS1 + "\x00<14>hello\x1b[31m\x00<14>\"1phfsb-0004M4-O4\",\"mx243\",\"exam\x00" +
		strings.Replace(frameM1, "a@b.example", "%(sender)s", 1) + "\x00"
	r := w.during(func() { w.send("tcp", w.tcp, frames) }, "tap", "--count", "5")
	want := `
TIME tcp 127.0.0.1 message m1 1phfsb-0004M4-O4 a@b.example -> r@example.com delivered/ham [bad_int: outgoing_size]
             He said "hi", ok
TIME tcp 127.0.0.1 status s1 1phfsb-0004M4-O4 r@example.com delivered
             mx.example.com [192.0.2.9 port 25]: 250 ok
TIME tcp 127.0.0.1 reject no_template: it begins with "hello\x1b[31m"; the formats of this listener begin with DETAIL
             <14>hello\x1b[31m
                 ^~~~~~~~~~~~~
TIME tcp 127.0.0.1 reject short: it begins as DETAIL
             <14>"1phfsb-0004M4-O4","mx243","exam
                                                 ^
TIME tcp 127.0.0.1 reject template_unexpanded: the value of "sender" is the text "%(sender)s": the source did not fill the variable in
             <14>"1phfsb-0004M4-O4","mx243.antispamcloud.com","%(sender)s","r@example.com","example.com","1680135062.25","m...
                                                               ^~~~~~~~~~
`
	got := clock.ReplaceAllString(r.out, "TIME")
	got = regexp.MustCompile(`(?m)(begin with|begins as) .*$`).ReplaceAllString(got, "$1 DETAIL")
	if "\n"+got != want || r.code != 0 || r.errs != "5 shown, 0 over the rate, 0 missed, 0 not matched\n" {
		t.Errorf("code %d\n%s\nwant%s\nstderr %s", r.code, got, want, r.errs)
	}
}

// TestTapForms: JSON and raw, filters by flags, the rate said.
func TestTapForms(t *testing.T) {
	t.Parallel()
	w := watch(t, "any")
	send := func() { w.send("tcp", w.tcp, frameM1+"\x00"+frameS1+"\x00<14>he\nl\xfflo\x00") }
	r := w.during(send, "tap", "--raw", "--rejects", "--count", "1")
	r.want(t, 0, "<14>he\nl\xfflo\n", "1 shown, 0 over the rate, 0 missed, 2 not matched\n")
	r = w.during(send, "tap", "--json", "--kind", "message,reject", "--peer", "127.0.0.0/8", "--listener", "tcp", "--count", "2")
	r.contains(t, 0, `{"kind":"message","peer":"127.0.0.1:`, `"subject_header":"He said \"hi\", ok"`, `"ended":"nul","trailer":"\u0000","frame":"<14>\"1phfsb`,
		`"reason":"no_template"`, `"frame_base64":"PDE0PmhlCmz/bG8="`, `{"tap":{"shown":2,"over_rate":0,"missed":0,"not_matched":1,"end":"count"}}`)
	w.during(send, "tap", "--domain", "EXAMPLE.com", "--contains", "250 ok", "--count", "1").contains(t, 0, " status s1 ", "1 shown", "1 not matched\n")
	w.during(send, "tap", "--reason", "no_template", "--for", "5s", "--count", "1").contains(t, 0, "reject no_template")
	// One at a time, and all at once: at least one is too fast. The ingester's end is told.
	r = w.during(func() {
		w.send("tcp", w.tcp, strings.Repeat(frameS1+"\x00", 100))
		w.stop()
	}, "tap", "--rate", "1/s")
	r.contains(t, 0, " not shown: faster than 1/s (--rate)\n", "; the ingester has stopped\n")
}

func TestTapRefused(t *testing.T) {
	t.Parallel()
	w := watch(t, "off")
	for _, args := range [][]string{{"tap"}, {"capture", "-o", filepath.Join(t.TempDir(), "x")}} {
		execute(t, "", append(args, "--http", w.http)...).want(t, 1, "",
			"millrace: cannot watch the ingester at "+w.http+": /"+args[0]+" is off (http.tap)\n")
	}
	gone := porttest.TCP(t)
	execute(t, "", "tap", "--http", gone).contains(t, 1, "millrace: cannot reach the ingester at "+gone, "connection refused", "--http HOST:PORT")
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	execute(t, "", "tap", "--http", other.URL).contains(t, 1, "it has no /tap: it is no ingester, or an older one")
	off := file(t, "off.yaml", "http: {ingest: off}\n")
	execute(t, "", "tap", "--config", off).contains(t, 2, "http.ingest is off: --http HOST:PORT names the ingester")
	execute(t, "", "tap", "--json", "--raw").contains(t, 2, "either --json or --raw")
	execute(t, "", "tap", "--rejects", "--kind", "status").contains(t, 2, "either --rejects or --kind")
	execute(t, "", "capture").contains(t, 2, "-o FILE is missing")
	execute(t, "", "capture", "-o", "x", "--max-bytes", "1 MB").contains(t, 2, `--max-bytes "1 MB"`)
	allowed := watch(t, "loopback")
	// A page of elsewhere that a browser on this machine shows, by DNS rebinding.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+allowed.http+"/tap", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	res, err := new(http.Transport).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusForbidden || string(text) != "/tap is for this machine only (http.tap: loopback)\n" {
		t.Errorf("%d %q, %v", res.StatusCode, text, err)
	}
	execute(t, "", "tap", "--http", allowed.http, "--listener", "x").contains(t, 2, `cannot filter by listener "x": the listeners are tcp, octet, nul, udp`)
}

// counted is frames as capture writes them.
func counted(frames ...string) string {
	var b strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&b, "%d %s", len(f), f)
	}
	return b.String()
}

// TestCapture_RoundTrip: what came is in the file byte for byte, with NUL, line ends
// and what is no UTF-8; template test reads it; generate sends it again, and what
// then comes is the same.
func TestCapture_RoundTrip(t *testing.T) {
	t.Parallel()
	w := watch(t, "loopback")
	nasty := []string{
		frameM1,
		strings.Replace(frameM1, "He said", "line\r\nend, NUL \x00, not UTF-8 \xe9\xff, <14>", 1),
		"<14>\n\x00\n12 <14>garbage",
		frameS1[4:], // no PRI
		"\x00\x01<14>begins with control bytes",
	}
	path := filepath.Join(t.TempDir(), "frames")
	r := w.during(func() { w.send("tcp", w.octet, counted(nasty...)) }, "capture", "--listener", "octet", "--count", "5", "-o", path)
	r.contains(t, 0, "5 frames in "+path, "ended by            octet 5", "formats             m1 2, s1 1", "rejects             no_template 2")
	got, err := os.ReadFile(path)
	if err != nil || string(got) != counted(nasty...) {
		t.Fatalf("%v\n got %q\nwant %q", err, got, counted(nasty...))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	execute(t, "", "template", "test", "--config", w.config, "--listener", "octet", path).
		contains(t, 1, "5 frames, 3 decoded, 2 rejected (listener octet)\n", "no PRI, no syslog header", `line\r\nend, NUL \x00`)

	// Sent again over TCP with counts and as datagrams: the same comes.
	for _, to := range [][]string{{"--to", "tcp://" + w.octet, "--framing", "octet"}, {"--to", "udp://" + w.udp}} {
		again := filepath.Join(t.TempDir(), "again")
		w.during(func() {
			execute(t, "", append(to, "generate", "--from", path, "--count", "10")...).contains(t, 0, "sent 10 frames", "replayed 10\n")
		}, "capture", "--count", "10", "-o", again).contains(t, 0, "10 frames in "+again)
		if got, err = os.ReadFile(again); err != nil || string(got) != counted(nasty...)+counted(nasty...) {
			t.Errorf("%s: %v\n got %q\nwant %q twice", to, err, got, counted(nasty...))
		}
	}
	// A framing that would cut a frame is refused.
	execute(t, "", "generate", "--from", path, "--to", "tcp://"+w.nul).
		contains(t, 1, "cannot send frame 2 with a NUL behind it: it holds one itself; --framing octet carries any frame")
	execute(t, "", "generate", "--from", path, "--seed", "2").contains(t, 2, "--seed is for traffic that is made up")

	// A file that is there stays, unless it is not wanted.
	execute(t, "", "capture", "--http", w.http, "-o", path).want(t, 1, "", fmt.Sprintf("millrace: cannot write %q: it is there already; --force writes over it\n", path))
	w.during(func() { w.send("tcp", w.tcp, frameS1+"\x00") }, "capture", "--count", "1", "--force", "-o", path).contains(t, 0, "1 frame in "+path)
	if got, err = os.ReadFile(path); err != nil || string(got) != counted(frameS1) {
		t.Errorf("%v: %q", err, got)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	r = w.during(func() { w.send("tcp", w.tcp, strings.Repeat(frameS1+"\x00", 10)) }, "capture", "--max-bytes", "1KiB", "--force", "-o", path)
	r.contains(t, 0, "7 frames in "+path, "--max-bytes is reached")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() != int64(len(counted(frameS1)))*7 {
		t.Errorf("%v, %v", info, err)
	}
	r = w.during(func() { w.send("tcp", w.tcp, frameS1+"\x00") }, "capture", "--count", "1", "-o", "-")
	if r.out != counted(frameS1) || !strings.Contains(r.errs, "1 frame in standard output\n") {
		t.Errorf("%+v", r)
	}
}

// TestCapture_Summary: what a source really sends, the open questions answered.
func TestCapture_Summary(t *testing.T) {
	t.Parallel()
	w := watch(t, "loopback")
	body := frameM1[4:]
	r := w.during(func() {
		w.send("tcp", w.tcp, strings.Join([]string{
			frameM1 + "\x00",
			"<14>\xef\xbb\xbf" + strings.Replace(body, "192.0.2.1", "None", 1) + "\n\x00",
			"<22>Nov 20 15:30:53 relay1 app[12]: " + strings.Replace(body, "1680135062.25", "2023-03-30 02:11:02", 1) + "\x00",
			"<22>1 2026-11-20T15:30:53.1Z host app 12 - - " + strings.Replace(body, "He said", `=?utf-8?q?He?= \" é`, 1) + "\x00",
			body + "\x00",
			frameS1 + "\x00\n",
			"<14>" + strings.Replace(frameS1[4:], `"r@example.com"`, `"r@example.com,q@example.com"`, 1) + "\x00",
			"<14>nonsense\x00",
		}, ""))
		w.send("udp", w.udp, frameS1+"\r\n")
	}, "capture", "--count", "9", "-o", filepath.Join(t.TempDir(), "frames"), "--config", w.config)
	r.contains(t, 0,
		"transport           tcp 8, udp 1\n",
		"ended by            nul 8, transport 1\n",
		"stripped            NUL 7, CR LF 1, LF NUL 1, before a frame, so behind the one before it: LF 1\n",
		"header              bare PRI 5, bare PRI, byte order mark 1, none 1, rfc3164 1, rfc5424 1\n",
		"PRI                 <14> 6, <22> 2\n",
		"formats             m1 5, s1 3\n",
		"rejects             no_template 1\n",
		"no_template         such as \"<14>nonsense\"\n",
		"values of the first 8 events, as they stand in the frames:\n",
		`no value            "None" 1`,
		`timestamp           "9999999999.99" (epoch) 4, "9999-99-99 99:99:99" (without a zone) 1`,
		`delivery_date       "9999999999" (epoch) 3`,
		`status              "delivered" 8`,
		`classification      "ham" 5`,
		`not parsed          outgoing_size "x" 5`,
		"id                  16 characters 8\n",
		"recipient           one address 7, several addresses in one value 1\n",
		"RFC 2047 words, undecoded 1", "not ASCII 1", `\" 1`)
}
