package search

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/internal/eximid"
	"millrace/internal/mailname"
	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/schema"
)

// Op is how a rule compares.
type Op string

// The operators, in the panel's words.
const (
	Is        Op = "is"
	Contains  Op = "contains"
	Starts    Op = "starts"
	Ends      Op = "ends"
	OneOf     Op = "one of"
	InRange   Op = "in range"   // of two values; an empty one is no bound; the upper one is in the range, of times it is not
	InNetwork Op = "in network" // of one or more prefixes (RFC 4632), as 192.0.2.0/24
)

// Ops are all operators.
func Ops() []Op { return []Op{Is, Contains, Starts, Ends, OneOf, InRange, InNetwork} }

// Rule is a condition: a field compared with values, or rules of which all or any hold.
// Of an array field the rule holds when it does for one of the entries.
type Rule struct {
	Field  string   `json:"field,omitempty"`
	Op     Op       `json:"op,omitempty"`
	Values []string `json:"values,omitempty"`

	All []Rule `json:"all,omitempty"`
	Any []Rule `json:"any,omitempty"`

	Not bool `json:"not,omitempty"` // the opposite: is not
}

// And is the rule that holds when both do. The zero Rule holds always.
func And(a, b Rule) Rule {
	switch {
	case a.zero():
		return b
	case b.zero():
		return a
	case len(b.All) > 0 && !b.Not:
		return Rule{All: append([]Rule{a}, b.All...)}
	}
	return Rule{All: []Rule{a, b}}
}

func (r Rule) zero() bool { return r.Field == "" && len(r.All) == 0 && len(r.Any) == 0 }

// NamesID tells whether the rule asks for one message, or some, by id.
func (r Rule) NamesID() bool {
	if r.Not {
		return false
	}
	if r.Field == "id" && (r.Op == Is || r.Op == OneOf) {
		return true
	}
	return slices.ContainsFunc(r.All, Rule.NamesID)
}

// seconds is the time that messages are stored under which the rule can hold for: that of
// their ids, where it names some and all are Exim's.
func (r Rule) seconds() (first, last time.Time, ok bool) {
	if r.Not {
		return first, last, false
	}
	for _, p := range r.All {
		if first, last, ok = p.seconds(); ok {
			return first, last, true
		}
	}
	if r.Field != "id" || r.Op != Is && r.Op != OneOf {
		return first, last, false
	}
	for i, v := range r.Values {
		second, ok := eximid.Second([]byte(v))
		if !ok {
			return first, last, false
		}
		t := time.Unix(int64(second), 0)
		if i == 0 || t.Before(first) {
			first = t
		}
		if i == 0 || t.After(last) {
			last = t
		}
	}
	return first, last, len(r.Values) > 0
}

// Bounds of what a search may ask.
const (
	MaxRules   = 200       // conditions of one search
	MaxValues  = 10_000    // values of one condition
	MaxColumns = 500       // that are shown
	MaxPage    = 1<<31 - 2 // rows of a page, or before it
	maxDepth   = 20        // of rules within rules
)

// writer makes SQL of rules, and gathers the parameters that it names.
type writer struct {
	relation Relation
	locks    string // SQL of the locks
	now      time.Time
	params   map[string]string
	rules    int
}

// find is the relation's field, with SQL for the database.
func (w *writer) find(name string) (field, error) {
	f, err := w.relation.find(name)
	if err == nil && name == lockedColumn && w.relation.Table == schema.Messages.Name {
		f.sql = locked(w.locks)
	}
	return f, err
}

// value adds a parameter and returns SQL for it.
func (w *writer) value(typ, text string) string {
	name := fmt.Sprintf("p%d", len(w.params))
	w.params[name] = text
	return "{" + name + ":" + typ + "}"
}

func (w *writer) text(s string) string    { return w.value("String", sqltext.String(s)) }
func (w *writer) texts(s []string) string { return w.value("Array(String)", sqltext.Array(s)) }
func (w *writer) instant(t time.Time) string {
	return w.value("DateTime64(3, 'UTC')", t.UTC().Format("2006-01-02 15:04:05.000"))
}
func (w *writer) address(a netip.Addr) string {
	return "toIPv6(" + w.text(a.Unmap().WithZone("").String()) + ")"
}

