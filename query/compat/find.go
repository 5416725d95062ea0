package compat

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/query"
	"millrace/query/search"
	"millrace/schema"
)

// rules are the arguments that choose messages by what they are.
var rules = map[string]string{
	"sender": "sender", "recipient": "recipient", "sender_host": "sender_host", "sender_ip": "sender_ip", "id": "id", "message_id": "id",
	"subject_header": "subject_header", "from_header": "from_header", "to_header": "to_header", "cc_header": "cc_header", "helo": "helo",
	"username": "auth_user", "auth_user": "auth_user", "identity": "identity", "filtering_host": "filtering_host", "main_class": "main_class",
	"sub_class": "sub_class", "extra_class": "extra_class", "delivery_fqdn": "delivery_fqdn", "delivery_ip": "delivery_ip",
}

var findArguments = func() []string {
	all := []string{"domain", "from_date", "to_date", "predicate", "partial", "classification", "status", "include_in_progress"}
	for name := range rules {
		all = append(all, name)
	}
	slices.Sort(all[8:])
	return all
}()

// column is how a column of the API is made of one of the view messages.
type column struct {
	of    string
	write func(value string) string // nil: as it is
}

var columns = map[string]column{
	"datestamp":            {"id_time", epoch},
	"date":                 {"id_time", nil},
	"timestamp":            {"id_time", epoch},
	"message_id":           {"id", nil},
	"username":             {"auth_user", nil},
	"classification":       {"class_norm", nil},
	"delivery_date":        {"delivery_date", epoch},
	"status":               {"status", nil},
	"message_size":         {"incoming_size", nil},
	"destination_host":     {"delivery_fqdn", nil},
	"classification_class": {"class_group", nil},
}

// usual are the columns where none are named.
var usual = []string{"datestamp", "filtering_host", "id", "sender", "recipient", "domain", "status", "classification", "sender_ip", "subject_header"}

