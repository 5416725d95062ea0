package search

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/internal/sqltext"
	"millrace/query/access"
	"millrace/schema"
)

// Query is one search.
type Query struct {
	Kind      string // messages (default), or a kind's name
	Where     Rule   // the zero Rule is all rows
	Direction string // incoming, outgoing, unknown; empty: all

	// The period, of the relation's Time: From is in it, Until is not. Zero is no bound.
	From, Until time.Time

	Columns   []string // empty: the relation's Shown
	Sort      string   // empty: the relation's Sort
	Ascending bool

	Limit  int    // rows of a page; 0: all
	Offset int    // rows before the page
	After  string // cursor of the page before; instead of Offset

	// Zone is what times are shown in, with its name at the column's; nil: UTC, and columns keep their names.
	Zone *time.Location

	arrived time.Time // rows of events that came in since; zero: all. They have a mark in the hidden columns
}

// Statement is a search as SQL.
type Statement struct {
	SQL        string
	Short      string // the same page, cheaper where it is one of few rows: see [shortRows]; empty: there is no such way
	Parameters map[string]string
	Columns    []string // of the result that are asked for, in order
	Hidden     int      // columns behind them, from which a cursor is made
	Limit      int      // rows of the page; the statement asks for one more, to know whether there are more

	locks string // SQL of the relation of locks, where the column locked is made; its hidden columns are behind the others
	count string // SQL of the number of rows of all pages, as text
	sort  string
	up    bool
	kind  string
}

// Build makes SQL of a search over the tables of a database, as the scope sees them.
func (q Query) Build(database string, scope access.Scope, now time.Time) (Statement, error) {
	if q.Kind == "" {
		q.Kind = Relations()[0].Name
	}
	r, err := RelationByName(q.Kind)
	if err != nil {
		return Statement{}, err
	}
	b := builder{Query: q, w: writer{relation: r, now: now, params: scope.Parameters()}}
	if b.w.params == nil {
		b.w.params = map[string]string{}
	}
	if b.from, err = scope.Relation(database, r.Table); err != nil {
		return Statement{}, fmt.Errorf("cannot search %s: %w", r.Name, err)
	}
	if r.Name == "messages" {
		if b.w.locks, err = scope.Relation(database, schema.Locks.Name); err != nil {
			return Statement{}, err
		}
		if b.events, err = scope.Relation(database, schema.Message.Table); err != nil {
			return Statement{}, err
		}
		// What is seen of a message's statuses is decided with the message.
		if b.statuses, err = access.Everything().Relation(database, schema.Status.Table); err != nil {
			return Statement{}, err
		}
	}
	return b.statement()
}

type builder struct {
	Query
	w        writer
	from     string // SQL of the relation
	events   string // of message_events, for messages
	statuses string // of status_events, likewise
	order    []string
}

func (b *builder) statement() (Statement, error) {
	r := b.w.relation
	if b.Limit < 0 || b.Offset < 0 || b.Limit > MaxPage || b.Offset > MaxPage {
		return Statement{}, fmt.Errorf("cannot search for %d rows after %d: there are %d at most", b.Limit, b.Offset, MaxPage)
	}
	if len(b.Columns) > MaxColumns {
		return Statement{}, fmt.Errorf("cannot show %d columns: there are %d at most", len(b.Columns), MaxColumns)
	}
	s := Statement{Limit: b.Limit, kind: r.Name, sort: b.Sort, up: b.Ascending, Columns: b.Columns}
	if s.sort == "" {
		s.sort = r.Sort
	}
	if len(s.Columns) == 0 {
		s.Columns = r.Shown
	}
	if err := b.sorting(s.sort); err != nil {
		return s, err
	}
	where, candidates, err := b.where()
	if err != nil {
		return s, err
	}
	var selected []string
	for _, c := range s.Columns {
		sql, err := b.column(c)
		if err != nil {
			return s, err
		}
		selected = append(selected, sql)
	}
	for i, c := range b.order {
		selected = append(selected, fmt.Sprintf("toString(%s) AS _cursor%d", schema.QuoteName(c), i))
		s.Hidden++
	}
	if !b.arrived.IsZero() {
		where = append(where, b.since(b.arrived))
		for i, c := range r.mark {
			selected = append(selected, fmt.Sprintf("toString(%s) AS _mark%d", schema.QuoteName(c), i))
			s.Hidden++
		}
	}
	if r.Table == schema.Messages.Name && slices.Contains(s.Columns, lockedColumn) {
		s.locks = b.w.locks
		for i, c := range lockedOf {
			selected = append(selected, fmt.Sprintf("toString(%s) AS _locked%d", schema.QuoteName(c), i))
		}
	}
	page, err := b.page(s)
	if err != nil {
		return s, err
	}
	from := b.from
	s.count = fmt.Sprintf("SELECT toString(count()) FROM %s%s", from, and(slices.Concat(where, candidates)))
	all := slices.Concat(where, candidates, page.after)
	s.SQL = fmt.Sprintf("SELECT %s FROM %s%s%s", strings.Join(selected, ", "), from, and(all), page.order)
	if r.Name == "messages" && b.Limit > 0 && !b.Where.NamesID() {
		if len(candidates) == 0 && b.Limit <= shortPage {
			s.Short = s.SQL
		}
		// The columns that are shown are read for the rows of the page alone, and candidates are
		// sought for the page alone.
		const keys = "(domain, id_time, id, recipient, filtering_host, event_key)"
		where = append(where, fmt.Sprintf("%s IN (SELECT %s FROM %s%s%s)", keys, strings.Trim(keys, "()"), from, and(all), page.order))
		s.SQL = fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s", strings.Join(selected, ", "), from, and(where), b.orderBy())
	}
	s.Parameters = b.w.params
	return s, nil
}

