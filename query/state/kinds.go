package state

import (
	"encoding/json"
	"time"
)

// Version is a place in the log: of an entry its record's offset, of a snapshot the
// offset that follows what it has seen.
type Version int64

// Mark is a key's last change.
type Mark struct {
	Version Version   `json:"version"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	How     string    `json:"how"`
	Action  string    `json:"action"`
	Reason  string    `json:"reason,omitempty"`
}

// Values of By.How.
const (
	CLI    = "cli"
	API    = "api"
	Compat = "compat" // the calls that the vendor's API has
	Rule   = "rule"
	Import = "import" // from the vendor's panel
	System = "system" // Millrace itself
)

// Lock of an identity or, without Identity, of an outgoing user.
type Lock struct {
	Domain   string `json:"-"`
	User     string `json:"-"` // AllUsers: in all of the domain
	Identity string `json:"-"`

	Locked bool      `json:"locked"`
	Until  time.Time `json:"until,omitzero"` // it ends then by itself; zero: it does not
	Code   string    `json:"code,omitempty"` // the answer to the sender: "", a code, or blackhole
	Rule   string    `json:"rule,omitempty"` // that has made it

	Last Mark `json:"-"`
}

// Held tells whether the lock holds at a time.
func (l Lock) Held(now time.Time) bool {
	return l.Locked && (l.Until.IsZero() || now.Before(l.Until))
}

// Block of a sender's address.
type Block struct {
	Domain string `json:"-"`
	User   string `json:"-"`
	Sender string `json:"-"`

	Blocked bool   `json:"blocked"`
	Rule    string `json:"rule,omitempty"`

	Last Mark `json:"-"`
}

// Identification methods of an outgoing user: what tells its own users apart.
const (
	BySender   = "sender"    // the envelope sender
	ByAuthUser = "auth-user" // the authenticated user
	ByHeader   = "header"    // a header that the sending server adds
)

// OutgoingUser is how an outgoing user is dealt with.
type OutgoingUser struct {
	Domain string `json:"-"`
	User   string `json:"-"`

	Identification    string `json:"identification,omitempty"` // "": none, and no identity can be locked
	Header            string `json:"header,omitempty"`         // with ByHeader
	LockAutomatically bool   `json:"lock_automatically,omitempty"`
	ResponseCode      string `json:"response_code,omitempty"` // of locked identities

	Last Mark `json:"-"`
}

// User is an account.
type User struct {
	Name string `json:"-"`

	Role      string   `json:"role"`
	Domains   []string `json:"domains,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Password  string   `json:"password,omitempty"` // its hash; "": tokens only
	Disabled  bool     `json:"disabled,omitempty"`

	Last Mark `json:"-"`
}

// Token lets a program in as a user.
type Token struct {
	ID string `json:"-"`

	User    string    `json:"user"`
	Label   string    `json:"label,omitempty"`
	Hash    string    `json:"hash,omitempty"` // SHA-256, hexadecimal
	Last4   string    `json:"last4"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`

	Last Mark `json:"-"`
}

// Schedule is who gets a kind of report. Without a recipient nobody does.
type Schedule struct {
	Report string `json:"-"`
	Domain string `json:"-"`
	User   string `json:"-"`

	Recipient string `json:"recipient"`

	Last Mark `json:"-"`
}

