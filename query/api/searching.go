package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/query"
	"millrace/query/search"
)

// maxPage bounds a page's rows, and maxAnswer what is held of an answer.
const (
	maxPage   = 1000
	maxAnswer = 64 << 20
)

var (
	kinds = func() (all []string) {
		for _, r := range search.Relations() {
			all = append(all, r.Name)
		}
		return all
	}()
	searchParams = []param{
		{name: "kind", typ: "string", doc: "what is searched; messages by default", words: kinds},
		{name: "q", typ: "string", doc: "rules as text: sender ends @example.com and status_norm is quarantined"},
		{name: "rules", typ: "string", doc: "rules as JSON, the schema Rule; with q both must hold"},
		{name: "domain", typ: "string", doc: "of this domain"},
		{name: "direction", typ: "string", doc: "of this direction; all by default", words: []string{"incoming", "outgoing", "unknown"}},
		{name: "since", typ: "string", doc: "from this time on: RFC 3339, a date, seconds since 1970, or how long ago, as 24h; 24h by default, except for ids"},
		{name: "until", typ: "string", doc: "before this time"},
		{name: "columns", typ: "string", doc: "columns to be displayed, with commas"},
		{name: "order", typ: "string", doc: "desc (default): the latest first", words: []string{"desc", "asc"}},
	}
)

func (s *Server) searching() []endpoint {
	return []endpoint{
		{
			method: "GET", path: "/search", summary: "Search messages or the events of a kind, a page at a time",
			params: append(searchParams[:len(searchParams):len(searchParams)],
				param{name: "sort", typ: "string", doc: "column to sort by; the time by default"},
				param{name: "limit", typ: "integer", doc: fmt.Sprintf("rows of a page, 1 to %d; 50 by default", maxPage)},
				param{name: "after", typ: "string", doc: "cursor: next of the page before"}),
			answer: Page{}, serve: (*request).search,
		},
		{
			method: "GET", path: "/export", summary: "All rows of a search in the order of time, streamed",
			params: append(searchParams[:len(searchParams):len(searchParams)],
				param{name: "format", typ: "string", doc: "csv by default", words: []string{"csv", "tsv", "ndjson"}}),
			formats: []string{"text/csv", "text/tab-separated-values", "application/x-ndjson"}, serve: (*request).export,
		},
		{
			method: "GET", path: "/fields", summary: "The fields of a kind, and what they mean",
			params: []param{{name: "kind", typ: "string", doc: "messages by default", words: kinds}},
			answer: []Field{}, serve: (*request).fields,
		},
		{
			method: "GET", path: "/messages/{id}", summary: "One message: what has become of it for each recipient, and all its events in order",
			answer: Message{}, serve: (*request).message,
		},
	}
}

// Page is a page of rows.
type Page struct {
	Rows []json.RawMessage `json:"rows"`
	Next string            `json:"next,omitempty"` // cursor of the next page; none: this is the last
	Zone string            `json:"zone"`           // of all times
}

// Field is a column that can be searched.
type Field struct {
	Name string `json:"name"`
	Type string `json:"type"` // ClickHouse's
	Doc  string `json:"doc"`
}

// Message is one message's whole life.
type Message struct {
	Recipients []json.RawMessage `json:"recipients"` // rows of the view messages
	Events     []json.RawMessage `json:"events"`     // what happened, in order
}

// query is the search that the parameters ask for.
func (r *request) query() (q search.Query, err error) {
	now := r.s.o.Now()
	q = search.Query{Kind: r.text("kind"), Direction: r.text("direction"), Ascending: r.text("order") == "asc", Sort: r.text("sort"), After: r.text("after")}
	if text := r.text("q"); strings.TrimSpace(text) != "" {
		if q.Where, err = search.Parse(text); err != nil {
			return q, badRequest(err)
		}
	}
	if text := r.text("rules"); text != "" {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		var rule search.Rule
		if err := d.Decode(&rule); err != nil {
			return q, problemf(http.StatusBadRequest, "cannot read rules: %v", err)
		}
		q.Where = search.And(rule, q.Where)
	}
	if domain := r.text("domain"); domain != "" {
		q.Where = search.And(search.Rule{Field: "domain", Op: search.Is, Values: []string{domain}}, q.Where)
	}
	if columns := r.text("columns"); columns != "" {
		q.Columns = strings.Split(columns, ",")
	}
	for name, at := range map[string]*time.Time{"since": &q.From, "until": &q.Until} {
		if text := r.text(name); text != "" {
			if *at, err = query.ParseTime(text, now, time.UTC); err != nil {
				return q, problemf(http.StatusBadRequest, "%s=%q: %v", name, text, err)
			}
		}
	}
	if q.From.IsZero() && q.Until.IsZero() && !q.Where.NamesID() {
		q.From = now.Add(-24 * time.Hour)
	}
	// What cannot be asked is the asker's error, before the server is.
	if _, err := q.Build(r.s.database(), r.who.Scope(), now); err != nil {
		if p, ours := problemOf(err); ours {
			return q, p
		}
		return q, badRequest(err)
	}
	return q, nil
}