func and(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// since is the condition of rows with an event that came in since then.
func (b *builder) since(t time.Time) string {
	arrived := "received_at >= " + b.w.instant(t)
	if b.w.relation.Name != "messages" {
		return arrived
	}
	const keys = "domain, id_time, id, recipient"
	return fmt.Sprintf("(%s) IN (SELECT %[1]s FROM %s WHERE %s UNION ALL SELECT %[1]s FROM %[4]s WHERE %[3]s)", keys, b.events, arrived, b.statuses)
}

// column is SQL for a column that is shown.
func (b *builder) column(name string) (string, error) {
	f, err := b.w.find(name)
	if err != nil {
		return "", fmt.Errorf("cannot show column %q: %w", name, err)
	}
	if f.class == mapping {
		return fmt.Sprintf("%s[%s] AS %s", f.sql, b.w.text(f.name), schema.QuoteName(name)), nil
	}
	if name == lockedColumn && b.w.relation.Table == schema.Messages.Name {
		return "'' AS " + lockedColumn, nil
	}
	if b.Zone == nil || f.class != instants {
		return f.sql, nil
	}
	zone := b.Zone.String()
	return fmt.Sprintf("toTimeZone(%s, %s) AS %s", f.sql, b.w.text(zone), schema.QuoteName(name+" ("+zone+")")), nil
}

// where are the conditions that choose the rows, and those that narrow down what they are
// looked for in.
func (b *builder) where() (all, candidates []string, err error) {
	r := b.w.relation
	for i, t := range []time.Time{b.From, b.Until} {
		if !t.IsZero() {
			all = append(all, r.Time+[]string{" >= ", " < "}[i]+b.moment(t))
		}
	}
	switch b.Direction {
	case "":
	case "incoming", "outgoing", "unknown":
		all = append(all, "direction = "+b.w.text(b.Direction))
	default:
		return nil, nil, fmt.Errorf("cannot search the direction %q: want incoming, outgoing or unknown", b.Direction)
	}
	if b.Where.zero() {
		return all, nil, nil
	}
	sql, err := b.w.rule(b.Where, 0)
	if err != nil {
		return nil, nil, err
	}
	if first, last, ok := b.Where.seconds(); ok && b.w.relation.Time == "id_time" {
		all = append(all, "id_time >= "+b.moment(first), "id_time <= "+b.moment(last))
	}
	candidates, err = b.candidates(all)
	return append(all, sql), candidates, err
}

// moment is a bound of the period, of the type of the column that it is compared with, so
// that the primary key is used. A bound between two seconds is one of seconds for id_time.
func (b *builder) moment(t time.Time) string {
	f, err := b.w.find(b.w.relation.Time)
	if err == nil && f.typ == schema.Seconds {
		up := t.Add(time.Second - time.Nanosecond).Unix()
		return b.w.value("DateTime('UTC')", time.Unix(min(max(up, 0), schema.MaxSeconds), 0).UTC().Format(time.DateTime))
	}
	return b.w.instant(t)
}

// candidates narrow messages down by what single events of them say, before the state of any
// is put together: by the fields of message events, where no message without such an event can
// fulfil the condition, and by those together with the key, which statuses have as well.
func (b *builder) candidates(period []string) ([]string, error) {
	if b.w.relation.Name != "messages" {
		return nil, nil
	}
	parts := []Rule{b.Where}
	if len(b.Where.All) > 0 && !b.Where.Not {
		parts = b.Where.All
	}
	var events, statuses []string
	narrow, withoutEvent := false, true
	add := func(to *[]string, r Rule) error {
		sql, err := b.w.rule(r, 0)
		*to = append(*to, sql)
		return err
	}
	for _, p := range parts {
		var err error
		switch ofKey, some := keyAlone(p); {
		case each(p, isKey):
			// The domain and the rest of the key narrow the events down as well.
			err = errors.Join(add(&events, p), add(&statuses, p))
		case each(p, isOfEvent) && !holdsForNothing(p):
			narrow, withoutEvent = true, false
			err = add(&events, p)
		case mixed(p):
			narrow = true
			if err = add(&events, p); err == nil && some {
				err = add(&statuses, ofKey)
			}
			withoutEvent = withoutEvent && some
		}
		if err != nil {
			return nil, err
		}
	}
	if !narrow {
		return nil, nil
	}
	for _, p := range period {
		if strings.HasPrefix(p, "id_time ") {
			events, statuses = append(events, p), append(statuses, p)
		}
	}
	const keys = "domain, id_time, id, recipient"
	sql := fmt.Sprintf("SELECT %s FROM %s%s", keys, b.events, and(events))
	if withoutEvent {
		sql += fmt.Sprintf(" UNION ALL SELECT %s FROM %s%s", keys, b.statuses, and(statuses))
	}
	return []string{fmt.Sprintf("(%s) IN (%s)", keys, sql)}, nil
}

func isKey(c Rule) bool     { return slices.Contains(keyFields, c.Field) }
func isOfEvent(c Rule) bool { return slices.Contains(eventFields, c.Field) }

// mixed tells whether a rule is one of fields of message events and of the key, without an
// opposite, and such that fields of a message event fulfil nothing where there is none.
func mixed(r Rule) bool {
	if r.Not || r.Field != "" && !isKey(r) && (!isOfEvent(r) || holdsForNothing(r)) {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(r.All, r.Any), func(p Rule) bool { return !mixed(p) })
}

// keyAlone is what is left of a mixed rule where there is no message event; some is false when
// nothing fulfils that.
func keyAlone(r Rule) (left Rule, some bool) {
	if r.Field != "" {
		return r, isKey(r)
	}
	for _, p := range r.All {
		k, ok := keyAlone(p)
		if !ok {
			return Rule{}, false
		}
		left.All = append(left.All, k)
	}
	for _, p := range r.Any {
		if k, ok := keyAlone(p); ok {
			left.Any = append(left.Any, k)
		}
	}
	return left, len(left.All) > 0 || len(left.Any) > 0
}

// keyFields are of messages the columns that their events are put together by.
var keyFields = []string{"domain", "id", "recipient"}

// eventFields are of messages the columns that a message event alone says.
var eventFields = func() []string {
	var all []string
	for _, f := range schema.Message.Fields[schema.CommonFields:] {
		if !slices.Contains([]string{"id", "filtering_host", "domain", "recipient", "timestamp", "status", "status_norm"}, f.Name) {
			all = append(all, f.Name)
		}
	}
	return all
}()

// sorting checks what the rows are sorted by.
func (b *builder) sorting(by string) error {
	f, err := b.w.find(by)
	if err != nil {
		return fmt.Errorf("cannot sort by %q: %w", by, err)
	}
	if f.array || f.class == mapping || by == lockedColumn {
		return fmt.Errorf("cannot sort by %q: it has several values", by)
	}
	b.order = []string{by}
	for _, k := range slices.Concat([]string{b.w.relation.Sort}, b.w.relation.Key) {
		if !slices.Contains(b.order, k) {
			b.order = append(b.order, k)
		}
	}
	return nil
}

func (b *builder) orderBy() string {
	var all []string
	for _, c := range b.order {
		c = schema.QuoteName(c)
		if !b.Ascending {
			c += " DESC"
		}
		all = append(all, c)
	}
	return strings.Join(all, ", ")
}

type page struct {
	after []string // conditions
	order string   // ORDER BY and LIMIT
}

func (b *builder) page(s Statement) (page, error) {
	p := page{order: " ORDER BY " + b.orderBy()}
	if b.After != "" {
		if b.Offset > 0 {
			return p, fmt.Errorf("cannot search: a page is by number or by cursor, not by both")
		}
		values, err := readCursor(b.After, s)
		if err != nil {
			return p, err
		}
		if len(values) != len(b.order) {
			return p, errCursor(b.After)
		}
		var columns, bounds []string
		for i, c := range b.order {
			f, err := b.w.find(c)
			if err != nil {
				return p, err
			}
			columns = append(columns, schema.QuoteName(c))
			v := values[i]
			typ := plainType(f.typ)
			if typ == "String" {
				v = sqltext.String(v)
			}
			bounds = append(bounds, b.w.value(typ, v))
		}
		op := " < "
		if b.Ascending {
			op = " > "
		}
		p.after = []string{
			"(" + strings.Join(columns, ", ") + ")" + op + "(" + strings.Join(bounds, ", ") + ")",
			columns[0] + strings.TrimRight(op, " ") + "= " + bounds[0], // for the primary key
		}
	}
	if b.Limit > 0 {
		p.order += fmt.Sprintf(" LIMIT %d", b.Limit+1)
	}
	if b.Offset > 0 {
		p.order += fmt.Sprintf(" OFFSET %d", b.Offset)
	}
	return p, nil
}

// plainType is the type of a parameter that a column of the type is compared with.
func plainType(t schema.Type) string {
	switch t {
	case schema.Text, schema.Word, schema.Bytes:
		return "String"
	}
	return t.ClickHouse()
}
