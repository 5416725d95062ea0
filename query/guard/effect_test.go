package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/config"
	"millrace/query/lock"
	"millrace/query/state"
)

// acting runs a guard until stop is called.
func (f *fixture) acting(g *Guard) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	term := f.term()
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.act(ctx, term)
	}()
	return func() { cancel(); <-done }
}

// await waits until an effect has run for all but what was not for it, of n changes in all.
func (f *fixture) await(name string, records ...string) state.EffectState {
	f.t.Helper()
	ctx := within(f.t)
	for seen := state.Version(-1); ; {
		if e, ok := f.store.Snapshot().Effect(name); ok && (len(records) == 0 || slices.Contains(records, e.Record)) {
			return e
		}
		s, err := f.store.Wait(ctx, seen)
		must(f.t, err)
		seen = s.Version()
	}
}

func (f *fixture) lockByHand(user, reason string) {
	f.t.Helper()
	_, err := lock.Lock(f.t.Context(), f.store, byHand, []lock.Target{{Domain: "example.com", User: user}}, lock.Options{Reason: reason})
	must(f.t, err)
}

func (f *fixture) unlockByHand(user string) {
	f.t.Helper()
	_, err := lock.Unlock(f.t.Context(), f.store, byHand, []lock.Target{{Domain: "example.com", User: user}}, "clean")
	must(f.t, err)
}

// hook is a server that takes webhooks, and refuses so many at first.
type hook struct {
	mutex  sync.Mutex
	refuse int
	got    []Event
	keys   []string
	bad    []string
	came   chan Event // of those that were taken
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	body, _ := io.ReadAll(r.Body)
	var ev Event
	if err := json.Unmarshal(body, &ev); err != nil {
		h.bad = append(h.bad, err.Error())
	}
	if want := Sign([]byte("k3y"), r.Header.Get(HeaderTimestamp), body); r.Header.Get(HeaderSignature) != want || r.Method != http.MethodPost ||
		r.Header.Get(HeaderKey) != ev.ID || r.Header.Get(HeaderEvent) != ev.Action || r.Header.Get("Content-Type") != "application/json" {
		h.bad = append(h.bad, fmt.Sprint(r.Method, r.Header))
	}
	h.keys = append(h.keys, ev.ID)
	if h.refuse > 0 {
		h.refuse--
		http.Error(w, "not now", http.StatusInternalServerError)
		return
	}
	h.got = append(h.got, ev)
	h.came <- ev
}

func newHook(t *testing.T, refuse int) (*hook, config.Effect) {
	t.Helper()
	h := &hook{refuse: refuse, came: make(chan Event, 100)}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, config.Effect{Name: "hook", Kind: config.EffectWebhook, Manual: true, URL: s.URL + "/x", Secret: config.NewSecret("k3y"), Timeout: 10 * time.Second, Attempts: 8}
}

func TestSign(t *testing.T) {
	t.Parallel()
	// openssl: printf '1700000000.{}' | openssl dgst -sha256 -hmac k3y
	if got, want := Sign([]byte("k3y"), "1700000000", []byte("{}")), "v1=e2974d0d973957aed8182a7f1ef5690a188566c2c4620fc16bd97d7febcf5ef3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What was there before the effect is not told; what comes is, in order, after failures with
// the same key, and once over a new term.
func TestEffect_Webhook(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	h, conf := newHook(t, 2)
	f.lockByHand("before", "old")
	o := Options{Effects: []config.Effect{conf}, Pause: time.Millisecond}
	stop := f.acting(f.guard(o))
	f.await("hook")
	f.lockByHand("a", "hacked")
	first := <-h.came
	f.unlockByHand("a")
	second := <-h.came
	f.await("hook", second.ID)
	stop()
	f.lockByHand("b", "while nobody acts")
	stop = f.acting(f.guard(o))
	third := <-h.came
	f.await("hook", third.ID)
	stop()

	h.mutex.Lock()
	defer h.mutex.Unlock()
	if len(h.bad) > 0 {
		t.Errorf("%q", h.bad)
	}
	if len(h.keys) != 5 || h.keys[0] != first.ID || h.keys[1] != first.ID || h.keys[2] != first.ID || len(h.got) != 3 {
		t.Errorf("%q", h.keys)
	}
	if first.Action != "lock" || first.Object != "user" || first.Domain != "example.com" || first.User != "a" || !first.Locked || first.Reason != "hacked" || first.Actor != "cli:root" || first.How != state.CLI ||
		second.Action != "unlock" || second.Locked || third.User != "b" {
		t.Errorf("%+v\n%+v\n%+v", first, second, third)
	}
}

// One that never succeeds is given up, counted and visible; the next change has its turn.
func TestEffect_GivenUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	h, conf := newHook(t, 3)
	conf.Attempts = 3
	g := f.guard(Options{Effects: []config.Effect{conf}, Pause: time.Millisecond})
	stop := f.acting(g)
	defer stop()
	f.await("hook")
	f.lockByHand("a", "")
	f.lockByHand("b", "")
	ev := <-h.came
	e := f.await("hook", ev.ID)
	if ev.User != "b" || e.GivenUp != 1 || e.Error != "" {
		t.Errorf("%+v %+v", ev, e)
	}
	registry := prometheus.NewRegistry()
	must(t, registry.Register(g))
	families, err := registry.Gather()
	must(t, err)
	found := ""
	for _, m := range families {
		if m.GetName() == "millrace_effect_runs_total" {
			for _, x := range m.GetMetric() {
				for _, l := range x.GetLabel() {
					if l.GetName() == "result" {
						found += fmt.Sprint(l.GetValue(), " ", x.GetCounter().GetValue(), ", ")
					}
				}
			}
		}
	}
	if !strings.Contains(found, "failed 2, given_up 1, ") {
		t.Error(found)
	}
}

