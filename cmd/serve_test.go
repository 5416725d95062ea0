package cmd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
)

// served is a `millrace serve` that runs within the test.
type served struct {
	t        *testing.T
	url      string
	password string // of the first user, which the first of a state makes
	stop     func()
}

func serve(t *testing.T, config, dir string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		code := run(ctx, New(), []string{"serve", "--config", config}, strings.NewReader(""), w, t.Output())
		w.Close()
		done <- code
	}()
	stopped := false
	s := &served{t: t}
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("serve ends with %d", code)
		}
	}
	t.Cleanup(s.stop)
	lines := bufio.NewScanner(r)
	for s.url == "" && lines.Scan() {
		if pairs, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			api, _, _ := strings.Cut(pairs, " ")
			s.url = "https://" + strings.TrimPrefix(api, "api=")
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // whatever it says yet
	if s.url == "" {
		t.Fatal("serve has ended before it was ready")
	}
	s.password = firstPassword(t, dir)
	return s
}

const firstUser = "admin"

func firstPassword(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// ask is an answer to the first user.
func (s *served) ask(method, path, body string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(firstUser, s.password)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // of its own making
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		s.t.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	return string(answer)
}

// Two instances over the two shards of a cluster, each of which asks another server: a rule
// counts the rows of both shards, both instances answer with what either decides, and the
// audit trail is whole and once there, also when the other instance goes on with it.
func TestServe_Cluster(t *testing.T) {
	t.Parallel()
	w := newClusterWorld(t, "millrace_cmd_serve")
	w.apply()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	dir := t.TempDir()
	for i, path := range w.nodes {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[i] = file(t, fmt.Sprintf("serve%d.yaml", i), string(text)+fmt.Sprintf(
			"kafka: {brokers: ['%s'], replication: 1}\napi: {address: '127.0.0.1:0', dir: '%s'}\nhttp: {serve: off}\nrules: [{name: burst, count: 6}]\n", broker.Addr, dir))
	}
	instances := []*served{serve(t, w.nodes[0], dir), serve(t, w.nodes[1], dir)}
	instances[1].ask("PUT", "/outgoing-users", `{"domain":"a.example","user":"web","identification":"sender","lock_automatically":true}`)
	for i, s := range w.servers { // neither shard has enough of them
		err := embeddedtest.ConnectTo(t, s, w.database).Exec(t.Context(), fmt.Sprintf(`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, auth_user, status_norm, class_norm, direction, k_part, k_off)
			SELECT now64(3) - number, now() - number, now64(3), concat('%[1]d-', toString(number)), 'a.example', 'bob@a.example', 'r@far.example', 'web', 'rejected', 'spam', 'outgoing', %[1]d, number FROM numbers(4)`, i))
		if err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); {
			if time.Now().After(deadline) {
				t.Fatal("not in time: ", what)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	const rule = "rule burst"
	for _, s := range instances {
		await("the rule's lock", func() bool { return strings.Contains(s.ask("GET", "/locks", ""), rule) })
		question := "/search?" + url.Values{"q": {"sender is bob@a.example"}, "columns": {"id,sender,locked"}, "since": {"-1h"}}.Encode()
		await("the lock beside the messages", func() bool { return strings.Count(s.ask("GET", question, ""), rule) == 8 })
	}
	instances[1].ask("POST", "/locks", `{"targets":[{"domain":"a.example","user":"web","identity":"bea@a.example"}],"reason":"by hand"}`)

	// The trail is at one server, and then, when the other instance acts, at the other too.
	copied := func(n int) {
		t.Helper()
		for _, path := range w.nodes {
			await("the trail", func() bool {
				r := execute(t, "", "query", "--config", path, "--format", "tsv", "SELECT count() FROM locks WHERE locked")
				return r.code == 0 && r.out == fmt.Sprintf("%d\n", n)
			})
			execute(t, "", "query", "--config", path, "--format", "tsv", "SELECT count() = uniqExact(offset) FROM "+w.database+"_all.state_changes").want(t, 0, "1\n", "")
			r := execute(t, "", "locks", "--history", "--config", path, "--format", "csv")
			r.contains(t, 0, "bob@a.example,rule:burst", "bea@a.example,api:admin")
			if strings.Contains(r.errs, "Kafka still has") {
				t.Error(r.errs)
			}
		}
	}
	copied(2)
	rows := func(s *embedded.ClickHouse) (n uint64) {
		t.Helper()
		if err := embeddedtest.ConnectTo(t, s, w.database).QueryRow(t.Context(), "SELECT count() FROM state_changes").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	acts, other := 0, 1
	if rows(w.servers[acts]) == 0 {
		acts, other = other, acts
	}
	instances[acts].stop()
	instances[other].ask("POST", "/locks", `{"targets":[{"domain":"a.example","user":"web","identity":"joe@a.example"}],"reason":"by hand"}`)
	copied(3)
	if rows(w.servers[other]) == 0 {
		t.Error("the trail of the instance that went on is not at its server")
	}
	if history := instances[other].ask("GET", "/history?kind=lock", ""); strings.Count(history, `"action":"lock"`) != 3 {
		t.Error(history)
	}
}
