package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"millrace/internal/mailname"
	"millrace/query/state"
)

// Log is a state.Store, or a state.Term of it.
type Log interface {
	Snapshot() *state.Snapshot
	Append(ctx context.Context, by state.By, changes ...state.Change) error
}

// Target is an identity or, without Identity, an outgoing user.
type Target struct {
	Domain   string
	User     string // "" or *: all of the domain
	Identity string
}

// ParseIdentity reads DOMAIN/USER/IDENTITY; the identity may have slashes in it.
func ParseIdentity(s string) (Target, error) {
	p := strings.SplitN(s, "/", 3)
	if len(p) != 3 {
		return Target{}, fmt.Errorf("cannot read identity %q: want DOMAIN/USER/IDENTITY, with * for all users of the domain", s)
	}
	t := Target{p[0], p[1], p[2]}
	if strings.TrimSpace(t.Identity) == "" {
		return Target{}, fmt.Errorf("cannot read identity %q: the identity is empty", s)
	}
	return t, t.normalise()
}

// ParseUser reads DOMAIN/USER.
func ParseUser(s string) (Target, error) {
	domain, user, ok := strings.Cut(s, "/")
	if !ok {
		return Target{}, fmt.Errorf("cannot read outgoing user %q: want DOMAIN/USER, with * for all users of the domain", s)
	}
	t := Target{Domain: domain, User: user}
	return t, t.normalise()
}

// maxText bounds names that go into keys.
const maxText = 1024

func (t *Target) normalise() (err error) {
	if t.Domain, err = mailname.Domain(t.Domain); err != nil {
		return err
	}
	t.User = cmp.Or(mailname.Identity(t.User), state.AllUsers)
	t.Identity = mailname.Identity(t.Identity)
	if len(t.User) > maxText || len(t.Identity) > maxText {
		return fmt.Errorf("cannot use a name of more than %d bytes", maxText)
	}
	return nil
}

// String is the form that ParseIdentity and ParseUser read.
func (t Target) String() string {
	if t.Identity == "" {
		return t.Domain + "/" + t.User
	}
	return t.Domain + "/" + t.User + "/" + t.Identity
}

func (t Target) key() state.Key {
	if t.Identity == "" {
		return state.UserLockKey(t.Domain, t.User)
	}
	return state.LockKey(t.Domain, t.User, t.Identity)
}

func (t Target) lock(s *state.Snapshot) state.Lock {
	if t.Identity == "" {
		l, _ := s.UserLock(t.Domain, t.User)
		return l
	}
	l, _ := s.Lock(t.Domain, t.User, t.Identity)
	return l
}

// Options of Lock.
type Options struct {
	Reason string
	Until  time.Time // it ends then; zero: when it is unlocked
	Code   string    // the answer to the sender: "" (as the outgoing user has it), a code of SMTP, or blackhole
	Rule   string    // that locks
}

// Result is what came of it.
type Result struct {
	Done      int
	Unchanged []string // these were so already
}

// NoIdentificationError is that an identity cannot be locked, since nothing tells the
// outgoing user's identities apart.
type NoIdentificationError struct{ Targets []Target }

func (e *NoIdentificationError) Error() string {
	t := e.Targets[0]
	more := ""
	if n := len(e.Targets) - 1; n > 0 {
		more = fmt.Sprintf(" (nor %d more)", n)
	}
	return fmt.Sprintf("cannot lock identity %q of %s/%s%s: the outgoing user has no identification method; set it: millrace outgoing-user set %s/%s --identification sender|auth-user|header:NAME",
		t.Identity, t.Domain, t.User, more, t.Domain, t.User)
}

var code = regexp.MustCompile(`^(?:[45][0-9]{2}|blackhole)?$`)

// CodeError is that a text is no answer to a sender.
type CodeError struct{ Code string }

func (e *CodeError) Error() string {
	return fmt.Sprintf("cannot use response code %q: want 4xx, 5xx or blackhole", e.Code)
}

func checkCode(s string) error {
	if !code.MatchString(s) {
		return &CodeError{s}
	}
	return nil
}

