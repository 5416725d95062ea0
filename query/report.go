package query

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

//go:embed reports/*.sql
var reportFiles embed.FS

// Report is a question with a name.
//
// Its file begins with comment lines:
//
//	-- title: Top senders
//	-- param: hours UInt32 = 24 | how far back, in hours
type Report struct {
	Name       string // the file's name without .sql
	Title      string
	Parameters []Parameter
	SQL        string
}

// Parameter is one {name:Type} of a report.
type Parameter struct{ Name, Type, Default, Doc string }

var reports = mustReadReports(reportFiles)

// mustReadReports reads what is compiled in: that it reads is a test's matter.
func mustReadReports(files fs.FS) []Report {
	list, err := readReports(files)
	if err != nil {
		panic(err)
	}
	return list
}

func readReports(files fs.FS) ([]Report, error) {
	names, err := fs.Glob(files, "reports/*.sql")
	if err != nil {
		return nil, err
	}
	var list []Report
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		short := strings.TrimSuffix(strings.TrimPrefix(name, "reports/"), ".sql")
		r, err := parseReport(short, string(text))
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// Reports returns all reports by name.
func Reports() []Report { return slices.Clone(reports) }

// FindReport returns the report called name.
func FindReport(name string) (Report, error) {
	var names []string
	for _, r := range reports {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Report{}, fmt.Errorf("cannot find the report %q: there are %s", name, strings.Join(names, ", "))
}

var (
	paramLine = regexp.MustCompile(`^(\w+) ([\w(), ']+?) =(?: (.*?))?(?: \| (.*))?$`)
	paramUse  = regexp.MustCompile(`\{(\w+):([\w(), ']+)\}`)
)

func parseReport(name, text string) (Report, error) {
	r := Report{Name: name}
	rest := text
	for {
		line, after, _ := strings.Cut(rest, "\n")
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "--") {
			break
		}
		rest = after
		key, value, ok := strings.Cut(strings.TrimSpace(line[2:]), ":")
		value = strings.TrimSpace(value)
		switch {
		case ok && key == "title":
			r.Title = value
		case ok && key == "param":
			m := paramLine.FindStringSubmatch(value)
			if m == nil {
				return r, fmt.Errorf("cannot read report %s: line %q: want -- param: NAME TYPE = DEFAULT | DOC", name, line)
			}
			r.Parameters = append(r.Parameters, Parameter{m[1], m[2], m[3], m[4]})
		}
	}
	r.SQL = strings.TrimRight(strings.TrimSpace(rest), ";")
	if r.Title == "" || r.SQL == "" {
		return r, fmt.Errorf("cannot read report %s: it has no title or no SELECT", name)
	}
	for _, m := range paramUse.FindAllStringSubmatch(r.SQL, -1) {
		i := slices.IndexFunc(r.Parameters, func(p Parameter) bool { return p.Name == m[1] })
		if i < 0 || r.Parameters[i].Type != m[2] {
			return r, fmt.Errorf("cannot read report %s: %s is not declared", name, m[0])
		}
	}
	return r, nil
}

func (r Report) bind(given map[string]string) (clickhouse.Parameters, error) {
	params := clickhouse.Parameters{}
	var names []string
	for _, p := range r.Parameters {
		params[p.Name] = p.Default
		names = append(names, p.Name)
	}
	for k, v := range given {
		if _, ok := params[k]; !ok {
			return nil, fmt.Errorf("cannot set parameter %q of report %s: it has %s", k, r.Name, strings.Join(names, ", "))
		}
		params[k] = v
	}
	return params, nil
}
