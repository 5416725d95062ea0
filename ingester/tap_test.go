package ingester

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/ingester/publish"
	"millrace/ingester/tap"
	"millrace/schema"
)

// watch serves the pages of the rig's ingester on a socket.
func (r *rig) watch() *httptest.Server {
	r.t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/tap", r.Taps().Tap)
	mux.HandleFunc("/capture", r.Taps().Capture)
	s := httptest.NewServer(mux)
	r.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// get asks for a page; frames that are sent after it returns are seen.
func get(t *testing.T, s *httptest.Server, path, query string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(req) // the default client is closed by any server of httptest
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("%s?%s: %s: %s", path, query, res.Status, body)
	}
	return res
}

// seen is a line of /tap.
type seen map[string]any

func (s seen) counts() (shown, overRate, missed, unmatched int, end string) {
	c := s["tap"].(map[string]any)
	n := func(key string) int { return int(c[key].(float64)) }
	end, _ = c["end"].(string)
	return n("shown"), n("over_rate"), n("missed"), n("not_matched"), end
}

// lines reads a tap to its end: the events, and the last counts.
func lines(t *testing.T, r io.Reader) (events []seen, last seen) {
	t.Helper()
	s := bufio.NewScanner(r)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		var v seen
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatalf("%v: %s", err, s.Bytes())
		}
		if v["tap"] != nil {
			last = v
		} else {
			events = append(events, v)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return events, last
}

func (s seen) subject() string {
	if s["kind"] == "reject" {
		return "reject " + fmt.Sprint(s["reason"])
	}
	if s["kind"] == "status" {
		return "status " + fmt.Sprint(s["status"])
	}
	return fmt.Sprint(s["subject_header"])
}

// TestTap_Filters: each filter shows what it names, and counts the rest.
func TestTap_Filters(t *testing.T) {
	t.Parallel()
	const all = "first|mine|reject no_template|reject short|status delivered|udp"
	queries := []struct{ query, want string }{
		{"", all},
		{"kind=message", "first|mine|udp"},
		{"kind=status", "status delivered"},
		{"kind=message,status", "first|mine|status delivered|udp"},
		{"kind=reject", "reject no_template|reject short"},
		{"reason=short", "reject short"},
		{"reason=no_template&reason=short", "reject no_template|reject short"},
		{"listener=udp", "udp"},
		{"listener=udp,tcp", all},
		{"domain=Example.COM", "first|status delivered|udp"},
		{"domain=.example.org", "mine"},
		{"domain=example.com,.example.org", "first|mine|status delivered|udp"},
		{"domain=.com", "first|status delivered|udp"},
		{"domain=ample.com", ""},
		{"peer=127.0.0.0/8", all},
		{"peer=127.0.0.1&kind=status", "status delivered"},
		{"peer=192.0.2.0/24,2001:db8::1", ""},
		{"contains=nonsense", "reject no_template"},
		{"contains=" + url.QueryEscape(`"mine"`) + "&contains=250+ok", "mine|status delivered"},
	}
	for len(queries) > 0 {
		some := queries[:min(len(queries), tap.Most)]
		queries = queries[len(some):]
		r := newRig(t, both, "")
		s := r.watch()
		var open []*http.Response
		for _, q := range some {
			open = append(open, get(t, s, "/tap", "rate=0&"+q.query))
		}
		r.send("tcp", "<22>"+m1(testID(1), "first")+"\x00<22>"+s1(testID(1), "delivered", "250 ok")+"\x00",
			"<22>nonsense\x00<22>\"1phfsb-0004M4-O4\",\"cut\x00<22>"+strings.Replace(m1(testID(2), "mine"), `"example.com"`, `"Sub.Example.org"`, 1)+"\x00")
		r.send("udp", "<22>"+m1(testID(3), "udp"))
		r.within("all frames are taken", func(a Account) bool { return a.Received == 6 })
		r.drained()
		for i, q := range some {
			events, last := lines(t, open[i].Body)
			var got []string
			for _, e := range events {
				got = append(got, e.subject())
			}
			slices.Sort(got)
			if strings.Join(got, "|") != q.want {
				t.Errorf("%q shows %q, want %q", q.query, got, q.want)
			}
			shown, overRate, missed, unmatched, end := last.counts()
			if shown != len(got) || overRate+missed != 0 || unmatched != 6-len(got) || end != "the ingester has stopped" {
				t.Errorf("%q ends with %v", q.query, last)
			}
		}
	}
}

