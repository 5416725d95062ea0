package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/internal/config"
	"millrace/query/lock"
	"millrace/query/state"
)

// Decision is what a rule makes of something that is at its threshold or above.
type Decision struct {
	Rule    string
	Subject string // DOMAIN/USER/IDENTITY, DOMAIN/USER or DOMAIN/USER/SENDER
	Count   uint64
	Last    time.Time // of the events
	Do      Action
	Why     string // in words

	newest time.Time
	target lock.Target
	sender lock.Sender
}

// Action is what a decision comes to.
type Action string

// Actions.
const (
	Locks  Action = "lock"    // it is locked, or blocked
	DryRun Action = "dry run" // it would be
	Held   Action = "held"    // somebody else has locked it; the rule has fired all the same
	Waits  Action = "fired"   // the rule has fired for it, and may not yet again
	Spares Action = "never"   // it is on the never list
	Cannot Action = "cannot"  // it cannot be locked
)

// decide makes a decision for each subject that is the rule's business.
func decide(s *state.Snapshot, r *Rule, crossings []crossing, now time.Time) []Decision {
	var list []Decision
	seen := map[string]int{}
	for _, c := range crossings {
		d := Decision{Rule: r.Name, Count: c.Count, Last: time.UnixMilli(c.Last).UTC(), newest: time.UnixMilli(c.Newest)}
		who, settings, known := lock.Outgoing(s, c.Domain, c.User)
		var err error
		var held bool
		switch r.Per {
		case config.PerIdentity:
			if !known || settings.Identification != c.Method || !settings.LockAutomatically && !r.Everywhere {
				continue
			}
			who.Identity = c.Subject
			d.target, err = who.Normal()
		case config.PerAuthUser:
			d.target, err = who.Normal()
		case config.PerIP:
			d.target, err = lock.Target{Domain: c.Domain, User: c.Subject}.Normal()
		case config.PerSender:
			if who.Domain == "" {
				who.Domain = c.Domain
			}
			d.sender, err = lock.Sender{Domain: who.Domain, User: who.User, Sender: c.Subject}.Normal()
		}
		if err != nil {
			d.Subject, d.Do, d.Why = c.Domain+"/"+c.User+"/"+c.Subject, Cannot, err.Error()
			list = append(list, d)
			continue
		}
		var why string
		if r.Per == config.PerSender {
			d.Subject = d.sender.String()
			var b state.Block
			b, held = lock.BlockOf(s, d.sender.Domain, d.sender.User, d.sender.Sender)
			why = "blocked already by " + b.Last.Actor
		} else {
			d.Subject = d.target.String()
			var l state.Lock
			l, held = lock.Of(s, d.target.Domain, d.target.User, d.target.Identity, now)
			why = "locked already by " + l.Last.Actor
		}
		if at, twice := seen[d.Subject]; twice { // the same in another spelling
			if list[at].Count < d.Count {
				list[at].Count = d.Count
			}
			continue
		}
		seen[d.Subject] = len(list)
		f, fired := s.Fired(r.Name, d.Subject)
		again := f.Above && !(now.After(f.Until) && d.newest.After(f.At))
		switch {
		case r.never.has(c.Subject, c.User, c.Domain, d.target.Identity, d.target.User, d.target.Domain):
			d.Do, d.Why = Spares, "on the never list"
		case fired && f.DryRun == r.DryRun && again:
			d.Do, d.Why = Waits, "fired at "+f.At.UTC().Format(time.RFC3339)
		case held:
			d.Do, d.Why = Held, why
		case r.DryRun:
			d.Do, d.Why = DryRun, r.reason(d.Count)
		default:
			d.Do, d.Why = Locks, r.reason(d.Count)
		}
		list = append(list, d)
	}
	return list
}

// reason is that of a lock.
func (r *Rule) reason(n uint64) string {
	what := strings.Join(r.Classes, ", ")
	if r.Feedback > 0 {
		if what != "" {
			what += ", "
		}
		what += "abuse reports"
	}
	return fmt.Sprintf("rule %s: %d within %s (%s)", r.Name, n, config.FormatDuration(r.Window), what)
}