// rule is SQL for a rule.
func (w *writer) rule(r Rule, depth int) (string, error) {
	if depth > maxDepth {
		return "", fmt.Errorf("cannot search: rules within rules, more than %d deep", maxDepth)
	}
	if len(r.All) > 0 || len(r.Any) > 0 {
		if r.Field != "" || len(r.All) > 0 && len(r.Any) > 0 {
			return "", fmt.Errorf("cannot search: a rule has one of field, all and any")
		}
		join, parts := " AND ", r.All
		if len(r.Any) > 0 {
			join, parts = " OR ", r.Any
		}
		var all []string
		for _, p := range parts {
			sql, err := w.rule(p, depth+1)
			if err != nil {
				return "", err
			}
			all = append(all, sql)
		}
		return not(r.Not, "("+strings.Join(all, join)+")"), nil
	}
	if w.rules++; w.rules > MaxRules {
		return "", fmt.Errorf("cannot search by more than %d rules", MaxRules)
	}
	if len(r.Values) > MaxValues {
		return "", fmt.Errorf("cannot search %s by %d values: a rule has %d at most", r.Field, len(r.Values), MaxValues)
	}
	f, err := w.find(r.Field)
	if err != nil {
		return "", err
	}
	if f.class == mapping {
		f.sql += "[" + w.text(f.name) + "]"
	}
	column := f.sql
	if f.array {
		column = "x"
	}
	sql, err := w.compare(f, column, r)
	if err != nil {
		return "", fmt.Errorf("cannot search by %s %s: %w", r.Field, r.Op, err)
	}
	if f.array {
		sql = "arrayExists(x -> " + sql + ", " + f.sql + ")"
	}
	return not(r.Not, sql), nil
}

func not(is bool, sql string) string {
	if is {
		return "NOT " + sql
	}
	return sql
}

func (w *writer) compare(f field, column string, r Rule) (string, error) {
	want := 1
	switch r.Op {
	case OneOf, InNetwork:
		want = max(1, len(r.Values))
	case InRange:
		want = 2
	}
	if len(r.Values) != want {
		return "", fmt.Errorf("it has %d values, want %d", len(r.Values), want)
	}
	switch f.class {
	case numbers:
		return w.compareNumber(f, column, r)
	case instants:
		return w.compareInstant(column, r)
	case ips:
		return w.compareIP(column, r)
	}
	return w.compareText(f, column, r)
}

func (w *writer) compareText(f field, column string, r Rule) (string, error) {
	lower := "lowerUTF8(" + column + ")"
	if f.class == exact || f.class == domains {
		lower = column
	}
	v := func() string {
		if f.class == exact {
			return w.text(r.Values[0])
		}
		return "lowerUTF8(" + w.text(r.Values[0]) + ")"
	}
	if (r.Op == Contains || r.Op == Starts || r.Op == Ends) && r.Values[0] == "" {
		return "", fmt.Errorf("it needs a value")
	}
	switch r.Op {
	case Is, OneOf:
		var all []string
		for _, x := range r.Values {
			switch f.class {
			case exact:
				all = append(all, x)
			case domains:
				all = append(all, mailname.Forms(x)...)
			case addresses:
				all = append(all, mailname.AddressForms(x)...)
			default:
				all = append(all, strings.ToLower(x))
			}
		}
		if len(all) == 1 {
			return "(" + lower + " = " + w.text(all[0]) + ")", nil
		}
		return "(" + lower + " IN " + w.texts(all) + ")", nil
	case Contains:
		return "(position(" + lower + ", " + v() + ") > 0)", nil
	case Starts:
		return "startsWith(" + lower + ", " + v() + ")", nil
	case Ends:
		return "endsWith(" + lower + ", " + v() + ")", nil
	}
	return "", fmt.Errorf("a text does not compare so: use is, contains, starts, ends or one of")
}

func (w *writer) compareNumber(f field, column string, r Rule) (string, error) {
	parse := func(s string) (string, error) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return "", fmt.Errorf("value %q: want a number from 0 to %d", s, uint64(math.MaxUint64))
		}
		return w.value("UInt64", strconv.FormatUint(n, 10)), nil
	}
	switch r.Op {
	case Is, OneOf:
		var all []string
		for _, x := range r.Values {
			v, err := parse(x)
			if err != nil {
				return "", err
			}
			all = append(all, v)
		}
		return "(" + column + " IN (" + strings.Join(all, ", ") + "))", nil
	case InRange:
		return between(column, r.Values, "<=", parse)
	}
	return "", fmt.Errorf("a number does not compare so: use is, one of or in range")
}

