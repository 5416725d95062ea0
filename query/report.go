package query

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed reports/*.sql
var reportFiles embed.FS

// Report is a question with a name: a file NAME.sql, whose form parseReport describes.
type Report struct {
	Name        string // the file's name without .sql
	Title       string
	Description string
	Parameters  []Parameter
	Needs       []Need
	SQL         string // as it stands in the file
	File        string // of a report that is not built in: where it was read

	targets bool // it has the column targets
}

// Parameter is one {name:Type} of a report.
type Parameter struct {
	Name, Type, Default, Doc string
	Choices                  []string // all that it may be; empty: anything of the type
}

// Need is a column that the report can say nothing without.
type Need struct {
	Column, Kind string
	Param, Value string // only where this parameter has this value; Param empty: always
	Hint         string // what fills the column
}

var builtIn = mustReadReports()

// mustReadReports reads what is compiled in: that it reads is a test's matter.
func mustReadReports() []Report {
	names, err := reportFiles.ReadDir("reports")
	if err != nil {
		panic(err)
	}
	var list []Report
	for _, name := range names {
		text, err := reportFiles.ReadFile("reports/" + name.Name())
		if err != nil {
			panic(err)
		}
		r, err := parseReport(name.Name(), string(text))
		if err != nil {
			panic(err)
		}
		list = append(list, r)
	}
	return list
}

// Reports returns the built-in reports by name.
func Reports() []Report { return slices.Clone(builtIn) }

// ReadReports returns the built-in reports and those of a folder of the user's own, by name.
// A file of the folder that is no report, or that has the name of another report, is an
// error that names file and line; all others are returned with it. dir may be empty.
func ReadReports(dir string) ([]Report, error) {
	list := Reports()
	if dir == "" {
		return list, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return list, fmt.Errorf("cannot read the folder of reports %q (reports.dir): %w", dir, err)
	}
	var broken []error
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if e.IsDir() || filepath.Ext(file) != ".sql" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			broken = append(broken, fmt.Errorf("cannot read a report: %w", err))
			continue
		}
		r, err := parseReport(file, string(text))
		if err != nil {
			broken = append(broken, err)
			continue
		}
		if i := slices.IndexFunc(list, func(o Report) bool { return o.Name == r.Name }); i >= 0 {
			broken = append(broken, fmt.Errorf("cannot use report %s: there is a report %q already; give the file another name", file, r.Name))
			continue
		}
		r.File = file
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Report) int { return strings.Compare(a.Name, b.Name) })
	return list, errors.Join(broken...)
}

// FindReport returns the built-in report called name.
func FindReport(name string) (Report, error) { return FindIn(builtIn, name) }

// FindIn returns the report of the list that is called name.
func FindIn(list []Report, name string) (Report, error) {
	var names []string
	for _, r := range list {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Report{}, fmt.Errorf("cannot find the report %q: there are %s", name, strings.Join(names, ", "))
}

// Parameter returns the parameter called name.
func (r Report) Parameter(name string) (Parameter, bool) {
	for _, p := range r.Parameters {
		if p.Name == name {
			return p, true
		}
	}
	return Parameter{}, false
}

// RunReport runs a report. Parameters that are not given have the report's
// defaults; one that the report does not have is an error.
func RunReport(ctx context.Context, o Options, r Report, given map[string]string, w io.Writer, f Format) (Summary, error) {
	a, err := r.Ask(given, time.Now())
	if err != nil {
		return Summary{}, err
	}
	return a.Run(ctx, o, w, f)
}
