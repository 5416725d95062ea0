package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"

	"millrace/internal/mailname"
	"millrace/query/access"
	"millrace/query/state"
)

// Role is what a user may see.
type Role = access.Role

// Roles, as the levels of the filter's panel.
const (
	Admin  = access.Admin       // all
	Domain = access.DomainUser  // its domains
	Email  = access.AddressUser // its addresses
)

// Roles are all of them.
func Roles() []Role { return []Role{Admin, Domain, Email} }

// Principal is who asks, once that is known.
type Principal struct {
	Name      string
	Role      Role
	Domains   []string
	Addresses []string
	Token     string // the id of the token that let it in; "": a password did
}

// Scope is what it may see.
func (p Principal) Scope() access.Scope {
	return access.Scope{Role: p.Role, Domains: p.Domains, Addresses: p.Addresses}
}

// ErrDenied is all that is said of a login that fails.
var ErrDenied = errors.New("unknown user or wrong password")

// Options of Accounts; the zero value is good.
type Options struct {
	Hashes int              // computed at a time, 19 MiB each; default: as many as cores, at most 4
	Now    func() time.Time // default: time.Now
}

// Accounts are the users and tokens of a store.
type Accounts struct {
	store *state.Store
	now   func() time.Time
	hash  hasher

	names, addresses *limiter
	verified         *verified
}

// Failures that are let pass: a person's typing errors, and what comes from one network.
var (
	namesAllowance     = allowance{burst: 10, interval: 30 * time.Second}
	addressesAllowance = allowance{burst: 30, interval: 5 * time.Second}
)

const (
	limitedNames     = 10_000
	limitedAddresses = 50_000
	verifiedFor      = 5 * time.Minute
	verifiedSize     = 4096
)

// New makes the door to a store's accounts.
func New(store *state.Store, o Options) *Accounts {
	if o.Hashes <= 0 {
		o.Hashes = min(runtime.GOMAXPROCS(0), 4)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Accounts{
		store: store, now: o.Now, hash: hasher{make(chan struct{}, o.Hashes)},
		names: newLimiter(namesAllowance, limitedNames), addresses: newLimiter(addressesAllowance, limitedAddresses),
		verified: newVerified(verifiedFor, verifiedSize),
	}
}

// Authenticate says who it is. The error is ErrDenied, a *LimitedError, or that ctx ended.
func (a *Accounts) Authenticate(ctx context.Context, name, password string, from netip.Addr) (Principal, error) {
	name, now := normalName(name), a.now()
	user, known := a.store.Snapshot().User(name)
	usable := known && !user.Disabled && user.Password != ""
	if len(password) > maxPassword || strings.ContainsRune(password, 0) || strings.ContainsRune(name, 0) {
		usable, password = false, "-" // it cannot be right, and takes as long
	}
	if usable && a.verified.has(name, password, user.Password, now) {
		return principal(user, ""), nil
	}
	net := network(from)
	if wait := a.addresses.take(net, now); wait > 0 {
		return Principal{}, &LimitedError{wait}
	}
	if wait := a.names.take(name, now); wait > 0 {
		a.addresses.give(net) // many behind one address may ask for a name that is under attack
		return Principal{}, &LimitedError{wait}
	}
	hash := "" // takes as long as one
	if usable {
		hash = user.Password
	}
	ok, err := a.hash.verify(ctx, password, hash)
	if err != nil {
		a.names.give(name)
		a.addresses.give(net)
		return Principal{}, fmt.Errorf("cannot check the password of %q: %w", name, err)
	}
	if !ok {
		return Principal{}, ErrDenied
	}
	a.names.succeed(name)
	a.addresses.give(net)
	a.verified.add(name, password, user.Password, now)
	return principal(user, ""), nil
}

// AuthenticateToken says whose token it is. The error is ErrDenied or a *LimitedError.
func (a *Accounts) AuthenticateToken(_ context.Context, token string, from netip.Addr) (Principal, error) {
	now, net := a.now(), network(from)
	snap := a.store.Snapshot()
	t, _ := snap.Token(tokenID(token))
	user, known := snap.User(t.User)
	sum := tokenHash(token)
	right := subtle.ConstantTimeCompare([]byte(sum), []byte(t.Hash)) == 1
	if right && known && !user.Disabled && (t.Expires.IsZero() || now.Before(t.Expires)) {
		return principal(user, t.ID), nil
	}
	if wait := a.addresses.take(net, now); wait > 0 {
		return Principal{}, &LimitedError{wait}
	}
	return Principal{}, ErrDenied
}

func principal(u state.User, token string) Principal {
	return Principal{Name: u.Name, Role: Role(u.Role), Domains: slices.Clone(u.Domains), Addresses: slices.Clone(u.Addresses), Token: token}
}

// A token is tokenPrefix, its id, and its secret.
const (
	tokenPrefix = "mr_"
	idLetters   = 10
	secretChars = 40 // 198 bits
)

// IsToken tells whether a text has the shape of a token.
func IsToken(s string) bool { return tokenID(s) != "" }

func tokenID(token string) string {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(rest) != idLetters+secretChars {
		return ""
	}
	return rest[:idLetters]
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// normalName is the form in which names are compared.
func normalName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("cannot use a user's name: it is empty")
	case len(name) > 128:
		return fmt.Errorf("cannot use user name %q: it has more than 128 bytes", name)
	case strings.ContainsRune(name, ':'):
		return fmt.Errorf("cannot use user name %q: a colon ends the name in Basic authentication", name)
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return fmt.Errorf("cannot use user name %q: it has a space or a control character", name)
	}
	return nil
}

// normalise checks a user's role and writes its domains and addresses in their form.
func normalise(u *state.User) error {
	domains, err := mapEach(u.Domains, mailname.Domain)
	if err != nil {
		return err
	}
	addresses, err := mapEach(u.Addresses, mailname.Address)
	if err != nil {
		return err
	}
	u.Domains, u.Addresses = domains, addresses
	switch Role(u.Role) {
	case Admin:
		u.Domains, u.Addresses = nil, nil
	case Domain:
		if len(domains) == 0 {
			return fmt.Errorf("cannot give %q the role %q: it has no domain (--domain)", u.Name, u.Role)
		}
		u.Addresses = nil
	case Email:
		if len(addresses) == 0 {
			return fmt.Errorf("cannot give %q the role %q: it has no address (--address)", u.Name, u.Role)
		}
		u.Domains = nil
	default:
		return fmt.Errorf("cannot use role %q: want %s, %s or %s", u.Role, Admin, Domain, Email)
	}
	return nil
}

func mapEach(list []string, f func(string) (string, error)) ([]string, error) {
	var out []string
	for _, s := range list {
		v, err := f(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
