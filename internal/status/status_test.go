package status

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func moment(secondsAgo float64) time.Time {
	return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).Add(-time.Duration(secondsAgo * float64(time.Second)))
}

func seconds(s float64) *float64 { return &s }

// example has one of everything.
func example() Status {
	return Status{
		Daemon: "up", Version: "v1.2.3", Commit: "0123456789ab", Now: moment(0), Started: moment(93784),
		Waiting: []Waiting{{For: "clickhouse", Reason: "dial tcp 127.0.0.1:9000: connect: connection refused"}},
		Listeners: []Listener{
			{
				Name: "filter-tcp", Address: "tcp://192.0.2.1:5514", Received: 1_234_567, Published: 1_200_000,
				Rejected: map[string]uint64{"no_template": 30_000, "column_count": 60}, Dropped: map[string]uint64{"reject_limit": 4_000},
				InFlight: 507, Closes: true, Bytes: 505 << 20, Connections: 12, LastEvent: moment(0.2),
				Peers: Senders{Known: 3, Shown: []Sender{
					{Name: "192.0.2.7", FilteringHost: "mx1.example.net", Counts: Counts{Frames: 1_000_000, Rejects: 60, Bytes: 400 << 20}, Last: moment(0.2), Rate: 812.4, Skew: seconds(-0.04), Samples: 99},
					{Name: "2001:db8::7", FilteringHost: "mx2.example.net", SeveralHosts: true, Counts: Counts{Frames: 200_000, Bytes: 90 << 20}, Last: moment(3), Rate: 9.96, Skew: seconds(-3601), Samples: 99},
					{Name: "192.0.2.9", Counts: Counts{Frames: 34_567, Rejects: 34_567, Dropped: 4000, Bytes: 15 << 20}, Last: moment(7300), Rate: 0},
				}},
			},
			{
				Name: "filter-udp", Address: "udp://192.0.2.1:5514", Received: 12, Published: 7, Rejected: map[string]uint64{}, Dropped: map[string]uint64{"kernel": 4},
				ReceiveBuffer: 4 << 20, LastEvent: moment(86400 * 3),
				Peers: Senders{Known: 10_000, Gone: 5, Others: &Counts{Frames: 11, Rejects: 2, Dropped: 1}, Shown: []Sender{
					{Name: "192.0.2.8", Counts: Counts{Frames: 1, Bytes: 409}, Last: moment(86400 * 3)},
				}},
			},
			{Name: "quiet", Address: "tcp://192.0.2.1:5515", Closes: true},
		},
		FilteringHosts: &Senders{Known: 2, Shown: []Sender{
			{Name: "mx1.example.net", Counts: Counts{Frames: 999_940, Rejects: 60, Bytes: 400 << 20}, Last: moment(0.2), Rate: 812.4, Skew: seconds(2), Samples: 9},
			{Name: "mx\x1b[2J\u202e", RejectsUnknown: true, Counts: Counts{Frames: 2, Bytes: 800}, Last: moment(61)},
		}},
		Publisher: &Publisher{BufferedBytes: 3 << 20, BufferLimitBytes: 64 << 20, Batches: 4711, Retries: 2},
		Transformer: &Transformer{
			Tables:  []Table{{Name: "message_events", Rows: 700_000, Lag: 1200, Partitions: 6}, {Name: "rejects", Rows: 30_060}},
			Inserts: 900, InsertErrors: 1, BufferedBytes: 1 << 20, Blocked: []string{"millrace.status/3 waits: code: 16, no such column"},
		},
	}
}

// TestWrite compares with what a person has looked at: testdata/status.txt.
func TestWrite(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := example().Write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "status.txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant (UPDATE=1 go test ./internal/status writes it)\n%s", b.String(), want)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(Handler(example))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	got, raw, err := Get(context.Background(), address, 1)
	if err != nil || len(raw) == 0 {
		t.Fatal(err)
	}
	p := got.Listeners[0].Peers
	if len(p.Shown) != 1 || p.Shown[0].Name != "192.0.2.7" || p.Known != 3 || p.Others.Frames != 234_567 || p.Others.Rejects != 34_567 || p.Others.Dropped != 4000 {
		t.Errorf("one peer was asked for: %+v", p)
	}
	if o := got.Listeners[1].Peers.Others; o.Frames != 11 {
		t.Errorf("those gone are %+v", o)
	}
	var whole, cut strings.Builder
	all, _, err := Get(context.Background(), address, 100)
	if err != nil {
		t.Fatal(err)
	}
	_ = all.Write(&whole)
	_ = example().Write(&cut)
	if whole.String() != cut.String() {
		t.Errorf("JSON loses something:\n%s\nwant\n%s", whole.String(), cut.String())
	}
	res, err := http.Get(s.URL + "/status?senders=many")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("senders=many: %s", res.Status)
	}
}

func TestGet_Failure(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer page.Close()
	for address, want := range map[string]string{
		strings.TrimPrefix(other.URL, "http://"): "it answers 404 Not Found; is it a millrace, and as new as this one?",
		strings.TrimPrefix(page.URL, "http://"):  "it is no answer of a millrace",
	} {
		if _, _, err := Get(context.Background(), address, 1); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for in, want := range map[string]string{"0.0.0.0:1": "127.0.0.1:1", ":1": "127.0.0.1:1", "[::]:1": "[::1]:1", "192.0.2.1:1": "192.0.2.1:1", "h:1": "h:1"} {
		if got := reachable(in); got != want {
			t.Errorf("%s is reached at %s, want %s", in, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	want(share(0, 0), "-")
	want(share(0, 9), "0")
	want(share(1, 1_000_000), "<0.01%")
	want(share(1, 300), "0.33%")
	want(share(999_999, 1_000_000), "99.9%")
	want(share(3, 3), "100%")
	want(size(0), "0 B")
	want(size(1536), "1.5 KiB")
	want(size(1<<63), "8192 PiB")
	want(rate(1234.4), "1,234")
	want(rate(0.02), "0.020")
	want(span(-time.Second), "0.0 s")
	want(span(59*time.Second+900*time.Millisecond), "59 s")
	want(span(3700*time.Second), "1 h 1 min")
	want(signed(-0.01), "0.0 s")
	want(signed(7200), "+2 h 0 min")
	want(signed(-1e300), "-104166 d 16 h")
	want(printable("a\x1bb\u202e\xff"), `a\x1bb\u202e\xff`)
}
