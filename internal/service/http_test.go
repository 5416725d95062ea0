package service

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func serve(t *testing.T, o ServerOptions) (*Server, func(path string) (int, string)) {
	t.Helper()
	if o.Conditions == nil {
		o.Conditions = NewConditions(nil)
	}
	if o.Registry == nil {
		o.Registry = NewRegistry("v1.2.3", "abc", o.Conditions)
	}
	o.Address = "127.0.0.1:0"
	s, err := Serve(o)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, func(path string) (int, string) {
		t.Helper()
		r, err := client.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
}

func TestServerReadiness(t *testing.T) {
	t.Parallel()
	c := NewConditions(nil, "kafka", "clickhouse")
	_, get := serve(t, ServerOptions{Conditions: c})
	want := func(code int, text string) {
		t.Helper()
		if gotCode, got := get("/readyz"); gotCode != code || got != text {
			t.Errorf("/readyz = %d %q, want %d %q", gotCode, got, code, text)
		}
		gauge := "millrace_ready 0\n"
		if code == 200 {
			gauge = "millrace_ready 1\n"
		}
		if _, got := get("/metrics"); !strings.Contains(got, gauge) {
			t.Errorf("/metrics lacks %q", gauge)
		}
		if code, got := get("/healthz"); code != 200 || got != "ok\n" {
			t.Errorf("/healthz = %d %q", code, got)
		}
	}
	want(503, "not ready\nkafka: starting\nclickhouse: starting\n")
	c.Set("kafka", nil)
	want(503, "not ready\nclickhouse: starting\n")
	c.Set("clickhouse", nil)
	want(200, "ready\n")
	c.Set("kafka", errors.New("cannot reach any broker"))
	want(503, "not ready\nkafka: cannot reach any broker\n")
	c.Set("kafka", nil)
	want(200, "ready\n")
	var disk error
	c.Probe("disk", func() error { return disk })
	want(200, "ready\n")
	disk = errors.New("4% free")
	want(503, "not ready\ndisk: 4% free\n")
	disk = nil
	want(200, "ready\n")
	c.Drain("handing over what has been read")
	want(503, "not ready\ndraining: handing over what has been read\n")
}

func TestServerPages(t *testing.T) {
	t.Parallel()
	_, get := serve(t, ServerOptions{})
	if code, got := get("/metrics"); code != 200 ||
		!strings.Contains(got, `millrace_build_info{commit="abc",go="go`) ||
		!strings.Contains(got, `version="v1.2.3"} 1`) || !strings.Contains(got, "go_goroutines ") {
		t.Errorf("/metrics = %d %s", code, got)
	}
	for path, part := range map[string]string{"/": "/readyz", "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile"} {
		if code, got := get(path); code != 200 || !strings.Contains(got, part) {
			t.Errorf("%s = %d %q", path, code, got)
		}
	}
	if code, _ := get("/nothing"); code != 404 {
		t.Errorf("/nothing = %d", code)
	}
}

func TestServerPprof(t *testing.T) {
	t.Parallel()
	f := func(who, remote, host string, want int) {
		t.Helper()
		s := &Server{mux: http.NewServeMux()}
		s.profiles(who)
		r, err := http.NewRequest("GET", "http://"+host+"/debug/pprof/cmdline", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = remote
		w := &recorder{header: http.Header{}}
		s.mux.ServeHTTP(w, r)
		if w.code != want {
			t.Errorf("pprof=%s, %s asks %s: %d, want %d", who, remote, host, w.code, want)
		}
	}
	f("", "127.0.0.1:9", "localhost:8514", 200)
	f("loopback", "[::1]:9", "[::1]:8514", 200)
	f("loopback", "[::ffff:127.0.0.1]:9", "127.0.0.1", 200)
	f("loopback", "192.0.2.1:9", "127.0.0.1:8514", 403)
	f("loopback", "127.0.0.1:9", "evil.example:8514", 403) // DNS rebinding
	f("any", "192.0.2.1:9", "mail.example:8514", 200)
	f("off", "127.0.0.1:9", "127.0.0.1:8514", 404)
}

// Frames hold mail addresses: a page of them is for whom the key admits.
func TestServerAdd(t *testing.T) {
	t.Parallel()
	f := func(who, remote, host string, wantCode int, want string) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s := &Server{listener: l, mux: http.NewServeMux(), closing: context.Background()}
		s.list("/\n")
		s.Add(Page{Path: "/tap", Who: who, Key: "http.tap", Handler: func(w http.ResponseWriter, _ *http.Request) { plain(w, 200, "frames\n") }})
		if got := *s.index.Load(); got != "/\n/tap\n" {
			t.Errorf("the index is %q", got)
		}
		r, err := http.NewRequest("GET", "http://"+host+"/tap", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = remote
		w := &recorder{header: http.Header{}}
		s.mux.ServeHTTP(w, r)
		if w.code != wantCode || w.text != want {
			t.Errorf("tap=%s, %s asks %s: %d %q, want %d %q", who, remote, host, w.code, w.text, wantCode, want)
		}
	}
	here := "/tap is for this machine only (http.tap: loopback)\n"
	f("", "127.0.0.1:9", "localhost:8514", 200, "frames\n")
	f("loopback", "[::1]:9", "[::1]:8514", 200, "frames\n")
	f("loopback", "192.0.2.1:9", "127.0.0.1:8514", 403, here)
	f("loopback", "127.0.0.1:9", "evil.example:8514", 403, here)
	f("any", "192.0.2.1:9", "mail.example:8514", 200, "frames\n")
	f("off", "127.0.0.1:9", "127.0.0.1:8514", 403, "/tap is off (http.tap)\n")
	(&Server{}).Add(Page{Path: "/tap"}) // nothing listens
}

// An answer without an end does not keep the server from closing.
func TestServerAddEnds(t *testing.T) {
	t.Parallel()
	s, _ := serve(t, ServerOptions{})
	begun := make(chan struct{})
	s.Add(Page{Path: "/endless", Handler: func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}})
	go func() {
		if r, err := http.Get("http://" + s.Addr().String() + "/endless"); err == nil {
			r.Body.Close()
		}
	}()
	<-begun
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

type recorder struct {
	header http.Header
	code   int
	text   string
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(200)
	r.text += string(p)
	return len(p), nil
}

func TestServerAddressTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := NewConditions(nil)
	_, err = Serve(ServerOptions{Address: l.Addr().String(), Flag: "--http", Registry: prometheus.NewRegistry(), Conditions: c})
	if err == nil {
		t.Fatal("no error")
	}
	want := "cannot listen for operations HTTP on tcp " + l.Addr().String() +
		" (--http): address already in use; another process has that port; --http HOST:PORT chooses another"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if ExitCode(err) != 2 {
		t.Errorf("exit code %d", ExitCode(err))
	}
}

func TestServerOff(t *testing.T) {
	t.Parallel()
	s, err := Serve(ServerOptions{Address: "off"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr().String() != "off" {
		t.Errorf("Addr() = %s", s.Addr())
	}
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
