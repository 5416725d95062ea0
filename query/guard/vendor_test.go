package guard

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/config"
	"millrace/internal/source"
	"millrace/internal/source/sourcetest"
	"millrace/query/lock"
	"millrace/query/state"
)

// panel is a fake of the filter's API that knows which identities are locked.
type panel struct {
	*sourcetest.API
	locked chan []string // the one value is what is locked now
	called chan string   // calls that change something
}

func newPanel(t *testing.T) (*panel, *source.Client) {
	t.Helper()
	p := &panel{sourcetest.New(t, sourcetest.Lines), make(chan []string, 1), make(chan string, 100)}
	p.locked <- nil
	p.API.Answer(func(w http.ResponseWriter, call string) bool {
		// The API has recorded the call, and holds its mutex.
		return p.answer(w, call)
	})
	c, err := source.New(source.Options{Address: p.URL, User: sourcetest.User, Password: sourcetest.Password, CAFile: p.CAFile})
	must(t, err)
	t.Cleanup(c.Close)
	return p, c
}

func (p *panel) answer(w http.ResponseWriter, call string) bool {
	arguments := p.Last()
	identity := arguments.Get("identity")
	list := <-p.locked
	defer func() { p.locked <- list }()
	switch call {
	case "api_lock_outgoing_identity":
		list = append(list, identity)
	case "api_unlock_outgoing_identity":
		list = slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == identity })
	case "api_list_locked_identities":
		fmt.Fprintln(w, strings.Join(list, "\n"))
		return true
	case "api_blacklist_outgoing_sender", "api_unblacklist_outgoing_sender":
	default:
		return false
	}
	p.called <- strings.TrimPrefix(call, "api_") + " " + arguments.Get("domain") + "/" + arguments.Get("username") + "/" + identity + arguments.Get("sender")
	return true
}

func (p *panel) set(list ...string) {
	<-p.locked
	p.locked <- list
}

func vendorEffect() config.Effect {
	return config.Effect{Name: "panel", Kind: config.EffectVendor, Manual: true, Timeout: 10 * time.Second, Attempts: 3}
}

// Locks go to the panel and come from it, and none of them goes back.
func TestVendor_BothWays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p, client := newPanel(t)
	f.user("example.com", "a", state.BySender, false)
	g := f.guard(Options{Effects: []config.Effect{vendorEffect()}, Vendor: client, Pause: time.Millisecond})
	stop := f.acting(g)
	f.await("panel")
	bob := []lock.Target{{Domain: "example.com", User: "a", Identity: "bob+x@example.com"}}
	_, err := lock.Lock(t.Context(), f.store, byHand, bob, lock.Options{Reason: "spam"})
	must(t, err)
	f.lockByHand("b", "the API has no call for it")
	_, err = lock.Block(t.Context(), f.store, byHand, []lock.Sender{{Domain: "example.com", User: "a", Sender: "al@example.com"}}, "spam", "")
	must(t, err)
	for _, want := range []string{"lock_outgoing_identity example.com/a/bob+x@example.com", "blacklist_outgoing_sender example.com/a/al@example.com"} {
		if got := <-p.called; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f.settled("panel", state.BlockKey("example.com", "a", "al@example.com"))
	stop()

	term := f.term()
	importLocks := func() { t.Helper(); must(t, g.importLocks(t.Context(), term)) }
	n := f.changes()
	importLocks()
	if m := f.changes(); m != n {
		t.Errorf("%d changes by an import of what is known", m-n)
	}
	// Unlocked here, and the panel has not been told yet: it is not locked again.
	_, err = lock.Unlock(t.Context(), f.store, byHand, bob, "clean")
	must(t, err)
	importLocks()
	f.wants("example.com/b cli:root, block example.com/a/al@example.com cli:root")
	stop = f.acting(g)
	if got := <-p.called; got != "unlock_outgoing_identity example.com/a/bob+x@example.com" {
		t.Error(got)
	}
	f.settled("panel", state.LockKey("example.com", "a", "bob+x@example.com"))
	stop()

	// Locked in the panel.
	p.set("Eve@Example.com")
	stop = f.acting(g)
	imported := f.importing(g, term)
	imported(t, "eve@example.com", true)
	// The effect has passed it over: what is done next is what is told next.
	_, err = lock.Lock(t.Context(), f.store, byHand, bob, lock.Options{Reason: "again"})
	must(t, err)
	if got := <-p.called; got != "lock_outgoing_identity example.com/a/bob+x@example.com" {
		t.Error(got)
	}
	// Unlocked in the panel; what was locked here stays.
	p.set()
	imported(t, "eve@example.com", false)
	stop()
	if l, _ := f.store.Snapshot().Lock("example.com", "a", "eve@example.com"); l.Last.How != state.Import || l.Last.Actor != "import" {
		t.Errorf("%+v", l)
	}
	f.wants("example.com/a/bob+x@example.com cli:root, example.com/b cli:root, block example.com/a/al@example.com cli:root")
}

// settled waits until an effect's run for the last change of a key is noted.
func (f *fixture) settled(name string, key state.Key) {
	f.t.Helper()
	v, _ := f.store.Snapshot().VersionOf(key)
	ctx := within(f.t)
	for seen := state.Version(-1); ; {
		if e, _ := f.store.Snapshot().Effect(name); e.Next > v {
			return
		}
		s, err := f.store.Wait(ctx, seen)
		must(f.t, err)
		seen = s.Version()
	}
}

// importing imports until an identity is as the panel has it: what the effect has to do
// comes first.
func (f *fixture) importing(g *Guard, term *state.Term) func(*testing.T, string, bool) {
	return func(t *testing.T, identity string, locked bool) {
		t.Helper()
		ctx := within(t)
		for {
			must(t, g.importLocks(ctx, term))
			if l, _ := f.store.Snapshot().Lock("example.com", "a", identity); l.Locked == locked {
				return
			}
		}
	}
}

func TestVendor_Refuses(t *testing.T) {
	t.Parallel()
	p, client := newPanel(t)
	p.API.Answer(func(w http.ResponseWriter, call string) bool {
		fmt.Fprintln(w, "ERROR: no such user")
		return true
	})
	run := newVendor(client)
	ev := Event{Object: "identity", Domain: "example.com", User: "a", Identity: "x", Locked: true}
	if err := run(t.Context(), ev); err == nil || !strings.Contains(err.Error(), "no such user") || strings.Contains(err.Error(), url.QueryEscape(sourcetest.Password)) {
		t.Error(err)
	}
	if _, err := client.LockedIdentities(t.Context(), "example.com", "a"); err == nil {
		t.Error("an error is a list")
	}
	if err := newVendor(nil)(t.Context(), ev); err == nil {
		t.Error("no API, no error")
	}
}
