package api

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"millrace/query"
	"millrace/query/access"
)

func (s *Server) reporting() []endpoint {
	return []endpoint{
		{
			method: "GET", path: "/reports", summary: "The reports that there are, with their parameters",
			answer: []Report{}, serve: (*request).reports,
		},
		{
			method: "GET", path: "/reports/{name}", summary: "A report's answer; beside format, the parameters are the report's own",
			params: []param{{name: "format", typ: "string", doc: "json by default", words: []string{"json", "csv", "tsv"}}},
			more:   true, answer: Answer{}, formats: []string{"text/csv", "text/tab-separated-values"}, serve: (*request).report,
		},
		{
			method: "GET", path: "/classes", summary: "The words for classes: group, meaning and advice",
			answer: Page{}, serve: (*request).classes,
		},
	}
}

// Report is a question with a name.
type Report struct {
	Name        string      `json:"name"`
	Title       string      `json:"title"`
	Description string      `json:"description,omitempty"`
	Own         bool        `json:"own"` // the operator's, from reports.dir
	Parameters  []Parameter `json:"parameters"`
}

// Parameter is one of a report's.
type Parameter struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"` // ClickHouse's
	Default string   `json:"default"`
	Doc     string   `json:"doc"`
	Choices []string `json:"choices,omitempty"`
}

// Answer is what a report says.
type Answer struct {
	Report string            `json:"report"`
	Rows   []json.RawMessage `json:"rows"`
	Since  time.Time         `json:"since,omitzero"`
	Until  time.Time         `json:"until,omitzero"`
	Zone   string            `json:"zone"`  // of the times that are asked for
	Notes  []string          `json:"notes"` // what the rows do not say
}

func (r *request) reports() error {
	all := []Report{}
	for _, q := range r.s.o.Reports {
		one := Report{Name: q.Name, Title: q.Title, Description: q.Description, Own: q.File != "", Parameters: []Parameter{}}
		for _, p := range q.Parameters {
			one.Parameters = append(one.Parameters, Parameter{p.Name, p.Type, p.Default, p.Doc, p.Choices})
		}
		all = append(all, one)
	}
	return r.json(all)
}

func (r *request) report() error {
	report, err := query.FindIn(r.s.o.Reports, r.PathValue("name"))
	if err != nil {
		return problemf(http.StatusNotFound, "%v", err)
	}
	given := map[string]string{}
	for name, values := range r.args {
		if name != "format" {
			given[name] = values[0]
		}
	}
	a := Answer{Report: report.Name, Notes: []string{}}
	out := bounded{max: maxAnswer}
	format, contentType := query.JSON, ""
	switch r.text("format") {
	case "csv":
		format, contentType = query.CSV, "text/csv; charset=utf-8; header=present"
	case "tsv":
		format, contentType = query.TSV, "text/tab-separated-values; charset=utf-8"
	}
	if err := r.run(report, given, &out, format, &a); err != nil {
		return err
	}
	if contentType != "" {
		return r.whole(contentType, out.Bytes())
	}
	a.Rows = lines(out.Bytes())
	return r.json(a)
}

// run asks a report within the asker's scope and writes its rows. about, if not nil, is told
// the period and the notes.
func (r *request) run(report query.Report, given map[string]string, w io.Writer, f query.Format, about *Answer) error {
	asked, err := report.Ask(given, r.s.o.Now())
	if err != nil {
		return badRequest(err)
	}
	asked.Limits = r.s.o.Limits
	if r.who.Role != access.Admin {
		if err := asked.CheckScoped(r.Context(), r.s.o.Query, access.Relations()); err != nil {
			return problemf(http.StatusForbidden, "the report %s is the admins' alone: %v", report.Name, err)
		}
		if asked.Scope, err = r.who.Scope().Narrow(r.s.database()); err != nil {
			return err
		}
	}
	if _, err := asked.Run(r.Context(), r.s.o.Query, w, f); err != nil {
		return err
	}
	if about == nil {
		return nil
	}
	if about.Since, about.Until, _ = asked.Period(); asked.Zone != nil {
		about.Zone = asked.Zone.String()
	}
	notes, err := asked.Notes(r.Context(), r.s.o.Query)
	if err != nil {
		return err
	}
	about.Notes = append(about.Notes, notes...)
	return nil
}

func (r *request) classes() error {
	out := bounded{max: maxAnswer}
	st := query.Statement{SQL: "SELECT word, class, `group`, meaning, advice, own FROM classes ORDER BY class, word", Limits: r.s.o.Limits}
	if _, err := query.RunStatement(r.Context(), r.s.o.Query, st, query.Output{To: &out, Format: query.JSON}); err != nil {
		return err
	}
	return r.json(Page{Rows: lines(out.Bytes()), Zone: "UTC"})
}