func (s *Server) database() string {
	if s.o.Query.Database == "" {
		return "millrace"
	}
	return s.o.Query.Database
}

func (r *request) search() error {
	q, err := r.query()
	if err != nil {
		return err
	}
	if q.Limit, err = r.number("limit", 50, 1, maxPage); err != nil {
		return err
	}
	out := bounded{max: maxAnswer}
	found, err := search.Run(r.Context(), r.s.o.Query, r.who.Scope(), q, r.s.o.Limits, query.Output{To: &out, Format: query.JSON})
	if err != nil {
		return err
	}
	return r.json(Page{Rows: lines(out.Bytes()), Next: found.Next, Zone: "UTC"})
}

// lines are the rows of the format JSON.
func lines(text []byte) []json.RawMessage {
	all := []json.RawMessage{}
	for line := range bytes.Lines(text) {
		all = append(all, json.RawMessage(bytes.TrimRight(line, "\n")))
	}
	return all
}

func (r *request) export() error {
	q, err := r.query()
	if err != nil {
		return err
	}
	if !r.s.exports.TryAcquire(1) {
		r.w.Header().Set("Retry-After", "10")
		return problemf(http.StatusServiceUnavailable, "%d exports are under way already (api.exports)", r.s.o.Exports)
	}
	defer r.s.exports.Release(1)
	out := query.Output{To: r.w}
	contentType, name := "text/csv; charset=utf-8; header=present", "csv"
	switch out.Format = query.CSV; r.text("format") {
	case "tsv":
		out.Format, contentType, name = query.TSV, "text/tab-separated-values; charset=utf-8", "tsv"
	case "ndjson":
		out.Format, contentType, name = query.JSON, "application/x-ndjson", "ndjson"
	}
	h := r.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="millrace-%s.%s"`, r.s.o.Now().UTC().Format("20060102T150405Z"), name))
	limits := r.s.o.Limits
	limits.Time *= 10
	_, err = search.Export(r.Context(), r.s.o.Query, r.who.Scope(), q, limits, out)
	if err != nil {
		h.Del("Content-Disposition")
	}
	return err
}

func (r *request) fields() error {
	kind := r.text("kind")
	if kind == "" {
		kind = kinds[0]
	}
	relation, err := search.RelationByName(kind)
	if err != nil {
		return badRequest(err)
	}
	all := []Field{}
	for _, c := range relation.Columns() {
		all = append(all, Field{c.Name, c.ClickHouse(), c.Doc})
	}
	return r.json(all)
}

func (r *request) message() error {
	var m Message
	id := search.Rule{Field: "id", Op: search.Is, Values: []string{r.PathValue("id")}}
	relation, err := search.RelationByName(kinds[0])
	if err != nil {
		return err
	}
	out := bounded{max: maxAnswer}
	columns := slices.DeleteFunc(relation.Fields(), func(c string) bool { return c == "extra" }) // which has keys
	if _, err := search.Run(r.Context(), r.s.o.Query, r.who.Scope(), search.Query{Where: id, Columns: columns, Limit: maxPage, Ascending: true}, r.s.o.Limits, query.Output{To: &out, Format: query.JSON}); err != nil {
		return err
	}
	if m.Recipients = lines(out.Bytes()); len(m.Recipients) == 0 {
		return problemf(http.StatusNotFound, "there is no message %q, or it is not yours", r.PathValue("id"))
	}
	report, err := query.FindReport("trail_of_id")
	if err != nil {
		return err
	}
	events := bounded{max: maxAnswer}
	if err := r.run(report, map[string]string{"id": r.PathValue("id")}, &events, query.JSON, nil); err != nil {
		return err
	}
	m.Events = lines(events.Bytes())
	return r.json(m)
}