// TestTap_Event: all that Kafka gets of an event, and the frame it came from, by the
// names of the schema.
func TestTap_Event(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp, "")
	res := get(t, r.watch(), "/tap", "count=3")
	good := "<22>Nov 20 15:30:53 relay1 app[12]: " + m1(testID(1), "offer, 50% off <now>")
	bad := "<22>" + strings.Replace(m1(testID(2), "caf\xe9"), "23533", "many", 1)
	r.send("tcp", good+"\r\n\x00", bad+"\x00", "<22>none\x00")
	events, last := lines(t, res.Body)
	if len(events) != 3 {
		t.Fatalf("%d events: %v, %v", len(events), events, last)
	}
	e := events[0]
	f := func(e seen, pairs ...string) {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			if got := fmt.Sprint(e[pairs[i]]); got != pairs[i+1] {
				t.Errorf("%s is %q, want %q", pairs[i], got, pairs[i+1])
			}
		}
	}
	f(e, "kind", "message", "listener", "tcp", "transport", "tcp", "peer_ip", "127.0.0.1", "facility", "2", "severity", "6", "syslog_host", "relay1",
		"syslog_app", "app", "format", "m1", "id", testID(1), "domain", "example.com", "sender_ip", "192.0.2.1", "incoming_size", "23533",
		"timestamp", "2023-03-30T00:11:01.000Z", "subject_header", "offer, 50% off <now>", "ended", "nul", "trailer", "\r\n\x00", "frame", good)
	if host, _, err := net.SplitHostPort(fmt.Sprint(e["peer"])); err != nil || host != "127.0.0.1" {
		t.Errorf("peer is %v", e["peer"])
	}
	f(events[1], "subject_header", "caf\uFFFD", "frame", "<nil>", "frame_base64", base64.StdEncoding.EncodeToString([]byte(bad)),
		"flags", "[bad_utf8 bad_int]", "bad_fields", "[incoming_size]")
	f(events[2], "kind", "reject", "reason", "no_template", "frame_bytes", "8", "frame", "<22>none", "raw", "<nil>")
	if _, _, _, _, end := last.counts(); end != "count" {
		t.Errorf("it ends with %v", last)
	}
}

// TestTap_Rate: what comes faster than the rate is counted, and the reader is told.
func TestTap_Rate(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp, "")
	s := r.watch()
	slow, all := get(t, s, "/tap", "rate=5"), get(t, s, "/tap", "rate=0")
	const n = 500
	c := r.dial("tcp")
	for i := range n {
		fmt.Fprintf(c, "<22>%s\x00", m1(testID(i), "x"))
	}
	r.within("all frames are taken", func(a Account) bool { return a.Received == n })
	c.Close()
	r.drained()
	events, last := lines(t, slow.Body)
	shown, overRate, missed, _, _ := last.counts()
	// Five at once and five a second: how many depends on how long it took.
	if len(events) != shown || shown < 5 || overRate == 0 || shown+overRate != n || missed != 0 {
		t.Errorf("%d events at 5/s, %v", len(events), last)
	}
	events, last = lines(t, all.Body)
	if shown, overRate, missed, _, _ = last.counts(); len(events) != n || shown != n || overRate+missed != 0 {
		t.Errorf("%d events without a rate, %v", len(events), last)
	}
}

// TestTap_StalledReader: readers that read nothing cost the ingester nothing: all
// frames are published, and those that no buffer had room for are counted.
func TestTap_StalledReader(t *testing.T) {
	t.Parallel()
	// Not auto: on a busy machine a frame may be in two writes with an idle time between.
	r := newRig(t, strings.Replace(tcp, "}", ", framing: nul}", 1), "")
	pages := r.Taps()
	// Taps with a reader that has stopped in the middle of a write, which is as far as
	// a full socket brings it.
	stalled := make(chan struct{})
	defer close(stalled)
	begun := make(chan struct{}, 2)
	for _, handler := range []http.HandlerFunc{pages.Tap, pages.Capture} {
		go handler(&stuck{begun: begun, until: stalled}, httptest.NewRequest(http.MethodGet, "/?rate=0", nil))
		<-begun
	}
	// And one over a socket that nobody reads.
	deaf := get(t, r.watch(), "/capture", "")
	const n = 30_000
	c := r.dial("tcp")
	w := bufio.NewWriter(c)
	for i := range n {
		fmt.Fprintf(w, "<22>%s\x00", m1(testID(i), strings.Repeat("long ", 100)))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r.within("all frames are published", func(a Account) bool { return a.Published == n })
	c.Close()
	reader, item, frames := tap.NewReader(deaf.Body), tap.Item{}, uint64(0)
	go func() { _ = r.stop() }()
	for {
		err := reader.Next(&item)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		frames++
	}
	if c := reader.Counts; frames != c.Shown || c.Shown+c.Missed != n || c.Missed == 0 || reader.End == "" {
		t.Errorf("%d frames were read, %v", frames, c)
	}
}

// stuck is a reader that takes the header and no more.
type stuck struct {
	begun chan<- struct{}
	until <-chan struct{}
}

func (s *stuck) Header() http.Header { return http.Header{} }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) Flush()              { s.begun <- struct{}{} }
func (s *stuck) Write([]byte) (int, error) {
	<-s.until
	return 0, io.ErrClosedPipe
}