// Sent is how far a report of one period is.
type Sent struct {
	Report string `json:"-"`
	Domain string `json:"-"`
	User   string `json:"-"`
	Period string `json:"-"`

	Claimed   time.Time `json:"claimed,omitzero"` // somebody has begun to send it
	Sent      time.Time `json:"sent,omitzero"`
	Attempts  int       `json:"attempts,omitempty"`
	Recipient string    `json:"recipient,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	Rows      int       `json:"rows,omitempty"`
	Error     string    `json:"error,omitempty"`   // of the last attempt
	Unsure    int       `json:"unsure,omitempty"`  // attempts of which nobody knows whether they arrived
	Over      string    `json:"over,omitempty"`    // why it is not tried any more
	Skipped   int       `json:"skipped,omitempty"` // periods before it that nobody has sent

	Last Mark `json:"-"`
}

// Fired is that a rule has fired.
type Fired struct {
	Rule    string `json:"-"`
	Subject string `json:"-"`

	At     time.Time         `json:"at"`
	Since  time.Time         `json:"since,omitzero"` // the window's begin
	Until  time.Time         `json:"until,omitzero"` // the cooldown's end
	Count  uint64            `json:"count,omitempty"`
	DryRun bool              `json:"dry_run,omitempty"`
	Above  bool              `json:"above,omitempty"` // the count has not fallen below the threshold since
	Detail map[string]string `json:"detail,omitempty"`

	Last Mark `json:"-"`
}

// EffectState is how far an effect of changes is.
type EffectState struct {
	Name string `json:"-"`

	Next    Version   `json:"next"`               // it has run for all changes before this place
	At      time.Time `json:"at"`                 // its last run
	Record  string    `json:"record,omitempty"`   // id of the record that it ran for
	Error   string    `json:"error,omitempty"`    // why it was given up for that
	GivenUp uint64    `json:"given_up,omitempty"` // so many were

	Last Mark `json:"-"`
}

// leaderState is whose term it is. Generation and Member are for people.
type leaderState struct {
	Term       int64  `json:"term"`
	Generation int32  `json:"generation"`
	Member     string `json:"member"`
}

type originState struct {
	Epoch uint64 `json:"epoch"` // milliseconds since 1970
}

// kind is how the state of one sort of key is read.
type kind struct {
	parts int
	// read gives a value its key's parts and its last change.
	read func(parts []string, text json.RawMessage, m Mark) (any, error)
	// public takes out what must be in no copy.
	public func(any) any
}

func kindOf[T any](parts int, set func(v *T, parts []string, m Mark), hide func(*T)) kind {
	return kind{
		parts: parts,
		read: func(parts []string, text json.RawMessage, m Mark) (any, error) {
			var v T
			if len(text) > 0 {
				if err := json.Unmarshal(text, &v); err != nil {
					return nil, err
				}
			}
			set(&v, parts, m)
			return v, nil
		},
		public: func(v any) any {
			t := v.(T)
			if hide != nil {
				hide(&t)
			}
			return t
		},
	}
}

// kinds by name; of locks there are two sorts, told apart by the first part.
var kinds = map[string]kind{
	KindLock + "/" + sortIdentity: kindOf(4, func(v *Lock, p []string, m Mark) { v.Domain, v.User, v.Identity, v.Last = p[1], p[2], p[3], m }, nil),
	KindLock + "/" + sortUser:     kindOf(3, func(v *Lock, p []string, m Mark) { v.Domain, v.User, v.Last = p[1], p[2], m }, nil),
	KindBlock + "/" + sortSender:  kindOf(4, func(v *Block, p []string, m Mark) { v.Domain, v.User, v.Sender, v.Last = p[1], p[2], p[3], m }, nil),
	KindOutgoingUser:              kindOf(2, func(v *OutgoingUser, p []string, m Mark) { v.Domain, v.User, v.Last = p[0], p[1], m }, nil),
	KindUser:                      kindOf(1, func(v *User, p []string, m Mark) { v.Name, v.Last = p[0], m }, func(v *User) { v.Password = "" }),
	KindToken:                     kindOf(1, func(v *Token, p []string, m Mark) { v.ID, v.Last = p[0], m }, func(v *Token) { v.Hash = "" }),
	KindSchedule:                  kindOf(3, func(v *Schedule, p []string, m Mark) { v.Report, v.Domain, v.User, v.Last = p[0], p[1], p[2], m }, nil),
	KindSent: kindOf(4, func(v *Sent, p []string, m Mark) {
		v.Report, v.Domain, v.User, v.Period, v.Last = p[0], p[1], p[2], p[3], m
	}, nil),
	KindFired:  kindOf(2, func(v *Fired, p []string, m Mark) { v.Rule, v.Subject, v.Last = p[0], p[1], m }, nil),
	KindEffect: kindOf(1, func(v *EffectState, p []string, m Mark) { v.Name, v.Last = p[0], m }, nil),
	kindLeader: kindOf(0, func(*leaderState, []string, Mark) {}, nil),
	kindOrigin: kindOf(0, func(*originState, []string, Mark) {}, nil),
}

// lookUp finds how a key's state is read; ok is false for a kind of a newer version.
func lookUp(name string, parts []string) (kind, bool) {
	k, ok := kinds[name]
	if !ok && len(parts) > 0 {
		k, ok = kinds[name+"/"+parts[0]]
	}
	return k, ok && len(parts) == k.parts
}
