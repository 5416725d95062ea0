package guard

import (
	"context"
	"strings"
	"testing"
	"time"

	"millrace/query/lock"
	"millrace/query/state"
)

const burst = "  - {name: burst, count: 5"

// The identity is what the outgoing user's method says, and only where locks are automatic.
func TestRule_Identity(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.user("example.com", "a", state.BySender, true)
	f.user("example.com", "b", state.ByHeader, true)
	f.user("example.com", "off", state.BySender, false)
	f.user("example.net", "*", state.ByAuthUser, true)
	f.user("example.org", "none", "", true)
	for _, m := range []mail{
		{n: 5, user: "a", sender: "Bob@Example.COM", identity: "web1"},
		{n: 4, user: "a", sender: "four@example.com"},
		{n: 5, user: "a", sender: "clean@example.com", class: "not-spam"},
		{n: 3, user: "b@example.com", sender: "x1@example.com", identity: "web2", class: "phish"},
		{n: 2, user: "b@example.com", sender: "x2@example.com", identity: "web2", class: "virus"},
		{n: 9, user: "off", sender: "off@example.com"},
		{n: 9, user: "unknown", sender: "unknown@example.com"},
		{n: 5, domain: "example.net", user: "Al@example.net", sender: "y@example.net"},
		{n: 9, domain: "example.org", user: "none", sender: "z@example.org", identity: "web3"},
	} {
		f.mail(m)
	}
	g := f.guard(Options{Rules: rules(t, burst+"}")})
	f.round(g)
	const want = "example.com/a/bob@example.com rule:burst, example.com/b/web2 rule:burst, example.net/al/al@example.net rule:burst"
	f.wants(want)
	l, _ := f.store.Snapshot().Lock("example.com", "a", "bob@example.com")
	if l.Rule != "burst" || l.Last.How != state.Rule || l.Last.Reason != "rule burst: 5 within 10m (spam, phish, virus, abuse reports)" {
		t.Errorf("%+v", l)
	}
	before := f.changes()
	f.round(g)
	if n := f.changes(); n != before {
		t.Errorf("%d changes by a second round", n-before)
	}
	// Its own everywhere takes in who is off, and no others.
	f.round(f.guard(Options{Rules: rules(t, "  - {name: wide, count: 5, everywhere: true}")}))
	f.wants(strings.Replace(want, "example.net/al", "example.com/off/off@example.com rule:wide, example.net/al", 1))
}

func TestRule_Others(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mail(mail{n: 5, user: "a", sender: "Bob@example.com", ip: "192.0.2.7"})
	f.mail(mail{n: 4, user: "b", sender: "bob@example.com", ip: "192.0.2.7"})
	f.mail(mail{n: 9, sender: "stranger@far.example", ip: "192.0.2.8"}) // incoming
	f.mail(mail{n: 5, user: "c", sender: "c@example.com", ip: "2001:db8::1", class: "not-spam", status: "quarantined"})
	f.round(f.guard(Options{Rules: rules(t, "  - {name: user, per: auth-user, count: 5}\n  - {name: sender, per: sender, count: 5}\n  - {name: address, per: ip, count: 9}\n"+
		"  - {name: kept, per: ip, count: 5, classes: [quarantined]}\n")}))
	f.wants("example.com/192.0.2.7 rule:address, example.com/2001:db8::1 rule:kept, example.com/a rule:user, block example.com/a/bob@example.com rule:sender")
}

// A message that was inserted twice counts once; one without an id is one of its own.
func TestRule_CountsMessages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mail(mail{n: 4, user: "a"})
	must(t, f.conn.Exec(t.Context(), "INSERT INTO message_events SELECT * FROM message_events"))
	g := f.guard(Options{Rules: rules(t, burst+", per: auth-user}")})
	f.round(g)
	f.wants("")
	must(t, f.conn.Exec(t.Context(), "INSERT INTO message_events SELECT * REPLACE ('' AS id, k_off + 1000 AS k_off) FROM message_events LIMIT 1"))
	f.round(g)
	f.wants("example.com/a rule:burst")
}

// What came late counts by its own time; what is of long ago does not.
func TestRule_LateEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mail(mail{n: 5, user: "late", ago: 50 * time.Minute, late: 49 * time.Minute})
	f.mail(mail{n: 3, user: "apart", ago: 20 * time.Minute})
	f.mail(mail{n: 3, user: "apart"})
	f.mail(mail{n: 3, user: "both", ago: 12 * time.Minute})                              // in time
	f.mail(mail{n: 2, user: "both", ago: 10 * time.Minute, late: 9 * time.Minute})       // within the window of these
	f.mail(mail{n: 50, user: "imported", ago: 9000 * time.Hour, late: 9000 * time.Hour}) // an old log
	g := f.guard(Options{Rules: rules(t, burst+", per: auth-user}")})
	f.round(g)
	f.wants("example.com/both rule:burst, example.com/late rule:burst")
}

