package lock_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/query/lock"
	"millrace/query/state"
	"millrace/query/state/statetest"
)

var by = state.By{Actor: "cli:root", How: state.CLI}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func identify(t *testing.T, s *state.Store, domain, user, method string) {
	t.Helper()
	must(t, lock.SetOutgoingUser(t.Context(), s, by, domain, user, "", func(u *state.OutgoingUser) error {
		u.Identification = method
		return nil
	}))
}

func target(t *testing.T, text string) lock.Target {
	t.Helper()
	parsed, err := lock.ParseIdentity(text)
	must(t, err)
	return parsed
}

func held(s *state.Store, f lock.Filter) []string {
	var list []string
	for _, l := range lock.List(s.Snapshot(), f, time.Now()) {
		list = append(list, lock.Target{Domain: l.Domain, User: l.User, Identity: l.Identity}.String())
	}
	return list
}

func TestLock(t *testing.T) {
	t.Parallel()
	s := statetest.Open(t)
	bob := target(t, "Example.COM/192.0.2.1/Bob@Example.com")

	// Nothing tells identities apart yet.
	_, err := lock.Lock(t.Context(), s, by, []lock.Target{bob}, lock.Options{})
	var missing *lock.NoIdentificationError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "millrace outgoing-user set example.com/192.0.2.1 --identification") {
		t.Fatalf("%v", err)
	}
	if len(held(s, lock.Filter{})) != 0 {
		t.Error("it is locked all the same")
	}
	identify(t, s, "example.com", "192.0.2.1", state.ByHeader)
	r, err := lock.Lock(t.Context(), s, by, []lock.Target{bob, bob}, lock.Options{Reason: "spam run"})
	if err != nil || r.Done != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	r, err = lock.Lock(t.Context(), s, by, []lock.Target{bob}, lock.Options{Reason: "spam run"})
	if err != nil || r.Done != 0 || !slices.Equal(r.Unchanged, []string{"example.com/192.0.2.1/bob@example.com"}) {
		t.Errorf("again: %+v %v", r, err)
	}
	l, ok := lock.Of(s.Snapshot(), "EXAMPLE.com", "192.0.2.1", "BOB@example.com", time.Now())
	if !ok || l.Last.Reason != "spam run" || l.Last.Actor != "cli:root" {
		t.Errorf("%v %+v", ok, l)
	}
	must(t, lock.SetCode(t.Context(), s, by, bob, "blackhole"))
	if err := lock.SetCode(t.Context(), s, by, bob, "250"); err == nil {
		t.Error("a code that accepts is accepted")
	}
	if l, _ := lock.Of(s.Snapshot(), "example.com", "192.0.2.1", "bob@example.com", time.Now()); l.Code != "blackhole" || l.Last.Reason != "spam run" {
		t.Errorf("%+v", l)
	}
	r, err = lock.Unlock(t.Context(), s, by, []lock.Target{bob}, "cleaned")
	if err != nil || r.Done != 1 || len(held(s, lock.Filter{})) != 0 || len(held(s, lock.Filter{All: true})) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	r, err = lock.Unlock(t.Context(), s, by, []lock.Target{bob}, "cleaned")
	if err != nil || r.Done != 0 || len(r.Unchanged) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if err := lock.SetCode(t.Context(), s, by, bob, "550"); err == nil {
		t.Error("the code of a lock that does not hold was set")
	}
}

func TestLock_Whose(t *testing.T) {
	t.Parallel()
	s := statetest.Open(t)
	identify(t, s, "example.com", "", state.BySender)
	ctx := t.Context()
	f := func(domain, user, identity, want string) {
		t.Helper()
		got := ""
		if l, ok := lock.Of(s.Snapshot(), domain, user, identity, time.Now()); ok {
			got = lock.Target{Domain: l.Domain, User: l.User, Identity: l.Identity}.String()
		}
		if got != want {
			t.Errorf("%s %s %s: %q, want %q", domain, user, identity, got, want)
		}
	}
	past := time.Now().Add(-time.Hour)
	for _, x := range []struct {
		t lock.Target
		o lock.Options
	}{
		{lock.Target{Domain: "example.com", User: "a", Identity: "one"}, lock.Options{}},
		{lock.Target{Domain: "example.com", Identity: "everywhere"}, lock.Options{}},
		{lock.Target{Domain: "example.com", User: "b"}, lock.Options{}},
		{lock.Target{Domain: "example.com", User: "a", Identity: "over"}, lock.Options{Until: past}},
	} {
		_, err := lock.Lock(ctx, s, by, []lock.Target{x.t}, x.o)
		must(t, err)
	}
	f("example.com", "a", "one", "example.com/a/one")
	f("example.com", "c", "one", "")
	f("example.com", "c", "everywhere", "example.com/*/everywhere")
	f("example.com", "b", "anyone", "example.com/b")
	f("example.com", "b", "", "example.com/b")
	f("example.com", "a", "over", "")
	f("example.org", "a", "one", "")
	f("", "a", "one", "")
	if got := held(s, lock.Filter{Domain: "EXAMPLE.com", User: "a"}); !slices.Equal(got, []string{"example.com/a/one"}) {
		t.Errorf("%q", got)
	}
}

