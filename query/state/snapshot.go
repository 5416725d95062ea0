package state

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
)

// Snapshot is the state at one place of the log. It never changes.
type Snapshot struct {
	version Version
	kinds   map[string]map[Key]*entry
}

// Version is the place in the log that follows what the snapshot has seen.
func (s *Snapshot) Version() Version { return s.version }

// Epoch tells this log from another one of the same name, before or after it.
func (s *Snapshot) Epoch() uint64 {
	v, _ := one[originState](s, originKey)
	return v.Epoch
}

// VersionOf is the place of a key's last change, and whether the key is there.
func (s *Snapshot) VersionOf(key Key) (Version, bool) {
	e := s.entry(key)
	if e == nil {
		return 0, false
	}
	return e.version, true
}

// Raw is the state of a key of any kind as it is in the log, secrets and all.
func (s *Snapshot) Raw(key Key) (json.RawMessage, Mark, bool) {
	e := s.entry(key)
	if e == nil {
		return nil, Mark{}, false
	}
	return e.env.State, e.env.mark(e.version), true
}

// Keys are those of a kind, in order.
func (s *Snapshot) Keys(kind string) []Key {
	var keys []Key
	for k, e := range s.kinds[kind] {
		if !e.env.Removed {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// entry of a key that is there.
func (s *Snapshot) entry(key Key) *entry {
	name, _, ok := key.Split()
	if !ok {
		return nil
	}
	if e := s.kinds[name][key]; e != nil && !e.env.Removed {
		return e
	}
	return nil
}

func one[T any](s *Snapshot, key Key) (v T, ok bool) {
	if e := s.entry(key); e != nil {
		v, ok = e.value.(T)
	}
	return v, ok
}

// all values of a kind, in the order of their keys.
func all[T any](s *Snapshot, kind string) []T {
	entries := slices.SortedFunc(maps.Values(s.kinds[kind]), func(a, b *entry) int { return cmp.Compare(a.key, b.key) })
	var list []T
	for _, e := range entries {
		if v, ok := e.value.(T); ok && !e.env.Removed {
			list = append(list, v)
		}
	}
	return list
}

// Lock of an identity, whether it holds or has held.
func (s *Snapshot) Lock(domain, user, identity string) (Lock, bool) {
	return one[Lock](s, LockKey(domain, user, identity))
}

// UserLock of an outgoing user.
func (s *Snapshot) UserLock(domain, user string) (Lock, bool) {
	return one[Lock](s, UserLockKey(domain, user))
}

// Locks are those of identities and of outgoing users, also those that hold no more.
func (s *Snapshot) Locks() []Lock { return all[Lock](s, KindLock) }

// Block of a sender.
func (s *Snapshot) Block(domain, user, sender string) (Block, bool) {
	return one[Block](s, BlockKey(domain, user, sender))
}

// Blocks are those of senders, also those that hold no more.
func (s *Snapshot) Blocks() []Block { return all[Block](s, KindBlock) }

// OutgoingUser has the settings of an outgoing user itself.
func (s *Snapshot) OutgoingUser(domain, user string) (OutgoingUser, bool) {
	return one[OutgoingUser](s, OutgoingUserKey(domain, user))
}

// OutgoingUsers are all that have settings.
func (s *Snapshot) OutgoingUsers() []OutgoingUser { return all[OutgoingUser](s, KindOutgoingUser) }

// User is the account of that name.
func (s *Snapshot) User(name string) (User, bool) { return one[User](s, UserKey(name)) }

// Users are all accounts.
func (s *Snapshot) Users() []User { return all[User](s, KindUser) }

// Token of an id.
func (s *Snapshot) Token(id string) (Token, bool) { return one[Token](s, TokenKey(id)) }

// Tokens are all, also those that have expired.
func (s *Snapshot) Tokens() []Token { return all[Token](s, KindToken) }

// Schedule of one kind of report and outgoing user.
func (s *Snapshot) Schedule(report, domain, user string) (Schedule, bool) {
	return one[Schedule](s, ScheduleKey(report, domain, user))
}

// Schedules are all, also those without a recipient.
func (s *Snapshot) Schedules() []Schedule { return all[Schedule](s, KindSchedule) }

// Sent is how far one report of one period is.
func (s *Snapshot) Sent(report, domain, user, period string) (Sent, bool) {
	return one[Sent](s, SentKey(report, domain, user, period))
}

// AllSent are all reports that were begun.
func (s *Snapshot) AllSent() []Sent { return all[Sent](s, KindSent) }

// Fired is when a rule has last fired for a subject.
func (s *Snapshot) Fired(rule, subject string) (Fired, bool) {
	return one[Fired](s, FiredKey(rule, subject))
}

// AllFired are all firings.
func (s *Snapshot) AllFired() []Fired { return all[Fired](s, KindFired) }

// Effect is how far an effect of changes is.
func (s *Snapshot) Effect(name string) (EffectState, bool) {
	return one[EffectState](s, EffectKey(name))
}

// Effects are all that have run.
func (s *Snapshot) Effects() []EffectState { return all[EffectState](s, KindEffect) }