// TestTap_Refusals: what cannot be asked for is refused in words.
func TestTap_Refusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, both, "")
	s := r.watch()
	f := func(query string, code int, want string) {
		t.Helper()
		res, err := s.Client().Get(s.URL + "/tap?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != code || string(body) != want+"\n" {
			t.Errorf("%s: %v %d %q, want %d %q", query, err, res.StatusCode, body, code, want)
		}
	}
	f("colour=red", 400, `cannot filter by "colour"`)
	f("kind=mail", 400, `cannot filter by kind "mail": allowed: message, status, reject`)
	f("listener=x", 400, `cannot filter by listener "x": the listeners are tcp, udp`)
	f("peer=x", 400, `cannot filter by peer "x": allowed: an address or a network such as 192.0.2.0/24`)
	f("reason=x", 400, `cannot filter by reason "x": allowed: the reasons of rejects in docs/errors.md, such as no_template`)
	f("domain=.", 400, `cannot filter by domain ".": allowed: a domain, or .DOMAIN for all below it`)
	f("rate=-1", 400, `cannot filter by rate "-1": allowed: a number of frames a second; 0: all`)
	f("for=soon", 400, `cannot filter by for "soon": allowed: a time such as 10s`)
	f("count=some", 400, `cannot filter by count "some": allowed: a whole number`)
	f("kind=reject&domain=a.example", 400, "cannot filter rejects by domain: they were not decoded; contains finds it in the frame")
	var open []*http.Response
	for range tap.Most {
		open = append(open, get(t, s, "/capture", ""))
	}
	f("", 503, "cannot open another tap: 8 are open; end one of them")
	open[0].Body.Close()
	within(t, "there is room again", func() bool {
		res, err := s.Client().Get(s.URL + "/tap?for=1ms")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode == 200
	}, func() string { return "503" })
	r.drained()
	f("", 503, "cannot open a tap: the ingester has stopped")
}

// TestTap_Dropped: a datagram that found Kafka away and no room is shown as dropped.
func TestTap_Dropped(t *testing.T) {
	t.Parallel()
	s := newSink(t, false, func(o *publish.Options) { o.BatchBytes, o.BufferBytes = 16<<10, 512<<10 })
	s.in.waits = false
	opened, err := s.in.taps.Open(tap.Options{Request: tap.Request{}, Buffer: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	frame := framing.Whole([]byte("<22>" + m1(testID(1), strings.Repeat("x", 1000))))
	const frames = 1000
	dropped := 0
	for range frames {
		if err := s.Frame(benchPeer, frame); err != nil {
			t.Fatal(err)
		}
	}
	s.Flush()
	items, counts, _ := opened.Next(t.Context(), 0)
	for r, item := tap.NewReader(bytes.NewReader(items)), (tap.Item{}); r.Next(&item) == nil; {
		if item.Drop == schema.DropBackpressure {
			dropped++
		}
	}
	if want := s.in.ledger.read().Dropped[schema.DropBackpressure]; counts.Shown != frames || dropped == 0 || uint64(dropped) != want {
		t.Errorf("%d of %d are shown as dropped, %d were", dropped, counts.Shown, want)
	}
}

// TestTap_RejectLimit: rejects beyond the limit, of which nothing is kept, are still
// shown, as dropped.
func TestTap_RejectLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, strings.Replace(tcp, "}", ", reject_limit: {rows: 2}}", 1), "")
	res := get(t, r.watch(), "/tap", "kind=reject&count=5")
	r.send("tcp", strings.Repeat("<22>nonsense\x00", 5))
	events, _ := lines(t, res.Body)
	var dropped []string
	for _, e := range events {
		dropped = append(dropped, fmt.Sprint(e["dropped"], e["listener"]))
	}
	if got, want := strings.Join(dropped, " "), "<nil>tcp <nil>tcp reject_limittcp reject_limittcp reject_limittcp"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTap_CutOff: a reader that takes nothing is cut off, and the log has who looked.
func TestTap_CutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp, "")
	pages := r.Taps()
	pages.WriteTimeout = time.Millisecond
	s := httptest.NewServer(http.HandlerFunc(pages.Capture))
	t.Cleanup(s.Close)
	get(t, s, "/", "")
	c := r.dial("tcp")
	frame := "<22>" + m1(testID(1), strings.Repeat("long ", 400)) + "\x00"
	within(t, "the reader is cut off", func() bool {
		for range 1000 { // its socket fills
			if _, err := io.WriteString(c, frame); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Contains(r.log.String(), "frames are no longer watched")
	}, r.log.String)
	for _, want := range []string{`msg="frames are watched" page=/ by=127.0.0.1:`, " shown="} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, r.log)
		}
	}
}