func TestRule_Feedback(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.user("example.com", "*", state.ByHeader, true)
	f.mail(mail{n: 1, user: "a", identity: "web1", class: "not-spam", id: "reported", ago: 48 * time.Hour})
	f.mail(mail{n: 1, user: "b", identity: "web2", id: "own"})
	report := func(values string) {
		t.Helper()
		must(t, f.conn.Exec(t.Context(), "INSERT INTO feedback_reports (received_at, event_time, id, feedback_type, incidents, user_agent, auth_user, domain, source_ip) VALUES "+values))
	}
	report("('2026-11-27 11:58:00', '2026-11-25 12:00:00', 'reported', 'abuse', 1, 'AOL', '', 'example.com', '192.0.2.1')")
	report("('2026-11-27 11:58:00', '2026-11-25 12:00:00', 'own', 'abuse', 9, 'SpamExperts 1.0', 'b', 'example.com', '192.0.2.1')") // of a message that counts itself
	report("('2026-11-27 11:58:00', '2026-11-25 12:00:00', 'reported', 'not-spam', 9, 'x', '', 'example.com', '192.0.2.1')")
	report("('2026-11-27 11:58:00', '2020-11-25 12:00:00', 'reported', 'abuse', 9, 'x', '', 'example.com', '192.0.2.1')") // an old one, imported
	g := f.guard(Options{Rules: rules(t, burst+", feedback: 2}\n  - {name: never, count: 1, feedback: 0, classes: [virus], per: auth-user}\n")})
	f.round(g)
	f.wants("")
	report("('2026-11-27 11:59:00', '2026-11-25 12:00:00', 'reported', 'fraud', 2, 'ISP', '', 'example.com', '192.0.2.1')")
	f.round(g)
	f.wants("example.com/a/web1 rule:burst")
	// Reports of messages that are in no log count by what they say.
	report("('2026-11-27 11:59:00', '2026-11-27 11:00:00', 'elsewhere', 'abuse', 5, 'SpamExperts', 'c@example.com', 'example.com', '192.0.2.1')")
	f.round(f.guard(Options{Rules: rules(t, "  - {name: reports, count: 5, per: auth-user, classes: []}\n")}))
	f.wants("example.com/a/web1 rule:burst, example.com/c rule:reports")
}

func TestRule_Never(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.user("example.com", "*", state.ByHeader, true)
	f.user("spared.example", "*", state.ByHeader, true)
	for _, m := range []mail{
		{user: "a", identity: "Boss@Example.com"}, {user: "a", identity: "any@far.example"}, {user: "a", identity: "web7"},
		{user: "192.0.2.9", identity: "web8"}, {user: "a", identity: "web9", ip: "198.51.100.4"}, {user: "a", identity: "web10", domain: "spared.example"},
		{user: "monitor", identity: "web11"}, {user: "a", identity: "guilty"},
	} {
		m.n = 5
		f.mail(m)
	}
	g := f.guard(Options{Rules: rules(t, burst+", never: [boss@example.com, FAR.example, web7, 192.0.2.0/24, 198.51.100.4, spared.example, monitor]}")})
	f.round(g)
	f.wants("example.com/a/guilty rule:burst")
	list, err := g.Decide(t.Context(), &g.o.Rules[0])
	must(t, err)
	var spared int
	for _, d := range list {
		if d.Do == Spares {
			spared++
		}
	}
	if len(list) != 7 || spared != 6 { // of one network nothing is counted
		t.Errorf("%+v", list)
	}
}

