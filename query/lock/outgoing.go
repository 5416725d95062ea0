package lock

import (
	"strings"

	"millrace/internal/mailname"
	"millrace/query/state"
)

// Outgoing is the outgoing user that a message is of, by its domain and its authenticated
// user, with the settings that hold; ok is false without any. The filter writes the
// authenticated user as USER@DOMAIN or as USER alone: settings of the whole text go before
// those of USER in DOMAIN, and these before what holds in all of a domain.
func Outgoing(s *state.Snapshot, domain, authUser string) (t Target, set state.OutgoingUser, ok bool) {
	whole := Target{Domain: domain, User: authUser}
	if whole.normalise() != nil {
		return Target{}, state.OutgoingUser{}, false
	}
	part, parted := whole, false
	if at := strings.LastIndexByte(authUser, '@'); at > 0 {
		part = Target{Domain: authUser[at+1:], User: authUser[:at]}
		parted = part.normalise() == nil
	}
	if set, ok := s.OutgoingUser(whole.Domain, whole.User); ok {
		return whole, set, true
	}
	if parted {
		if set, ok := s.OutgoingUser(part.Domain, part.User); ok {
			return part, set, true
		}
	}
	own := whole
	if parted && part.Domain == whole.Domain {
		own = part
	}
	if set, ok := s.OutgoingUser(whole.Domain, state.AllUsers); ok {
		return own, set, true
	}
	if parted {
		if set, ok := s.OutgoingUser(part.Domain, state.AllUsers); ok {
			return part, set, true
		}
	}
	return own, state.OutgoingUser{}, false
}

// Normal brings the names of a target into the form in which they are compared.
func (t Target) Normal() (Target, error) {
	err := t.normalise()
	return t, err
}

// Normal brings the names of a sender into the form in which they are compared.
func (t Sender) Normal() (Sender, error) {
	err := t.normalise()
	return t, err
}

// IdentityOf is a message's identity as an identification method tells it.
func IdentityOf(method, sender, authUser, header string) string {
	switch method {
	case state.BySender:
		return mailname.Identity(sender)
	case state.ByAuthUser:
		return mailname.Identity(authUser)
	}
	return mailname.Identity(header)
}

// Resolve makes a target that a message or a report's row names, by the authenticated user,
// one of the outgoing user that this is.
func Resolve(s *state.Snapshot, t Target) (Target, error) {
	if err := t.normalise(); err != nil || t.User == state.AllUsers {
		return t, err
	}
	of, _, _ := Outgoing(s, t.Domain, t.User)
	of.Identity = t.Identity
	return of, nil
}
