package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/query/access"
	"millrace/query/lock"
	"millrace/query/state"
)

func TestIdentities(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.user("example.com", "a", state.BySender, true)
	f.user("example.net", "*", state.ByAuthUser, false)
	for _, m := range []mail{
		{n: 3, user: "a", sender: "Bob@example.com", identity: "web1"},
		{n: 2, user: "a@example.com", sender: "bob@example.com", class: "not-spam", status: "delivered"},
		{n: 1, user: "a", sender: "bob@example.com", status: "quarantined", ago: time.Hour},
		{n: 4, user: "b", sender: "x@example.com", identity: "Web2@example.com", class: "deferred", status: "temporarily-rejected"},
		{n: 1, user: "b", sender: "x@example.com"}, // no identity
		{n: 2, domain: "example.net", user: "al", sender: "y@example.net", class: "not-spam", status: "delivered"},
		{n: 9, sender: "stranger@far.example"},                           // incoming
		{n: 9, user: "a", sender: "old@example.com", ago: 9 * time.Hour}, // before
	} {
		f.mail(m)
	}
	_, err := lock.Lock(t.Context(), f.store, byHand, []lock.Target{{Domain: "example.com", User: "a", Identity: "bob@example.com"}, {Domain: "example.com", User: "a", Identity: "unseen@example.com"}, {Domain: "example.net"}}, lock.Options{Reason: "spam run"})
	must(t, err)
	ask := func(q IdentityQuery) string {
		t.Helper()
		q.Since, q.Until = f.clock.now().Add(-2*time.Hour), f.clock.now().Add(time.Minute)
		list, err := FindIdentities(t.Context(), f.reader, f.store.Snapshot(), q, f.clock.now())
		must(t, err)
		var all []string
		for _, i := range list {
			seen := ""
			if !i.LastSeen.IsZero() {
				seen = i.LastSeen.Format(time.TimeOnly)
			}
			all = append(all, fmt.Sprintf("%s/%s/%s %d %d %d %d %d %s %v %s", i.Domain, i.User, i.Identity, i.Accepted, i.Rejected, i.TemporarilyRejected, i.Quarantined, i.Other, seen, i.Locked, i.Lock.Last.Reason))
		}
		return strings.Join(all, "\n")
	}
	const bob = "example.com/a/bob@example.com 2 3 0 1 0 12:00:00 true spam run"
	const web2 = "example.com/b/web2@example.com 0 0 4 0 0 12:00:00 false "
	const unseen = "example.com/a/unseen@example.com 0 0 0 0 0  true spam run"
	const al = "example.net/al/al 2 0 0 0 0 12:00:00 true spam run"
	for _, x := range []struct {
		q    IdentityQuery
		want []string
	}{
		{IdentityQuery{}, []string{bob, web2, unseen, al}},
		{IdentityQuery{Limit: 1}, []string{bob}},
		{IdentityQuery{Domain: "EXAMPLE.net"}, []string{al}},
	} {
		if got := ask(x.q); got != strings.Join(x.want, "\n") {
			t.Errorf("%+v:\n%s\nwant\n%s", x.q, got, strings.Join(x.want, "\n"))
		}
	}
	scope, err := access.Scope{Role: access.DomainUser, Domains: []string{"example.net"}}.Narrow(f.database)
	must(t, err)
	if got := ask(IdentityQuery{Scope: scope}); got != al {
		t.Errorf("another domain's: %s", got)
	}
}
