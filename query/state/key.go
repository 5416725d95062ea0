package state

import (
	"net/url"
	"strings"
)

// Key names what a record is about: a kind and parts, each escaped, so that any text is
// safe in them.
type Key string

// NewKey is for kinds that have no function of their own.
func NewKey(kind string, parts ...string) Key {
	var b strings.Builder
	b.WriteString(url.PathEscape(kind))
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return Key(b.String())
}

// Split gives the kind and the parts back; ok is false for what NewKey has not made.
func (k Key) Split() (kind string, parts []string, ok bool) {
	all := strings.Split(string(k), "/")
	for i, p := range all {
		text, err := url.PathUnescape(p)
		if err != nil {
			return "", nil, false
		}
		all[i] = text
	}
	return all[0], all[1:], all[0] != ""
}

// Kinds of keys.
const (
	KindLock         = "lock"
	KindBlock        = "block"
	KindOutgoingUser = "outgoing-user"
	KindUser         = "user"
	KindToken        = "token"
	KindSchedule     = "schedule"
	KindSent         = "sent"
	KindFired        = "rule-fired"
	KindEffect       = "effect"

	kindLeader = "leader" // whose term it is
	kindOrigin = "origin" // of this log: tells it from another one of the same name
)

// AllUsers in the place of an outgoing user's name stands for all of the domain.
const AllUsers = "*"

// The two sorts of locks, and the one of blocks, in keys.
const (
	sortIdentity = "identity"
	sortUser     = "user"
	sortSender   = "sender"
)

// LockKey is an identity's lock within an outgoing user, or all of the domain's.
func LockKey(domain, user, identity string) Key {
	return NewKey(KindLock, sortIdentity, domain, user, identity)
}

// UserLockKey is the lock of a whole outgoing user.
func UserLockKey(domain, user string) Key { return NewKey(KindLock, sortUser, domain, user) }

// BlockKey is the block of a sender within an outgoing user, or all of the domain's.
func BlockKey(domain, user, sender string) Key {
	return NewKey(KindBlock, sortSender, domain, user, sender)
}

// OutgoingUserKey has the settings of an outgoing user, or of all of the domain's that
// have none of their own.
func OutgoingUserKey(domain, user string) Key { return NewKey(KindOutgoingUser, domain, user) }

// UserKey is an account's.
func UserKey(name string) Key { return NewKey(KindUser, name) }

// TokenKey is an API token's.
func TokenKey(id string) Key { return NewKey(KindToken, id) }

// ScheduleKey is who gets a kind of report about an outgoing user.
func ScheduleKey(report, domain, user string) Key { return NewKey(KindSchedule, report, domain, user) }

// SentKey is one report of one period about an outgoing user.
func SentKey(report, domain, user, period string) Key {
	return NewKey(KindSent, report, domain, user, period)
}

// FiredKey is a rule and what it has fired for.
func FiredKey(rule, subject string) Key { return NewKey(KindFired, rule, subject) }

// EffectKey is how far an effect is.
func EffectKey(name string) Key { return NewKey(KindEffect, name) }

var (
	leaderKey = NewKey(kindLeader)
	originKey = NewKey(kindOrigin)
)