// Rules run the effects that they name; people those that are for them.
func TestEffect_Who(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mail(mail{n: 5, user: "a"})
	f.mail(mail{n: 5, user: "b", sender: "b@example.com"})
	h, named := newHook(t, 0)
	named.Manual = false
	all, byPeople := newHook(t, 0)
	byPeople.Name = "people"
	g := f.guard(Options{Rules: rules(t, burst+", per: auth-user}\n  - {name: told, per: sender, count: 5}\n"), Effects: []config.Effect{named, byPeople}, Interval: 10 * time.Millisecond})
	g.o.Rules[1].Effects = []string{"hook"}
	stop := f.acting(g)
	ev := <-h.came
	if ev.Object != "sender" || ev.Sender != "b@example.com" || ev.Action != "block" || ev.Rule != "told" || ev.How != state.Rule {
		t.Errorf("%+v", ev)
	}
	f.lockByHand("c", "")
	if ev := <-all.came; ev.User != "c" {
		t.Errorf("%+v", ev)
	}
	f.await("hook", ev.ID)
	stop()
	if len(h.keys) != 1 || len(all.keys) != 1 {
		t.Errorf("%q %q", h.keys, all.keys)
	}
}

func TestEffect_Command(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	script := filepath.Join(dir, "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nprintf '%s|%s|' \"$1\" \"$MILLRACE_ACTION\" > \"$2\"\ncat >> \"$2\"\n"), 0o700))
	run := newCommand(&config.Effect{Name: "c", Command: []string{script, "$(id); *", out}})
	ev := Event{ID: "x", Action: "lock", Identity: "a'; rm -rf /\n$(id)"}
	must(t, run(t.Context(), ev))
	text, err := os.ReadFile(out)
	must(t, err)
	rest, ok := strings.CutPrefix(string(text), "$(id); *|lock|")
	var got Event
	if err := json.Unmarshal([]byte(rest), &got); !ok || err != nil || got.Identity != ev.Identity {
		t.Errorf("%q %v", text, err)
	}

	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho it is broken >&2\nexit 3\n"), 0o700))
	if err := run(t.Context(), ev); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), `"it is broken"`) {
		t.Error(err)
	}
	// Its time ends, and what it has started with it.
	fifo := filepath.Join(dir, "started")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nsleep 1000 &\necho $! > "+fifo+"\nwait\n"), 0o700))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, ev) }()
	for {
		if text, err := os.ReadFile(fifo); err == nil && strings.HasSuffix(string(text), "\n") {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := newCommand(&config.Effect{Command: []string{filepath.Join(dir, "none")}})(t.Context(), ev); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

type outbox struct{ sent []string }

func (o *outbox) Send(_ context.Context, to, subject, body string) error {
	o.sent = append(o.sent, to+"|"+subject+"|"+body)
	return nil
}

func TestEffect_Mail(t *testing.T) {
	t.Parallel()
	var o outbox
	conf := &config.Effect{Name: "m", To: []string{"ops@example.com", "abuse@example.com"}}
	ev := Event{ID: "x", Action: "lock", Object: "identity", Domain: "example.com", User: "a", Identity: "bob\r\nBcc: all@example.com", Reason: "spam\nrun", Actor: "rule:r", At: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	must(t, newMail(conf, &o)(t.Context(), ev))
	want := "ops@example.com|Millrace: locked identity bob  Bcc: all@example.com of example.com/a|Action:   lock\nDomain:   example.com\nUser:     a\n" +
		"Identity: bob Bcc: all@example.com\nReason:   spam run\nBy:       rule:r\nAt:       2026-11-27T12:00:00Z\nId:       x\n"
	if len(o.sent) != 2 || o.sent[0] != want {
		t.Errorf("%q", o.sent)
	}
	if err := newMail(conf, nil)(t.Context(), ev); err == nil || !strings.Contains(err.Error(), "no mail server") {
		t.Error(err)
	}
}