// It fires again when the count had fallen below, or when the cooldown is over and more
// has come; who unlocks is not overruled by what was before.
func TestRule_OncePerCrossing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	g := f.guard(Options{Rules: rules(t, burst+", per: auth-user, cooldown: 30m, late: 0s}")})
	unlock := func() {
		t.Helper()
		_, err := lock.Unlock(t.Context(), f.store, byHand, []lock.Target{{Domain: "example.com", User: "a"}}, "clean")
		must(t, err)
	}
	const locked = "example.com/a rule:burst"
	f.mail(mail{n: 5, user: "a"})
	f.round(g)
	f.wants(locked)
	unlock()
	f.round(g)
	f.wants("") // the same crossing
	f.clock.turn(5 * time.Minute)
	f.mail(mail{n: 5, user: "a"})
	f.round(g)
	f.wants("") // still above
	f.clock.turn(11 * time.Minute)
	f.round(g) // below
	f.mail(mail{n: 5, user: "a"})
	f.round(g)
	f.wants(locked) // above again, before the cooldown is over
	unlock()
	for range 5 { // it never falls below, and the cooldown passes
		f.clock.turn(9 * time.Minute)
		f.mail(mail{n: 6, user: "a"})
		if f.clock.now().Sub(f.firedAt("example.com/a")) <= 30*time.Minute {
			f.round(g)
			f.wants("")
		}
	}
	f.round(g)
	f.wants(locked)
	// When nothing happens any more, nothing is left of it.
	f.clock.turn(time.Hour)
	f.round(g)
	f.round(g)
	if all := f.store.Snapshot().AllFired(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

func (f *fixture) firedAt(subject string) time.Time {
	x, _ := f.store.Snapshot().Fired("burst", subject)
	return x.At
}

func TestRule_DryRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mail(mail{n: 5, user: "a"})
	dry := f.guard(Options{Rules: rules(t, burst+", per: auth-user, dry_run: true}")})
	f.round(dry)
	f.round(dry)
	f.wants("")
	if x, ok := f.store.Snapshot().Fired("burst", "example.com/a"); !ok || !x.DryRun || x.Count != 5 || x.Last.Action != "fire" {
		t.Errorf("%+v", x)
	}
	// The same rule in earnest has not fired yet.
	f.round(f.guard(Options{Rules: rules(t, burst+", per: auth-user}")}))
	f.wants("example.com/a rule:burst")
}

// What a person has locked stays that person's, also when it is unlocked.
func TestRule_LockedAlready(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	target := []lock.Target{{Domain: "example.com", User: "a"}}
	_, err := lock.Lock(t.Context(), f.store, byHand, target, lock.Options{Reason: "hacked"})
	must(t, err)
	f.mail(mail{n: 5, user: "a"})
	g := f.guard(Options{Rules: rules(t, burst+", per: auth-user, unlock_after: 1h}")})
	f.round(g)
	f.wants("example.com/a cli:root")
	_, err = lock.Unlock(t.Context(), f.store, byHand, target, "clean")
	must(t, err)
	f.round(g)
	f.wants("")
}

func TestRule_Unlocks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mail(mail{n: 5, user: "a", sender: "a@example.com"})
	g := f.guard(Options{Rules: rules(t, burst+", per: auth-user, unlock_after: 2h, cooldown: 1m}\n  - {name: block, per: sender, count: 5, unlock_after: 2h, cooldown: 1m}\n")})
	_, err := lock.Lock(t.Context(), f.store, byHand, []lock.Target{{Domain: "example.com", User: "hand"}}, lock.Options{Reason: "for a while", Until: f.clock.now().Add(time.Hour)})
	must(t, err)
	f.round(g)
	f.wants("example.com/a rule:burst, example.com/hand cli:root, block example.com/a/a@example.com rule:block")
	f.clock.turn(time.Hour + time.Second)
	f.round(g)
	if l, _ := f.store.Snapshot().UserLock("example.com", "hand"); l.Locked || l.Last.Actor != "millrace" || l.Last.Reason != "its time is over" {
		t.Errorf("%+v", l)
	}
	f.clock.turn(time.Hour)
	f.round(g)
	f.wants("")
	if l, _ := f.store.Snapshot().UserLock("example.com", "a"); l.Locked || l.Last.Actor != "rule:burst" || l.Last.Action != "unlock" {
		t.Errorf("%+v", l)
	}
	n := f.changes()
	f.round(g)
	if again := f.changes(); again != n {
		t.Errorf("%d more changes", again-n)
	}
}

// A rule that cannot be asked does not keep others from acting.
func TestRound_Failure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mail(mail{n: 5, user: "a"})
	list := rules(t, "  - {name: broken, per: auth-user, count: 1}\n"+burst+", per: auth-user}\n")
	list[0].Per = "" // SQL that ClickHouse refuses
	g := f.guard(Options{Rules: list})
	if err := g.round(t.Context(), f.term()); err == nil || !strings.Contains(err.Error(), `cannot ask what rule "broken" counts`) {
		t.Error(err)
	}
	f.wants("example.com/a rule:burst")
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