// epoch writes a time as seconds since 1970, none as 0.
func epoch(value string) string {
	t, err := time.Parse("2006-01-02 15:04:05.999", value)
	if err != nil || t.Unix() < 0 {
		return "0"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// query is the search that the arguments ask for.
func (c *call) query(outgoing bool) (search.Query, error) {
	q := search.Query{Ascending: true}
	// What has no direction is not outgoing; else no call would find it.
	all := []search.Rule{{Field: "direction", Op: search.Is, Values: []string{"outgoing"}, Not: !outgoing}}
	if d := c.args.Get("domain"); d != "" {
		all = append(all, search.Rule{Field: "domain", Op: search.Is, Values: []string{d}})
	}
	for name, at := range map[string]*time.Time{"from_date": &q.From, "to_date": &q.Until} {
		text := c.args.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > schema.MaxSeconds {
			return q, wrongf(http.StatusBadRequest, "%s=%q: want seconds since 1970", name, text)
		}
		if *at = time.Unix(n, 0); name == "to_date" {
			*at = at.Add(time.Second) // that second is in it
		}
	}
	switch strings.ToLower(c.args.Get("include_in_progress")) {
	case "", "true", "1":
	case "false", "0":
		all = append(all, search.Rule{Field: "has_message", Op: search.Is, Values: []string{"1"}})
	default:
		return q, wrongf(http.StatusBadRequest, "include_in_progress=%q: want True or False", c.args.Get("include_in_progress"))
	}
	chosen, err := c.chosen()
	if err != nil {
		return q, err
	}
	switch strings.ToLower(c.args.Get("predicate")) {
	case "", "and":
		all = append(all, chosen...)
	case "or":
		if len(chosen) > 0 {
			all = append(all, search.Rule{Any: chosen})
		}
	default:
		return q, wrongf(http.StatusBadRequest, "predicate=%q: want and or or", c.args.Get("predicate"))
	}
	q.Where = search.Rule{All: all}
	return q, nil
}

// chosen are the rules that the predicate joins.
func (c *call) chosen() ([]search.Rule, error) {
	op := search.Is
	switch strings.ToLower(c.args.Get("partial")) {
	case "", "false", "0":
	case "true", "1":
		op = search.Contains
	default:
		return nil, wrongf(http.StatusBadRequest, "partial=%q: want True or False", c.args.Get("partial"))
	}
	var all []search.Rule
	for _, name := range findArguments {
		field, isRule := rules[name]
		v := c.args.Get(name)
		if !isRule || v == "" {
			continue
		}
		r := search.Rule{Field: field, Op: op, Values: []string{v}}
		if strings.HasSuffix(field, "_ip") {
			r.Op = search.Is
			if strings.Contains(v, "/") {
				r.Op = search.InNetwork
			}
		}
		all = append(all, r)
	}
	if words := list(c.args.Get("classification")); len(words) > 0 {
		var classes, groups []string
		for _, w := range words {
			word := schema.NormalWord(w)
			if slices.Contains(schema.ClassGroups, word) {
				groups = append(groups, word)
				continue
			}
			if known := c.o.Classes.Lookup([]byte(word)); known != nil {
				word = string(known)
			}
			classes = append(classes, word)
		}
		r := search.Rule{Any: []search.Rule{}}
		if len(classes) > 0 {
			r.Any = append(r.Any, search.Rule{Field: "class_norm", Op: search.OneOf, Values: classes})
		}
		if len(groups) > 0 {
			r.Any = append(r.Any, search.Rule{Field: "class_group", Op: search.OneOf, Values: groups})
		}
		all = append(all, r)
	}
	if words := list(c.args.Get("status")); len(words) > 0 {
		for i, w := range words {
			words[i] = schema.NormalWord(w)
		}
		all = append(all, search.Rule{Field: "status_norm", Op: search.OneOf, Values: words})
	}
	return all, nil
}

func list(text string) []string {
	var all []string
	for w := range strings.SplitSeq(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			all = append(all, w)
		}
	}
	return all
}

func (c *call) find(outgoing bool) error {
	q, err := c.query(outgoing)
	if err != nil {
		return err
	}
	names := list(c.args.Get("columns"))
	if len(names) == 0 {
		names = usual
	}
	out := &plain{to: c}
	for _, n := range names {
		col, known := columns[n]
		if !known {
			col.of = n
		}
		q.Columns, out.write = append(q.Columns, col.of), append(out.write, col.write)
	}
	sort := c.args.Get("sort_field")
	if col, known := columns[sort]; known {
		sort = col.of
	}
	for name, at := range map[string]*int{"limit": &q.Limit, "offset": &q.Offset} {
		if text := c.args.Get(name); text != "" {
			if *at, err = strconv.Atoi(text); err != nil || *at < 0 {
				return wrongf(http.StatusBadRequest, "%s=%q: want a number", name, text)
			}
		}
	}
	q.Sort = sort
	if err := c.check(q); err != nil {
		return err
	}
	limits := c.o.Limits
	limits.Time *= 10
	output := query.Output{To: out, Format: query.TSV}
	if q.Limit == 0 && q.Offset == 0 && (sort == "" || sort == "id_time") {
		_, err = search.Export(c.r.Context(), c.o.Query, c.who.Scope(), q, limits, output)
	} else {
		_, err = search.Run(c.r.Context(), c.o.Query, c.who.Scope(), q, limits, output)
	}
	return err
}

// check refuses what cannot be asked, which is the caller's error, before the server is asked.
func (c *call) check(q search.Query) error {
	if _, err := q.Build("millrace", c.who.Scope(), c.o.Now()); err != nil {
		return wrongf(http.StatusBadRequest, "%v", err)
	}
	return nil
}

func (c *call) count(outgoing bool) error {
	q, err := c.query(outgoing)
	if err != nil {
		return err
	}
	if err := c.check(q); err != nil {
		return err
	}
	n, err := search.Count(c.r.Context(), c.o.Query, c.who.Scope(), q, c.o.Limits)
	if err != nil {
		return err
	}
	return c.print(fmt.Sprint(n))
}

// plain makes the API's lines of tab-separated ones.
type plain struct {
	to    *call
	write []func(string) string // by column; nil: as it is
	rest  []byte                // of a line that has not ended
	buf   []byte
}

var _ io.Writer = (*plain)(nil)

func (p *plain) Write(text []byte) (int, error) {
	n := len(text)
	p.buf = p.buf[:0]
	for {
		line, after, whole := bytes.Cut(text, []byte{'\n'})
		if !whole {
			p.rest = append(p.rest, text...)
			break
		}
		if len(p.rest) > 0 {
			p.rest = append(p.rest, line...)
			line = p.rest
		}
		p.line(line)
		p.rest, text = p.rest[:0], after
	}
	if len(p.buf) == 0 {
		return n, nil
	}
	p.to.started = true
	if _, err := p.to.ResponseWriter.Write(p.buf); err != nil {
		return 0, err
	}
	return n, nil
}

// line appends one line: values with commas between them, what would break the line as a blank.
func (p *plain) line(text []byte) {
	for i := 0; ; i++ {
		value, after, more := bytes.Cut(text, []byte{'\t'})
		if i > 0 {
			p.buf = append(p.buf, ',')
		}
		if i < len(p.write) && p.write[i] != nil {
			p.buf = append(p.buf, p.write[i](string(value))...)
		} else {
			p.value(value)
		}
		if !more {
			break
		}
		text = after
	}
	p.buf = append(p.buf, '\n')
}

// value undoes the escapes of the tab-separated form.
func (p *plain) value(v []byte) {
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c == '\\' && i+1 < len(v) {
			if i++; v[i] == '\\' || v[i] == '\'' {
				c = v[i]
			} else {
				c = ' '
			}
		}
		if c < ' ' || c == 0x7f {
			c = ' '
		}
		p.buf = append(p.buf, c)
	}
}
