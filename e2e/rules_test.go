package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/eximid"
)

// spam is a frame's body in the template m3: spam of an identity, refused just now.
func spam(n int, identity string) string {
	now := time.Now().Unix()
	return quoted("sx-m3", string(eximid.Append(nil, uint64(now), uint64(n), 0)), "filter1.example.net", fmt.Sprint(now), "example.com", "192.0.2.1", "", "2000", "2000", "0",
		"rejected", "Spam", "", "", "smtp@example.com", identity, "mail.example.com", "mail.example.com", identity, fmt.Sprintf("r%d@example.org", n), identity, "", "", "Buy", "sx-end")
}

// TestRule has a rule lock who sends spam through a real `millrace up`, from the frames of
// syslog to a signed call of a hook.
func TestRule(t *testing.T) {
	t.Parallel()
	called := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		called <- r.Header.Get("Millrace-Signature") + " " + string(body)
	}))
	t.Cleanup(hook.Close)
	config := filepath.Join(t.TempDir(), "millrace.yaml")
	text := fmt.Sprintf(`rules:
  - {name: spammers, per: identity, classes: [spam], count: 20, window: 10m, everywhere: true, effects: [hook]}
effects:
  - {name: hook, kind: webhook, url: %q, secret: not-a-secret}
`, hook.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := up(t, t.TempDir(), "--config", config)
	a := p.login(string(p.secret("tls.pem")), strings.TrimSpace(string(p.secret("admin-password"))))
	if text, status := a.ask("PUT", "/outgoing-users", `{"domain":"example.com","identification":"sender"}`); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	conn, err := net.Dial("tcp", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(from, to int, identity string) {
		for n := from; n < to; n++ {
			fmt.Fprintf(conn, "<22>%s\x00", spam(n, identity))
		}
	}
	send(0, 19, "under@example.com") // one less than the rule's count
	begin := time.Now()
	send(100, 125, "over@example.com")
	fired := func(result string) float64 {
		return p.metric("millrace_rule_fired_total", `rule="spammers"`, fmt.Sprintf("result=%q", result))
	}
	until(t, "the rule has locked somebody", func() bool { return fired("locked") == 1 }, p.text)
	t.Logf("locked %v after the first of the frames", time.Since(begin).Round(10*time.Millisecond))
	a.want("/locks", `"identity":"over@example.com"`, `"locked":true`, `"by":"rule:spammers"`)
	select {
	case call := <-called:
		t.Logf("the hook was called %v after the first of the frames", time.Since(begin).Round(10*time.Millisecond))
		if !strings.HasPrefix(call, "v1=") || !strings.Contains(call, "over@example.com") {
			t.Errorf("the hook is told %s", call)
		}
	case <-t.Context().Done():
		t.Fatal("the hook is not called")
	}

	// More of the same is no second crossing; the other one crosses now.
	send(125, 150, "over@example.com")
	send(19, 21, "under@example.com")
	until(t, "the rule has locked the other", func() bool { return fired("locked") == 2 }, p.text)
	if n := fired("failed"); n != 0 {
		t.Errorf("%v failed", n)
	}
	if text, _ := a.ask("GET", "/locks", ""); strings.Count(text, `"by":"rule:spammers"`) != 2 {
		t.Errorf("locks: %s", text)
	}
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
