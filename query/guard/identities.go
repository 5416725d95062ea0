package guard

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"millrace/internal/mailname"
	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/query/lock"
	"millrace/query/state"
	"millrace/schema"
)

// Identity is one that was seen, or is locked.
type Identity struct {
	Domain   string `json:"domain"`
	User     string `json:"user"`
	Identity string `json:"identity"`

	Accepted            uint64    `json:"accepted"`
	Rejected            uint64    `json:"rejected"`
	TemporarilyRejected uint64    `json:"temporarily_rejected"`
	Quarantined         uint64    `json:"quarantined"`
	Other               uint64    `json:"other"` // neither status nor class says
	LastSeen            time.Time `json:"last_seen,omitzero"`

	Locked bool       `json:"locked"`
	Lock   state.Lock `json:"-"` // that holds: its own, or that of all of its user
}

// IdentityQuery is what to list.
type IdentityQuery struct {
	Since, Until time.Time // zero: no bound
	Domain       string    // empty: all
	Limit        int       // those with most messages that were not accepted come first; 0: all

	Scope  *query.Scope // what the one who asks may see; nil: all
	Limits query.Limits
}

const identitiesSQL = `SELECT domain, user, k.1 AS method, k.2 AS name,
    countIf(class_group = 'accepted') AS accepted, countIf(class_group = 'rejected') AS rejected,
    countIf(class_group = 'temporarily-rejected') AS temporarily_rejected, countIf(class_group = 'quarantined') AS quarantined,
    countIf(class_group = '') AS other, toUnixTimestamp64Milli(max(seen)) AS last
FROM
(
    SELECT domain, if(position(auth_user, '@') > 0, lower(auth_user), auth_user) AS user, class_group, first_time AS seen,
        arrayJoin([('sender', lower(sender)), ('auth-user', user), ('header', if(position(identity, '@') > 0, lower(identity), identity))]) AS k
    FROM messages
    WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')} AND has_message AND direction = 'outgoing'
        AND (empty({domains:Array(String)}) OR domain IN ({domains:Array(String)}))
)
WHERE k.2 != ''
GROUP BY domain, user, k`

// FindIdentities lists every identity that was seen in a period, and those that are locked. Which
// of a message's fields is its identity is what its outgoing user's settings say; without
// any it is the identification header.
func FindIdentities(ctx context.Context, o query.Options, s *state.Snapshot, q IdentityQuery, now time.Time) ([]Identity, error) {
	var domains []string
	if q.Domain != "" {
		domains = mailname.Forms(q.Domain)
	}
	until := q.Until
	if until.IsZero() {
		until = time.Unix(schema.MaxSeconds, 0)
	}
	sql, parameters := identitiesSQL, map[string]string{"since": seconds(q.Since), "until": seconds(until), "domains": sqltext.Array(domains)}
	if q.Scope != nil {
		sql = query.Scoped(sql, q.Scope.Relations)
		for k, v := range q.Scope.Parameters {
			parameters[k] = v
		}
	}
	var out bytes.Buffer
	if _, err := query.RunStatement(ctx, o, query.Statement{SQL: sql, Parameters: parameters, Limits: q.Limits}, query.Output{To: &out, Format: query.JSON}); err != nil {
		return nil, fmt.Errorf("cannot ask for identities: %w", err)
	}
	found := map[lock.Target]*Identity{}
	for d := json.NewDecoder(&out); d.More(); {
		var row struct {
			Identity
			Method, Name string
			Last         int64
		}
		if err := d.Decode(&row); err != nil {
			return nil, fmt.Errorf("cannot read identities: %w", err)
		}
		t, settings, _ := lock.Outgoing(s, row.Domain, row.User)
		if cmp.Or(settings.Identification, state.ByHeader) != row.Method {
			continue
		}
		t.Identity = row.Name
		t, err := t.Normal()
		if err != nil {
			continue // of a domain that is none: nothing can be locked there
		}
		i := found[t]
		if i == nil {
			i = &Identity{Domain: t.Domain, User: t.User, Identity: t.Identity}
			found[t] = i
		}
		i.Accepted += row.Accepted
		i.Rejected += row.Rejected
		i.TemporarilyRejected += row.TemporarilyRejected
		i.Quarantined += row.Quarantined
		i.Other += row.Other
		if last := time.UnixMilli(row.Last).UTC(); last.After(i.LastSeen) {
			i.LastSeen = last
		}
	}
	var all []Identity
	for _, i := range found {
		i.Lock, i.Locked = lock.Of(s, i.Domain, i.User, i.Identity, now)
		all = append(all, *i)
	}
	if q.Scope == nil { // who may see what of the others, the messages alone can tell
		for _, l := range lock.List(s, lock.Filter{Domain: q.Domain}, now) {
			t := lock.Target{Domain: l.Domain, User: l.User, Identity: l.Identity}
			if l.Identity != "" && found[t] == nil {
				all = append(all, Identity{Domain: t.Domain, User: t.User, Identity: t.Identity, Locked: true, Lock: l})
			}
		}
	}
	slices.SortFunc(all, func(a, b Identity) int {
		return cmp.Or(cmp.Compare(b.bad(), a.bad()), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.User, b.User), cmp.Compare(a.Identity, b.Identity))
	})
	if q.Limit > 0 && len(all) > q.Limit {
		all = all[:q.Limit]
	}
	return all, nil
}

// seconds is a time as ClickHouse's DateTime has it: it would wrap around.
func seconds(t time.Time) string {
	return time.Unix(min(max(t.Unix(), 0), schema.MaxSeconds), 0).UTC().Format(time.DateTime)
}

func (i *Identity) bad() uint64 { return i.Rejected + i.TemporarilyRejected + i.Quarantined }
