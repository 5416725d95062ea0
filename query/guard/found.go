package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/query/lock"
	"millrace/query/state"
)

// MessageRef names a message, or one of its recipients.
type MessageRef struct {
	ID        string
	Recipient string // empty: all
}

// FoundMessage is an outgoing message with what a lock of who sent it would be of.
type FoundMessage struct {
	MessageRef
	Sender string
	Target lock.Target // without an identification method the error of lock.Lock says how to set one
}

// NoTargetError is that nobody can be locked for a message.
type NoTargetError struct {
	ID, Why string
}

func (e *NoTargetError) Error() string {
	return fmt.Sprintf("cannot lock for message %q: %s", e.ID, e.Why)
}

const foundSQL = `SELECT id, recipient, domain, auth_user, sender, identity, direction, has_message
FROM messages
WHERE id IN ({ids:Array(String)})
ORDER BY ALL`

// FindMessages finds messages and says whom a lock for each would be of: the identity as its
// outgoing user's identification method tells it. scope is what the one who asks may see;
// nil: all. A message that is not there or was not sent by one of ours is a NoTargetError.
func FindMessages(ctx context.Context, o query.Options, s *state.Snapshot, refs []MessageRef, scope *query.Scope) ([]FoundMessage, error) {
	var ids []string
	for _, ref := range refs {
		ids = append(ids, ref.ID)
	}
	sql, parameters := foundSQL, map[string]string{"ids": sqltext.Array(slices.Compact(slices.Sorted(slices.Values(ids))))}
	if scope != nil {
		sql = query.Scoped(sql, scope.Relations)
		maps.Copy(parameters, scope.Parameters)
	}
	var out bytes.Buffer
	if _, err := query.RunStatement(ctx, o, query.Statement{SQL: sql, Parameters: parameters}, query.Output{To: &out, Format: query.JSON}); err != nil {
		return nil, fmt.Errorf("cannot look for messages: %w", err)
	}
	rows := map[string][]foundRow{}
	for d := json.NewDecoder(&out); d.More(); {
		var r foundRow
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("cannot read messages: %w", err)
		}
		rows[r.ID] = append(rows[r.ID], r)
	}
	var all []FoundMessage
	for _, ref := range refs {
		mine := slices.DeleteFunc(slices.Clone(rows[ref.ID]), func(r foundRow) bool { return ref.Recipient != "" && !strings.EqualFold(r.Recipient, ref.Recipient) })
		if len(mine) == 0 {
			why := "there is none, or nothing of it came here"
			if len(rows[ref.ID]) > 0 {
				why = fmt.Sprintf("it has no recipient %q", ref.Recipient)
			}
			return nil, &NoTargetError{ref.ID, why}
		}
		for _, r := range mine {
			target, why := r.target(s)
			if why != "" {
				return nil, &NoTargetError{ref.ID, why}
			}
			all = append(all, FoundMessage{MessageRef{r.ID, r.Recipient}, r.Sender, target})
		}
	}
	return all, nil
}

type foundRow struct {
	ID         string `json:"id"`
	Recipient  string `json:"recipient"`
	Domain     string `json:"domain"`
	AuthUser   string `json:"auth_user"`
	Sender     string `json:"sender"`
	Identity   string `json:"identity"`
	Direction  string `json:"direction"`
	HasMessage int    `json:"has_message"`
}

func (r foundRow) target(s *state.Snapshot) (t lock.Target, why string) {
	switch {
	case r.HasMessage == 0:
		return t, "only statuses of it came, which do not say who sent it"
	case r.Direction != "outgoing":
		return t, "its direction is " + r.Direction + ", and a lock is of who sends outgoing mail"
	}
	t, set, _ := lock.Outgoing(s, r.Domain, r.AuthUser)
	if t.Domain == "" {
		return t, fmt.Sprintf("its domain %q is none", r.Domain)
	}
	method := set.Identification
	if method == "" {
		method = state.ByHeader
		if r.Identity == "" {
			method = state.BySender
		}
	}
	if t.Identity = lock.IdentityOf(method, r.Sender, r.AuthUser, r.Identity); t.Identity == "" {
		return t, fmt.Sprintf("it names no identity: those of %s/%s are told by %s; lock the outgoing user", t.Domain, t.User, method)
	}
	return t, ""
}