// Lock locks identities and outgoing users. What is locked already is locked anew when
// anything differs.
func Lock(ctx context.Context, log Log, by state.By, targets []Target, o Options) (Result, error) {
	snap := log.Snapshot()
	if err := checkCode(o.Code); err != nil {
		return Result{}, err
	}
	var missing NoIdentificationError
	var r Result
	var changes []state.Change
	seen := map[state.Key]bool{}
	for _, t := range targets {
		if err := t.normalise(); err != nil {
			return Result{}, err
		}
		if t.Identity != "" && !identifies(snap, t) {
			missing.Targets = append(missing.Targets, t)
			continue
		}
		if seen[t.key()] {
			continue
		}
		seen[t.key()] = true
		want := state.Lock{Locked: true, Until: o.Until.UTC().Truncate(time.Second), Code: o.Code, Rule: o.Rule}
		if o.Until.IsZero() {
			want.Until = time.Time{}
		}
		if is := t.lock(snap); is.Locked && is.Until.Equal(want.Until) && is.Code == want.Code && is.Rule == want.Rule && is.Last.Reason == o.Reason {
			r.Unchanged = append(r.Unchanged, t.String())
			continue
		}
		changes = append(changes, state.Change{Key: t.key(), Action: "lock", Value: want, Reason: o.Reason})
	}
	if len(missing.Targets) > 0 {
		return Result{}, &missing
	}
	return r.finish(log.Append(ctx, by, changes...), len(changes))
}

// identifies tells whether the outgoing user's identities can be told apart. For all users
// of a domain it is enough that those of one can.
func identifies(s *state.Snapshot, t Target) bool {
	if u, ok := Settings(s, t.Domain, t.User); ok {
		return u.Identification != ""
	}
	if t.User != state.AllUsers {
		return false
	}
	for _, u := range s.OutgoingUsers() {
		if u.Domain == t.Domain && u.Identification != "" {
			return true
		}
	}
	return false
}

func (r Result) finish(err error, n int) (Result, error) {
	var conflict *state.ConflictError
	if errors.As(err, &conflict) {
		n -= len(conflict.Keys)
	} else if err != nil {
		n = 0
	}
	r.Done = n
	return r, err
}

// Unlock ends locks.
func Unlock(ctx context.Context, log Log, by state.By, targets []Target, reason string) (Result, error) {
	snap := log.Snapshot()
	var r Result
	var changes []state.Change
	seen := map[state.Key]bool{}
	for _, t := range targets {
		if err := t.normalise(); err != nil {
			return Result{}, err
		}
		if seen[t.key()] {
			continue
		}
		seen[t.key()] = true
		is := t.lock(snap)
		if !is.Locked {
			r.Unchanged = append(r.Unchanged, t.String())
			continue
		}
		changes = append(changes, state.Change{Key: t.key(), Action: "unlock", Value: state.Lock{Code: is.Code}, Reason: reason, If: state.At(is.Last.Version)})
	}
	return r.finish(log.Append(ctx, by, changes...), len(changes))
}

// SetCode gives the answer to the sender of a lock that holds; api_set_locked_identity_response_code.
func SetCode(ctx context.Context, log Log, by state.By, t Target, response string) error {
	if err := checkCode(response); err != nil {
		return err
	}
	if err := t.normalise(); err != nil {
		return err
	}
	is := t.lock(log.Snapshot())
	if !is.Locked {
		return fmt.Errorf("cannot set the response code of %s: it is not locked", t)
	}
	version := is.Last.Version
	is.Code = response
	return log.Append(ctx, by, state.Change{Key: t.key(), Action: "response-code", Value: is, Reason: is.Last.Reason, If: state.At(version)})
}

// Filter of lists; the zero value is all.
type Filter struct {
	Domain string
	User   string
	All    bool // also what holds no more
}

func (f Filter) takes(domain, user string) bool {
	d, err := mailname.Domain(f.Domain)
	if err != nil {
		d = f.Domain
	}
	return (f.Domain == "" || d == domain) && (f.User == "" || mailname.Identity(f.User) == user)
}

// List are the locks, identities first.
func List(s *state.Snapshot, f Filter, now time.Time) []state.Lock {
	var list []state.Lock
	for _, l := range s.Locks() {
		if f.takes(l.Domain, l.User) && (f.All || l.Held(now)) {
			list = append(list, l)
		}
	}
	return list
}

// Of is the lock that holds for an identity of an outgoing user: its own, the one in all
// of the domain, or that of the user. Without identity it is the user's.
func Of(s *state.Snapshot, domain, user, identity string, now time.Time) (state.Lock, bool) {
	t := Target{domain, user, identity}
	if t.normalise() != nil {
		return state.Lock{}, false
	}
	var candidates []state.Lock
	if t.Identity != "" {
		candidates = append(candidates, t.lock(s), Target{t.Domain, state.AllUsers, t.Identity}.lock(s))
	}
	candidates = append(candidates, Target{Domain: t.Domain, User: t.User}.lock(s), Target{Domain: t.Domain, User: state.AllUsers}.lock(s))
	for _, l := range candidates {
		if l.Held(now) {
			return l, true
		}
	}
	return state.Lock{}, false
}

// NewTarget is an identity of an outgoing user or, without identity, the user.
func NewTarget(domain, user, identity string) (Target, error) {
	t := Target{domain, user, strings.TrimSpace(identity)}
	return t, t.normalise()
}
