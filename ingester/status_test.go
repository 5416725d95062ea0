package ingester

import (
	"strings"
	"testing"
	"time"

	"millrace/internal/status"
)

// TestStatus: the account and the senders of a running ingester, as /status says them.
func TestStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t, both, "")
	stamp := func(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format("2006-01-02T15:04:05.000Z") }
	relayed := func(host, body string, ago time.Duration) string {
		return "<22>1 " + stamp(ago) + " " + host + " app - - - " + body + "\n"
	}
	r.send("tcp",
		relayed("filter1.example.net", m1(testID(1), "a"), time.Hour), // its clock is an hour behind
		relayed("filter1.example.net", s1(testID(1), "delivered", "ok"), time.Hour),
		relayed("filter1.example.net", "garbage", time.Hour),
		relayed("never-heard.example.net", "garbage", time.Hour),
		"<22>\n")
	r.send("udp", "<22>garbage too")
	r.within("all is acknowledged", func(a Account) bool { return a.Received == 6 && a.InFlight == 0 })

	var s status.Status
	r.Status(&s)
	l := s.Listeners[0]
	if l.Name != "tcp" || l.Address != "tcp://"+r.addr["tcp"].String() || !l.Closes || l.Received != 5 || l.Published != 2 ||
		l.Rejected["no_template"] != 2 || l.Dropped["empty"] != 1 || l.InFlight != 0 || time.Since(l.LastEvent) > time.Minute {
		t.Errorf("%+v", l)
	}
	peer := l.Peers.Shown[0]
	if peer.Name != "127.0.0.1" || peer.FilteringHost != "filter1.example.net" || peer.SeveralHosts || peer.Frames != 4 || peer.Rejects != 2 || peer.Dropped != 0 || peer.Rate <= 0 {
		t.Errorf("%+v", peer)
	}
	if skew := peer.Skew; skew == nil || *skew > -3599 || *skew < -3700 {
		t.Errorf("the header's clock is an hour behind; skew %v of %d samples", skew, peer.Samples)
	}
	if p := s.Listeners[1].Peers.Shown[0]; p.Frames != 1 || p.Rejects != 1 || p.Skew != nil || p.FilteringHost != "" {
		t.Errorf("%+v", p)
	}
	if n := len(s.FilteringHosts.Shown); n != 1 {
		t.Fatalf("%d filtering hosts", n)
	}
	// A header's word alone makes no filtering host.
	if h := s.FilteringHosts.Shown[0]; h.Name != "filter1.example.net" || h.Frames != 2 || h.Rejects != 1 || h.RejectsUnknown || h.Skew == nil || *h.Skew > -1e6 {
		t.Errorf("%+v", h) // its events are of 2023
	}
	var page strings.Builder
	if err := s.Write(&page); err != nil || !strings.Contains(page.String(), "filter1.example.net") || strings.Contains(page.String(), "recipient@") {
		t.Errorf("%v\n%s", err, page.String())
	}
}
