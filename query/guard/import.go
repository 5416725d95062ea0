package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"millrace/internal/config"
	"millrace/internal/mailname"
	"millrace/query/lock"
	"millrace/query/state"
)

var byImport = state.By{Actor: "import", How: state.Import}

// importLocks takes over what is locked in the filter's panel: of each outgoing user with an
// identification method, what it lists and we have not is locked, and what we have imported
// and it does not list any more is unlocked. Who made another lock is left to end it.
func (g *Guard) importLocks(ctx context.Context, term *state.Term) error {
	var problems []error
	for _, u := range term.Snapshot().OutgoingUsers() {
		if u.Identification == "" {
			continue
		}
		told := g.told(term.Snapshot()) // asked before the list is made
		listed, err := g.o.Vendor.LockedIdentities(ctx, u.Domain, u.User)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if err := g.takeOver(ctx, term, u, listed, told); err != nil {
			problems = append(problems, fmt.Errorf("cannot import the locks of %s/%s: %w", u.Domain, u.User, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(problems...)
}

// told is the place in the log up to which the panel has been told what was done here.
func (g *Guard) told(s *state.Snapshot) state.Version {
	told := s.Version()
	for _, e := range g.effects {
		if e.Kind == config.EffectVendor {
			told = min(told, e.done())
		}
	}
	return told
}

func (g *Guard) takeOver(ctx context.Context, term *state.Term, u state.OutgoingUser, listed []string, told state.Version) error {
	snap, now := term.Snapshot(), g.o.Now()
	var begin, end []lock.Target
	var names []string
	for _, identity := range listed {
		names = append(names, mailname.Identity(identity))
		t := lock.Target{Domain: u.Domain, User: u.User, Identity: identity}
		n, err := t.Normal()
		if err != nil {
			return err
		}
		is, known := snap.Lock(n.Domain, n.User, n.Identity)
		if _, held := lock.Of(snap, n.Domain, n.User, n.Identity, now); held || known && is.Last.Version >= told {
			continue // locked here too, or the panel has not been told yet
		}
		begin = append(begin, t)
	}
	for _, l := range snap.Locks() {
		if l.Domain == u.Domain && l.User == u.User && l.Identity != "" && l.Locked && l.Last.How == state.Import && !slices.Contains(names, l.Identity) {
			end = append(end, lock.Target{Domain: l.Domain, User: l.User, Identity: l.Identity})
		}
	}
	if len(begin) > 0 {
		r, err := lock.Lock(ctx, term, byImport, begin, lock.Options{Reason: "locked in the filter's panel"})
		g.counts.imports.WithLabelValues("lock").Add(float64(r.Done))
		if err != nil {
			return err
		}
	}
	if len(end) > 0 {
		r, err := lock.Unlock(ctx, term, byImport, end, "unlocked in the filter's panel")
		g.counts.imports.WithLabelValues("unlock").Add(float64(r.Done))
		return unlessConflict(err)
	}
	return nil
}