// idle tells whether a rule can have nothing to do: it is for users with automatic locks,
// and there are none.
func (r *Rule) idle(s *state.Snapshot) bool {
	return r.Per == config.PerIdentity && !slices.ContainsFunc(s.OutgoingUsers(), func(u state.OutgoingUser) bool {
		return u.Identification != "" && (u.LockAutomatically || r.Everywhere)
	})
}

// Decide says what a rule would do now, and does nothing.
func (g *Guard) Decide(ctx context.Context, r *Rule) ([]Decision, error) {
	snap, now := g.o.Store.Snapshot(), g.o.Now()
	if r.idle(snap) {
		return nil, nil
	}
	crossings, _, err := r.crossings(ctx, g.o.Query, now)
	if err != nil {
		return nil, err
	}
	return decide(snap, r, crossings, now), nil
}

// round lets every rule act, and ends what has an end.
func (g *Guard) round(ctx context.Context, term *state.Term) error {
	var problems []error
	for i := range g.o.Rules {
		r := &g.o.Rules[i]
		begun := time.Now()
		err := g.fire(ctx, term, r)
		g.counts.seconds.WithLabelValues(r.Name).Observe(time.Since(begun).Seconds())
		if errors.Is(err, state.ErrFenced) || ctx.Err() != nil {
			return err
		}
		result := "ok"
		if err != nil {
			result = "failed"
			problems = append(problems, err)
		}
		g.counts.rounds.WithLabelValues(r.Name, result).Inc()
	}
	if err := g.end(ctx, term); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// fire is one rule's part of a round.
func (g *Guard) fire(ctx context.Context, term *state.Term, r *Rule) error {
	snap, now := term.Snapshot(), g.o.Now()
	var crossings []crossing
	cut := false
	if !r.idle(snap) {
		var err error
		if crossings, cut, err = r.crossings(ctx, g.o.Query, now); err != nil {
			return err
		}
	}
	above := map[string]bool{}
	var problems []error
	for _, d := range decide(snap, r, crossings, now) {
		above[d.Subject] = true
		if d.Do != Locks && d.Do != DryRun && d.Do != Held {
			continue
		}
		err := g.carryOut(ctx, term, r, d, now)
		result := map[Action]string{Locks: "locked", DryRun: "dry_run", Held: "held"}[d.Do]
		switch {
		case errors.Is(err, state.ErrFenced) || ctx.Err() != nil:
			return err
		case errors.Is(err, state.ErrConflict): // somebody was faster: the next round sees what holds
			continue
		case err != nil:
			result = "failed"
			problems = append(problems, fmt.Errorf("cannot act by rule %q on %q: %w", r.Name, d.Subject, err))
		default:
			g.o.Logger.Info("a rule has fired", "rule", r.Name, "subject", d.Subject, "count", d.Count, "did", string(d.Do), "why", d.Why)
		}
		g.counts.fired.WithLabelValues(r.Name, result).Inc()
	}
	if !cut {
		problems = append(problems, g.lower(ctx, term, r, above))
	}
	return errors.Join(problems...)
}

// withMore appends more changes along with those of a verb, in one batch of the log.
type withMore struct {
	*state.Term
	more state.Change
}

func (w withMore) Append(ctx context.Context, by state.By, changes ...state.Change) error {
	return w.Term.Append(ctx, by, append(slices.Clone(changes), w.more)...)
}

const unblockAt = "unblock_at" // in the detail of what has fired: a block has no end of its own

// carryOut locks and records that the rule has fired.
func (g *Guard) carryOut(ctx context.Context, term *state.Term, r *Rule, d Decision, now time.Time) error {
	f := state.Fired{At: now.UTC(), Since: d.Last.Add(-r.Window), Until: now.Add(r.Cooldown).UTC(), Count: d.Count, DryRun: r.DryRun, Above: true}
	by := state.By{Actor: "rule:" + r.Name, How: state.Rule}
	until := time.Time{}
	if r.UnlockAfter > 0 {
		until = now.Add(r.UnlockAfter)
	}
	if d.Do == Locks && r.Per == config.PerSender && !until.IsZero() {
		f.Detail = map[string]string{unblockAt: until.UTC().Format(time.RFC3339)}
	}
	if d.Do == Held {
		f.Detail = map[string]string{"held": d.Why}
	}
	condition := state.Absent()
	key := state.FiredKey(r.Name, d.Subject)
	if v, there := term.Snapshot().VersionOf(key); there {
		condition = state.At(v)
	}
	log := withMore{term, state.Change{Key: key, Action: "fire", Value: f, Reason: r.reason(d.Count), If: condition}}
	switch {
	case d.Do != Locks:
		return log.Append(ctx, by)
	case r.Per == config.PerSender:
		_, err := lock.Block(ctx, log, by, []lock.Sender{d.sender}, d.Why, r.Name)
		return err
	}
	_, err := lock.Lock(ctx, log, by, []lock.Target{d.target}, lock.Options{Reason: d.Why, Until: until, Code: r.Code, Rule: r.Name})
	return err
}

// lower notes what has fallen below the threshold.
func (g *Guard) lower(ctx context.Context, term *state.Term, r *Rule, above map[string]bool) error {
	var changes []state.Change
	for _, f := range term.Snapshot().AllFired() {
		if f.Rule == r.Name && f.Above && !above[f.Subject] {
			f.Above = false
			changes = append(changes, state.Change{Key: state.FiredKey(f.Rule, f.Subject), Action: "below", Value: f, If: state.At(f.Last.Version)})
		}
	}
	return unlessConflict(term.Append(ctx, state.By{Actor: "rule:" + r.Name, How: state.Rule}, changes...))
}

func unlessConflict(err error) error {
	if errors.Is(err, state.ErrConflict) {
		return nil
	}
	return err
}

// end ends locks and blocks whose time is over, and forgets firings that hold nothing back.
func (g *Guard) end(ctx context.Context, term *state.Term) error {
	const over = "its time is over"
	snap, now := term.Snapshot(), g.o.Now()
	var problems []error
	for _, l := range snap.Locks() {
		if !l.Locked || l.Held(now) {
			continue
		}
		by := state.By{Actor: "millrace", How: state.System}
		if l.Rule != "" {
			by = state.By{Actor: "rule:" + l.Rule, How: state.Rule}
		}
		r, err := lock.Unlock(ctx, term, by, []lock.Target{{Domain: l.Domain, User: l.User, Identity: l.Identity}}, over)
		g.counts.ended.Add(float64(r.Done))
		problems = append(problems, unlessConflict(err))
	}
	for _, f := range snap.AllFired() {
		by := state.By{Actor: "rule:" + f.Rule, How: state.Rule}
		key := state.FiredKey(f.Rule, f.Subject)
		if text, ok := f.Detail[unblockAt]; ok {
			at, err := time.Parse(time.RFC3339, text)
			if err == nil && now.Before(at) {
				continue
			}
			s, err := lock.ParseSender(f.Subject)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			f.Detail = nil
			log := withMore{term, state.Change{Key: key, Action: "unblock", Value: f, If: state.At(f.Last.Version)}}
			if b, _ := snap.Block(s.Domain, s.User, s.Sender); !b.Blocked || b.Rule != f.Rule {
				problems = append(problems, unlessConflict(log.Append(ctx, by))) // somebody has decided since
				continue
			}
			r, err := lock.Unblock(ctx, log, by, []lock.Sender{s}, over)
			g.counts.ended.Add(float64(r.Done))
			problems = append(problems, unlessConflict(err))
			continue
		}
		gone := !slices.ContainsFunc(g.o.Rules, func(r Rule) bool { return r.Name == f.Rule })
		if (!f.Above || gone) && now.After(f.Until) {
			problems = append(problems, unlessConflict(term.Append(ctx, by, state.Change{Key: key, Action: "forget", If: state.At(f.Last.Version)})))
		}
	}
	return errors.Join(problems...)
}