// All of the domain's users: that of one is enough, since each has identities of its own.
func TestLock_IdentificationOfOne(t *testing.T) {
	t.Parallel()
	s := statetest.Open(t)
	identify(t, s, "example.com", "a", state.ByAuthUser)
	_, err := lock.Lock(t.Context(), s, by, []lock.Target{{Domain: "example.com", User: "*", Identity: "x"}}, lock.Options{})
	must(t, err)
	_, err = lock.Lock(t.Context(), s, by, []lock.Target{{Domain: "example.com", User: "a", Identity: "y"}, {Domain: "example.com", User: "b", Identity: "x"}}, lock.Options{})
	if err == nil {
		t.Error("b has no identification method")
	}
	if got := held(s, lock.Filter{}); !slices.Equal(got, []string{"example.com/*/x"}) {
		t.Errorf("%q: all or none", got)
	}
	identify(t, s, "example.com", "a", "")
	if _, err = lock.Lock(t.Context(), s, by, []lock.Target{{Domain: "example.com", User: "*", Identity: "z"}}, lock.Options{}); err == nil {
		t.Error("none has one any more")
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	s := statetest.Open(t)
	bob, err := lock.ParseSender("example.com/*/<Bob@Example.com>")
	must(t, err)
	r, err := lock.Block(t.Context(), s, by, []lock.Sender{bob, bob}, "2000 messages", "")
	if err != nil || r.Done != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if b, ok := lock.BlockOf(s.Snapshot(), "example.com", "192.0.2.1", "bob@example.com"); !ok || b.Last.Reason != "2000 messages" {
		t.Errorf("%v %+v", ok, b)
	}
	if _, ok := lock.BlockOf(s.Snapshot(), "example.com", "", "bea@example.com"); ok {
		t.Error("another one is blocked")
	}
	r, err = lock.SetBlocked(t.Context(), s, by, "example.com", "", []string{"a@example.com", "b@example.com"}, "list")
	if err != nil || r.Done != 3 {
		t.Errorf("%+v %v", r, err)
	}
	var got []string
	for _, b := range lock.Blocked(s.Snapshot(), lock.Filter{Domain: "example.com"}) {
		got = append(got, b.Sender)
	}
	if !slices.Equal(got, []string{"a@example.com", "b@example.com"}) {
		t.Errorf("%q", got)
	}
	r, err = lock.Unblock(t.Context(), s, by, []lock.Sender{{Domain: "example.com", Sender: "a@example.com"}, bob}, "")
	if err != nil || r.Done != 1 || !slices.Equal(r.Unchanged, []string{"example.com/*/bob@example.com"}) {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := lock.Block(t.Context(), s, by, []lock.Sender{{Domain: "example.com", Sender: "nobody"}}, "", ""); err == nil {
		t.Error("no address is blocked")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	f := func(got fmt.Stringer, err error, want string) {
		t.Helper()
		if err != nil && want != "" || err == nil && got.String() != want {
			t.Errorf("%v %v, want %q", got, err, want)
		}
	}
	identity := func(s, want string) { t.Helper(); got, err := lock.ParseIdentity(s); f(got, err, want) }
	identity("Example.com/A/cn=Bob/ou=x", "example.com/A/cn=Bob/ou=x")
	identity("example.com//bob", "example.com/*/bob")
	identity("example.com/*/bob", "example.com/*/bob")
	identity("example.com/bob", "")
	identity("example.com/*/", "")
	identity("/x/bob", "")
	user := func(s, want string) { t.Helper(); got, err := lock.ParseUser(s); f(got, err, want) }
	user("example.com/192.0.2.1", "example.com/192.0.2.1")
	user("example.com/", "example.com/*")
	user("example.com", "")
	for in, want := range map[string]string{"sender": "sender", "auth-user": "auth-user", "header:X-User": "header X-User", "none": "", "header:": "!", "header": "!", "ip": "!"} {
		method, header, err := lock.ParseIdentification(in)
		if got := strings.TrimSpace(method + " " + header); err == nil && got != want || err != nil && want != "!" {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

func TestOutgoingUser_TwoAtOnce(t *testing.T) {
	t.Parallel()
	s := statetest.Open(t)
	err := lock.SetOutgoingUser(t.Context(), s, by, "example.com", "a", "", func(u *state.OutgoingUser) error {
		identify(t, s, "example.com", "a", state.BySender) // somebody is faster
		u.LockAutomatically = true
		return nil
	})
	if !errors.Is(err, state.ErrConflict) {
		t.Errorf("%v", err)
	}
	if u, _ := lock.Settings(s.Snapshot(), "example.com", "a"); u.Identification != state.BySender || u.LockAutomatically {
		t.Errorf("%+v", u)
	}
}
