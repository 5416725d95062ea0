package guard

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/query/lock"
	"millrace/query/state"
	"millrace/query/state/statetest"
)

var update = flag.Bool("update", false, "write the golden files")

func TestLists(t *testing.T) {
	t.Parallel()
	s := statetest.Open(t)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	must(t, lock.SetOutgoingUser(t.Context(), s, byHand, "example.com", "*", "", func(u *state.OutgoingUser) error {
		u.Identification, u.ResponseCode = state.BySender, "451"
		return nil
	}))
	must(t, lock.SetOutgoingUser(t.Context(), s, byHand, "example.net", "*", "", func(u *state.OutgoingUser) error {
		u.Identification = state.BySender
		return nil
	}))
	do := func(o lock.Options, targets ...lock.Target) {
		t.Helper()
		_, err := lock.Lock(t.Context(), s, byHand, targets, o)
		must(t, err)
	}
	id := func(domain, user, identity string) lock.Target {
		return lock.Target{Domain: domain, User: user, Identity: identity}
	}
	do(lock.Options{Reason: `spam "run"`}, id("example.net", "a", "Bob@Example.net"), id("example.net", "b", "bob@example.net"), id("example.net", "a", `a b: "c" \d`),
		id("example.net", "a", "two\nlines"), id("example.net", "a", "#hash"), id("example.net", "a", "2001:db8::1"), id("example.com", "a", "al@bücher.example"))
	do(lock.Options{Reason: "quiet", Code: "blackhole"}, id("example.net", "a", "hole@example.net"))
	do(lock.Options{Reason: "for a while", Until: now.Add(time.Hour)}, id("example.net", "a", "until@example.net"))
	do(lock.Options{Reason: "hacked"}, lock.Target{Domain: "example.com", User: "192.0.2.1"}, lock.Target{Domain: "example.com", User: "joe"},
		lock.Target{Domain: "example.com", User: "jim@example.org"}, lock.Target{Domain: "gone.example"})
	_, err := lock.Block(t.Context(), s, byHand, []lock.Sender{{Domain: "example.com", Sender: "Bulk@Example.com"}, {Domain: "example.com", User: "a", Sender: "o'neil@example.com"}}, "2000 messages", "")
	must(t, err)

	snap := s.Snapshot()
	for _, l := range AllLists {
		entries := ListsOf(snap, l, lock.Filter{}, now)
		for i := range entries {
			entries[i].Since = now // when the test ran
		}
		for _, f := range AllFormats {
			path := filepath.Join("testdata", string(l)+"."+string(f))
			got := Render(f, l, entries)
			if *update {
				must(t, os.WriteFile(path, got, 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s:\ngot\n%s\nwant\n%s", path, got, want)
			}
		}
	}

	// The tag changes with what is listed, and with nothing else.
	tag := ETag(snap, now)
	must(t, s.Append(t.Context(), byHand, state.Change{Key: state.UserKey("joe"), Action: "set", Value: state.User{Role: "admin"}}))
	if again := ETag(s.Snapshot(), now.Add(time.Minute)); again != tag {
		t.Errorf("%s, and %s when nothing has changed", tag, again)
	}
	seen := map[string]bool{tag: true}
	changed := func(what string, now time.Time) {
		t.Helper()
		if tag := ETag(s.Snapshot(), now); seen[tag] {
			t.Errorf("%s: %s is a tag of before", what, tag)
		} else {
			seen[tag] = true
		}
	}
	changed("a lock is over", now.Add(time.Hour))
	_, err = lock.Unlock(t.Context(), s, byHand, []lock.Target{id("example.net", "a", "until@example.net")}, "")
	must(t, err)
	changed("unlocked", now)
	_, err = lock.Unblock(t.Context(), s, byHand, []lock.Sender{{Domain: "example.com", Sender: "bulk@example.com"}}, "")
	must(t, err)
	changed("unblocked", now)
	if got := ListsOf(s.Snapshot(), Senders, lock.Filter{}, now); len(got) != 1 || got[0].Key != "o'neil@example.com" {
		t.Errorf("%+v", got)
	}
	if got := ListsOf(s.Snapshot(), Identities, lock.Filter{Domain: "EXAMPLE.com"}, now); len(got) != 1 || got[0].Code != "451" {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"", "locks", "../users"} {
		if _, err := ParseList(name); err == nil {
			t.Errorf("%q is a list", name)
		}
		if _, err := ParseFormat(name); err == nil {
			t.Errorf("%q is a format", name)
		}
	}
}
