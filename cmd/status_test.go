package cmd

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"millrace/internal/status"
)

func TestStatusCommand(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	s := httptest.NewServer(status.Handler(func() status.Status {
		return status.Status{Daemon: "ingest", Version: "v1.2.3", Now: now, Started: now.Add(-time.Minute), Ready: true,
			Listeners: []status.Listener{{Name: "filter", Received: 1, Published: 1, Closes: true}}}
	}))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	execute(t, "", "status", "--http", address).contains(t, 0, "millrace ingest v1.2.3, running for 1 min 0 s: ready\n", "adds up")
	r := execute(t, "", "status", "--http", address, "--json")
	if r.code != 0 || !strings.HasPrefix(r.out, `{"daemon":"ingest","version":"v1.2.3"`) || strings.Count(r.out, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	// Of the two that the configuration names, one is there.
	cfg := file(t, "m.yaml", "http: {ingest: '"+address+"', transform: '127.0.0.1:1'}\n")
	execute(t, "", "status", "--config", cfg).contains(t, 0, "millrace ingest v1.2.3")

	execute(t, "", "status", "--http", "127.0.0.1:1").want(t, 1, "", "millrace: cannot ask 127.0.0.1:1 for its status: connection refused; "+
		"millrace up, ingest or transform serves it there, another place is --http HOST:PORT\n")
	execute(t, "", "status", "--config", file(t, "m.yaml", "http: {ingest: off, transform: off}\n")).contains(t, 1, "http.ingest and http.transform are off")
	execute(t, "", "status", "--http", "nonsense").contains(t, 2, `--http "nonsense": allowed HOST:PORT`)
	execute(t, "", "status", "--peers", "-1").contains(t, 2, "--peers -1: it is negative")
}
