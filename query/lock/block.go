package lock

import (
	"context"
	"fmt"
	"strings"

	"millrace/internal/mailname"
	"millrace/query/state"
)

// Sender is a sender's address within an outgoing user.
type Sender struct {
	Domain string
	User   string // "" or *: all of the domain
	Sender string
}

// ParseSender reads DOMAIN/USER/SENDER.
func ParseSender(s string) (Sender, error) {
	p := strings.SplitN(s, "/", 3)
	if len(p) != 3 {
		return Sender{}, fmt.Errorf("cannot read sender %q: want DOMAIN/USER/ADDRESS, with * for all users of the domain", s)
	}
	t := Sender{p[0], p[1], p[2]}
	return t, t.normalise()
}

func (t *Sender) normalise() error {
	target := Target{Domain: t.Domain, User: t.User}
	if err := target.normalise(); err != nil {
		return err
	}
	t.Domain, t.User = target.Domain, target.User
	sender, err := mailname.Address(t.Sender)
	if err != nil {
		return fmt.Errorf("cannot use a sender: %w", err)
	}
	if len(sender) > maxText {
		return fmt.Errorf("cannot use a name of more than %d bytes", maxText)
	}
	t.Sender = sender
	return nil
}

// String is the form that ParseSender reads.
func (t Sender) String() string { return t.Domain + "/" + t.User + "/" + t.Sender }

func (t Sender) key() state.Key { return state.BlockKey(t.Domain, t.User, t.Sender) }

// Block blocks senders.
func Block(ctx context.Context, log Log, by state.By, senders []Sender, reason, rule string) (Result, error) {
	return setBlocks(ctx, log, by, senders, state.Block{Blocked: true, Rule: rule}, "block", reason)
}

// Unblock lets senders send again.
func Unblock(ctx context.Context, log Log, by state.By, senders []Sender, reason string) (Result, error) {
	return setBlocks(ctx, log, by, senders, state.Block{}, "unblock", reason)
}

func setBlocks(ctx context.Context, log Log, by state.By, senders []Sender, want state.Block, action, reason string) (Result, error) {
	snap := log.Snapshot()
	var r Result
	var changes []state.Change
	seen := map[state.Key]bool{}
	for _, t := range senders {
		if err := t.normalise(); err != nil {
			return Result{}, err
		}
		if seen[t.key()] {
			continue
		}
		seen[t.key()] = true
		is, _ := snap.Block(t.Domain, t.User, t.Sender)
		if is.Blocked == want.Blocked {
			r.Unchanged = append(r.Unchanged, t.String())
			continue
		}
		changes = append(changes, state.Change{Key: t.key(), Action: action, Value: want, Reason: reason})
	}
	return r.finish(log.Append(ctx, by, changes...), len(changes))
}

// SetBlocked makes the list of an outgoing user's blocked senders this one; api_set_outgoing_sender_blacklist.
func SetBlocked(ctx context.Context, log Log, by state.By, domain, user string, senders []string, reason string) (Result, error) {
	t := Target{Domain: domain, User: user}
	if err := t.normalise(); err != nil {
		return Result{}, err
	}
	want := map[string]bool{}
	var add, end []Sender
	for _, s := range senders {
		sender := Sender{t.Domain, t.User, s}
		if err := sender.normalise(); err != nil {
			return Result{}, err
		}
		want[sender.Sender] = true
		add = append(add, sender)
	}
	for _, b := range Blocked(log.Snapshot(), Filter{Domain: t.Domain, User: t.User}) {
		if !want[b.Sender] {
			end = append(end, Sender{b.Domain, b.User, b.Sender})
		}
	}
	r, err := Block(ctx, log, by, add, reason, "")
	if err != nil {
		return r, err
	}
	ended, err := Unblock(ctx, log, by, end, reason)
	r.Done += ended.Done
	return r, err
}

// Blocked are the blocks.
func Blocked(s *state.Snapshot, f Filter) []state.Block {
	var list []state.Block
	for _, b := range s.Blocks() {
		if f.takes(b.Domain, b.User) && (f.All || b.Blocked) {
			list = append(list, b)
		}
	}
	return list
}

// BlockOf is the block that holds for a sender of an outgoing user: its own, or the one in
// all of the domain.
func BlockOf(s *state.Snapshot, domain, user, sender string) (state.Block, bool) {
	t := Sender{domain, user, sender}
	if t.normalise() != nil {
		return state.Block{}, false
	}
	for _, u := range []string{t.User, state.AllUsers} {
		if b, ok := s.Block(t.Domain, u, t.Sender); ok && b.Blocked {
			return b, true
		}
	}
	return state.Block{}, false
}

// Settings are an outgoing user's own or, without such, those of all the domain's users.
func Settings(s *state.Snapshot, domain, user string) (state.OutgoingUser, bool) {
	t := Target{Domain: domain, User: user}
	if t.normalise() != nil {
		return state.OutgoingUser{}, false
	}
	for _, u := range []string{t.User, state.AllUsers} {
		if set, ok := s.OutgoingUser(t.Domain, u); ok {
			return set, true
		}
	}
	return state.OutgoingUser{}, false
}

// ParseIdentification reads sender, auth-user, header:NAME or none.
func ParseIdentification(s string) (method, header string, err error) {
	switch method, header, _ := strings.Cut(s, ":"); {
	case s == "none" || s == "":
		return "", "", nil
	case s == state.BySender, s == state.ByAuthUser:
		return s, "", nil
	case method == state.ByHeader && header != "" && !strings.ContainsAny(header, " \t\r\n:"):
		return method, header, nil
	}
	return "", "", fmt.Errorf("cannot use identification method %q: want %s, %s, %s:NAME or none", s, state.BySender, state.ByAuthUser, state.ByHeader)
}

// SetOutgoingUser changes an outgoing user's settings: f is given what they are, its own
// alone. The error is a state.ErrConflict when somebody else was faster.
func SetOutgoingUser(ctx context.Context, log Log, by state.By, domain, user, reason string, f func(*state.OutgoingUser) error) error {
	t := Target{Domain: domain, User: user}
	if err := t.normalise(); err != nil {
		return err
	}
	u, known := log.Snapshot().OutgoingUser(t.Domain, t.User)
	condition := state.Absent()
	if known {
		condition = state.At(u.Last.Version)
	}
	if err := f(&u); err != nil {
		return err
	}
	if err := checkCode(u.ResponseCode); err != nil {
		return err
	}
	return log.Append(ctx, by, state.Change{Key: state.OutgoingUserKey(t.Domain, t.User), Action: "set", Value: u, Reason: reason, If: condition})
}

// NewSender is a sender within an outgoing user.
func NewSender(domain, user, sender string) (Sender, error) {
	t := Sender{domain, user, sender}
	return t, t.normalise()
}