func (w *writer) compareInstant(column string, r Rule) (string, error) {
	if r.Op != InRange {
		return "", fmt.Errorf("a time does not compare so: use in range")
	}
	return between(column, r.Values, "<", func(s string) (string, error) {
		t, err := query.ParseTime(s, w.now, time.UTC)
		if err != nil {
			return "", fmt.Errorf("value %q: %w", s, err)
		}
		return w.instant(t), nil
	})
}

func between(column string, values []string, upper string, parse func(string) (string, error)) (string, error) {
	var all []string
	for i, op := range []string{">=", upper} {
		if values[i] == "" {
			continue
		}
		v, err := parse(values[i])
		if err != nil {
			return "", err
		}
		all = append(all, column+" "+op+" "+v)
	}
	if len(all) == 0 {
		return "", fmt.Errorf("both ends of the range are empty")
	}
	return "(" + strings.Join(all, " AND ") + ")", nil
}

func (w *writer) compareIP(column string, r Rule) (string, error) {
	var all []string
	for i, x := range r.Values {
		switch r.Op {
		case Is, OneOf:
			if x == "" { // none is known
				all = append(all, column+" = toIPv6('::')")
				continue
			}
			a, err := netip.ParseAddr(x)
			if err != nil {
				return "", fmt.Errorf("value %q: want an address, as 192.0.2.1 or 2001:db8::1", x)
			}
			all = append(all, column+" = "+w.address(a))
		case InNetwork:
			p, err := netip.ParsePrefix(x)
			if err != nil {
				return "", fmt.Errorf("value %q: want a network, as 192.0.2.0/24 or 2001:db8::/32", x)
			}
			first, last := bounds(p)
			all = append(all, column+" BETWEEN "+w.address(first)+" AND "+w.address(last))
		case InRange:
			if x == "" {
				continue
			}
			a, err := netip.ParseAddr(x)
			if err != nil {
				return "", fmt.Errorf("value %q: want an address, as 192.0.2.1 or 2001:db8::1", x)
			}
			all = append(all, column+[]string{" >= ", " <= "}[i]+w.address(a))
		default:
			return "", fmt.Errorf("an address does not compare so: use is, one of, in network or in range")
		}
	}
	if r.Op == InRange {
		if len(all) == 0 {
			return "", fmt.Errorf("both ends of the range are empty")
		}
		return "(" + strings.Join(all, " AND ") + ")", nil
	}
	return "(" + strings.Join(all, " OR ") + ")", nil
}

// bounds are the first and the last address of a network.
func bounds(p netip.Prefix) (first, last netip.Addr) {
	p = p.Masked()
	b := p.Addr().AsSlice()
	for i := range b {
		if keep := p.Bits() - 8*i; keep <= 0 {
			b[i] = 0xff
		} else if keep < 8 {
			b[i] |= 0xff >> keep
		}
	}
	last, _ = netip.AddrFromSlice(b)
	return p.Addr(), last
}

// holdsForNothing tells whether a rule may hold for a row in which no field has a value.
func holdsForNothing(r Rule) bool {
	holds := false
	switch {
	case len(r.All) > 0:
		holds = !slices.ContainsFunc(r.All, func(p Rule) bool { return !holdsForNothing(p) })
	case len(r.Any) > 0:
		holds = slices.ContainsFunc(r.Any, holdsForNothing)
	case r.Op == Is || r.Op == OneOf:
		holds = slices.ContainsFunc(r.Values, func(v string) bool { return v == "" || v == "::" || strings.Trim(v, "0") == "" })
	case r.Op == InRange || r.Op == InNetwork:
		return true // it may: nobody looks so for what is not there
	}
	return holds != r.Not
}

// each calls f for the conditions of a rule, until it returns false.
func each(r Rule, f func(Rule) bool) bool {
	for _, p := range slices.Concat(r.All, r.Any) {
		if !each(p, f) {
			return false
		}
	}
	return r.Field == "" || f(r)
}
