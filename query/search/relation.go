package search

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"millrace/query"
	"millrace/schema"
)

// Relation is what can be searched: the present state of messages, or the events of a kind.
type Relation struct {
	Name    string // messages, or the kind's name
	Table   string
	Time    string   // column that a period is of
	Sort    string   // column that rows are sorted by where nothing is said, latest first
	Key     []string // columns that tell two rows apart, beside Sort
	Shown   []string // columns of a row where nothing is said
	mark    []string // columns that tell two states of a row apart
	columns []schema.Column
}

var place = []string{"k_topic", "k_epoch", "k_part", "k_off"}

// Relations are all, messages first.
func Relations() []Relation {
	all := []Relation{{
		Name: "messages", Table: schema.Messages.Name, Time: "id_time", Sort: "id_time",
		Key:     []string{"id", "recipient", "domain", "filtering_host", "event_key"},
		Shown:   []string{"first_time", "domain", "sender", "recipient", "status_norm", "class_norm", "subject_header", "id", "locked"},
		mark:    []string{"last_time", "status"},
		columns: append(slices.Clone(schema.Messages.Columns), schema.Column{Name: lockedColumn, Type: schema.Text, Doc: "whether its identity or its outgoing user is locked now, and why; empty: no"}),
	}}
	shown := map[string][]string{
		"message":    {"event_time", "domain", "sender", "recipient", "status", "class_norm", "subject_header", "id"},
		"status":     {"event_time", "domain", "recipient", "status", "delivery_fqdn", "delivery_data", "id"},
		"smtp":       {"event_time", "session", "sender", "recipients", "code", "reply", "qp"},
		"delivery":   {"event_time", "sender", "recipient", "outcome", "remote_host", "text"},
		"spamdyke":   {"event_time", "code", "sender", "recipient", "origin_ip", "reason"},
		"line":       {"event_time", "log", "level", "key", "text"},
		"feedback":   {"event_time", "feedback_type", "user_agent", "auth_user", "sender", "source_ip", "subject_header", "id"},
		"quarantine": {"event_time", "folder", "auth_user", "from_header", "to_header", "subject_header", "evidence"},
		"reject":     {"received_at", "listener", "peer_ip", "reason", "detail"},
	}
	for _, k := range schema.Kinds() {
		r := Relation{Name: k.Name, Table: k.Table, Time: "event_time", Sort: "event_time", Key: place, Shown: shown[k.Name], columns: k.Columns()}
		if k == schema.Reject {
			r.Time, r.Sort = "received_at", "received_at"
		}
		if k == schema.Message || k == schema.Status {
			r.Time = "id_time" // on the primary key, and what messages go by
		}
		all = append(all, r)
	}
	return all
}

// RelationByName finds a relation.
func RelationByName(name string) (Relation, error) {
	var names []string
	for _, r := range Relations() {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Relation{}, fmt.Errorf("cannot search %q: there are %s", name, strings.Join(names, ", "))
}

// Columns are the columns, with their types and what they mean.
func (r Relation) Columns() []schema.Column { return slices.Clone(r.columns) }

// Fields are the names that rules, columns and sorting may use.
func (r Relation) Fields() []string {
	var all []string
	for _, c := range r.columns {
		all = append(all, c.Name)
	}
	return all
}

// lockedColumn is one that the view does not have.
const lockedColumn = "locked"

// lockedOf are the columns that it is made of: whose message it is, and what its identity may
// be. A condition on it is of the same, in SQL.
var lockedOf = []string{"domain", "auth_user", "identity", "sender"}

func locked(locks string) string {
	return schema.LockedReasons(locks, "[(domain, auth_user)]", "[identity, sender, auth_user]")
}

// withLocked asks for the locks, where a statement needs them to make the column.
func (s Statement) withLocked(ctx context.Context, o query.Options, limits query.Limits, out *query.Output) (stop func()) {
	if s.locks == "" {
		return func() {}
	}
	locks := query.AskLocks(ctx, o, s.locks, s.Parameters, limits)
	out.Made = &query.Column{Name: lockedColumn, Hidden: len(lockedOf), Text: func(v []string) (string, error) {
		return locks.Reasons([]query.Owner{{Domain: v[0], User: v[1]}}, v[1:]...)
	}}
	return locks.Stop
}

// class is how a column's values compare.
type class int

const (
	texts     class = iota // without regard to case
	exact                  // ids: with it
	domains                // stored in lower case
	addresses              // without regard to case, the domain in both IDNA forms
	numbers
	instants
	ips
	mapping
)

type field struct {
	name  string
	sql   string // the column, or one value of a map
	class class
	array bool
	typ   schema.Type
}

var addressColumns = []string{
	"sender", "recipient", "recipients", "check_recipients", "auth_user", "identity", "auth_sender", "auth_email", "filter_username",
}

func (r Relation) find(name string) (field, error) {
	column, key, keyed := strings.Cut(name, ".")
	i := slices.IndexFunc(r.columns, func(f schema.Column) bool { return f.Name == column })
	if i < 0 {
		return field{}, fmt.Errorf("cannot search %s by %q: it has no such field%s", r.Name, name, r.like(column))
	}
	f := field{name: name, sql: schema.QuoteName(column), typ: r.columns[i].Type}
	switch f.typ {
	case schema.Map:
		f.class = mapping
	case schema.Texts, schema.Names:
		f.array = true
	case schema.UInt8, schema.UInt16, schema.UInt64:
		f.class = numbers
	case schema.Codes:
		f.class, f.array = numbers, true
	case schema.Millis, schema.Seconds:
		f.class = instants
	case schema.IP:
		f.class = ips
	case schema.IPs:
		f.class, f.array = ips, true
	}
	switch {
	case column == "id" || column == "message_id":
		f.class = exact
	case column == "domain" || column == "filter_domain":
		f.class = domains
	case slices.Contains(addressColumns, column):
		f.class = addresses
	}
	if (f.class == mapping) != keyed {
		if keyed {
			return field{}, fmt.Errorf("cannot search %s by %q: %s has no keys", r.Name, name, column)
		}
		return field{}, fmt.Errorf("cannot search %s by %q: name one of its keys, as %s.KEY", r.Name, name, name)
	}
	if keyed {
		f.name = key
	}
	return f, nil
}

// like names fields that may have been meant.
func (r Relation) like(name string) string {
	var near []string
	for _, f := range r.Fields() {
		if name != "" && (strings.Contains(f, name) || strings.Contains(name, f)) {
			near = append(near, f)
		}
	}
	if len(near) == 0 {
		return "; millrace search --kind " + r.Name + " --fields lists them"
	}
	return "; there is " + strings.Join(near, ", ")
}
