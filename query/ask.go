package query

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"millrace/internal/config"
	"millrace/internal/sqltext"
	"millrace/schema"
)

// Asked is a report with a value for each of its parameters.
type Asked struct {
	Report Report
	Values map[string]string // as the server reads them; a time is UTC
	Zone   *time.Location    // that times are printed in

	Scope  *Scope // what the one who asks may see; nil: all
	Limits Limits
}

// Scope narrows statements to what somebody may see: each relation stands for its name, and
// names the parameters.
type Scope struct {
	Relations  []Relation
	Parameters map[string]string
}

// Ask gives the report its parameters: those that are given, else their defaults. One that
// the report does not have is an error, and so is a choice that is none.
//
// Times are read as [ParseTime] does, in the zone that the parameter tz names. The parameter
// domain is one domain or several with commas, each in any of its spellings.
func (r Report) Ask(given map[string]string, now time.Time) (Asked, error) {
	a := Asked{Report: r, Values: map[string]string{}, Zone: time.UTC}
	var names []string
	for _, p := range r.Parameters {
		a.Values[p.Name] = p.Default
		names = append(names, p.Name)
	}
	for k, v := range given {
		if _, ok := a.Values[k]; !ok {
			return a, fmt.Errorf("cannot set parameter %q of report %s: it has %s", k, r.Name, strings.Join(names, ", "))
		}
		a.Values[k] = v
	}
	if p, ok := r.Parameter("tz"); ok && p.Type == "String" {
		zone, err := ParseZone(a.Values["tz"])
		if err != nil {
			return a, fmt.Errorf("cannot set parameter %q of report %s: %w", "tz", r.Name, err)
		}
		a.Zone, a.Values["tz"] = zone, zone.String()
	}
	for _, p := range r.Parameters {
		v, err := a.value(p, a.Values[p.Name], now)
		if err != nil {
			return a, fmt.Errorf("cannot set parameter %q of report %s to %q: %w", p.Name, r.Name, a.Values[p.Name], err)
		}
		a.Values[p.Name] = v
	}
	if since, until, ok := a.Period(); ok && !since.Before(until) {
		return a, fmt.Errorf("cannot ask report %s: its period ends (%s) before it begins (%s)", r.Name, stamp(until, a.Zone), stamp(since, a.Zone))
	}
	return a, nil
}

var numberType = regexp.MustCompile(`^UInt(8|16|32|64)$`)

func (a Asked) value(p Parameter, v string, now time.Time) (string, error) {
	switch {
	case p.Type == "DateTime('UTC')":
		t, err := ParseTime(v, now, a.Zone)
		if err != nil {
			return "", err
		}
		return t.UTC().Format(time.DateTime), nil
	case numberType.MatchString(p.Type):
		bits, _ := strconv.Atoi(numberType.FindStringSubmatch(p.Type)[1])
		n, err := strconv.ParseUint(v, 10, bits)
		if err != nil {
			return "", fmt.Errorf("want a number from 0 to %d", uint64(math.MaxUint64)>>(64-bits))
		}
		return strconv.FormatUint(n, 10), nil
	case len(p.Choices) > 0 && !slices.Contains(p.Choices, v):
		return "", fmt.Errorf("want %s", strings.Join(p.Choices, ", "))
	case v == ConfiguredInvalidSender && p.Type == "String":
		return InvalidWords(schema.DefaultInvalidSenders), nil
	case p.Name == "domain" && p.Type == "String":
		return domainForms(v), nil
	}
	return v, nil
}

// domainForms are all spellings under which the domains of a comma list may stand in the
// logs: as given, and both IDNA forms (RFC 5890).
func domainForms(list string) string {
	var all []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		forms := []string{name}
		if ascii, err := idna.Lookup.ToASCII(name); err == nil {
			forms = append(forms, ascii)
			if letters, err := idna.Lookup.ToUnicode(ascii); err == nil {
				forms = append(forms, letters)
			}
		}
		for _, f := range forms {
			if f != "" && !slices.Contains(all, f) {
				all = append(all, f)
			}
		}
	}
	return strings.Join(all, ",")
}

// ParseZone reads a time zone's name. Empty is UTC.
func ParseZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "utc") {
		return time.UTC, nil
	}
	if zone, err := time.LoadLocation(name); err == nil && name != "Local" {
		return zone, nil
	}
	return nil, fmt.Errorf("there is no time zone %q: want UTC or a name as Europe/Sofia", name)
}

// TimeForms is what ParseTime reads, for help texts.
const TimeForms = "2026-11-25, \"2026-11-25 14:00\", 2026-11-25T14:00:00Z, seconds since 1970, or how long ago: 48h, 7d"

// ParseTime reads a time, for every command and for the API: now; how long ago it was, as in
// 24h, 7d, 1w2d or -24h; seconds since 1970; or a date with or without a time, in the zone
// unless it names its own.
func ParseTime(text string, now time.Time, zone *time.Location) (time.Time, error) {
	s := strings.TrimSpace(text)
	if s == "now" {
		return bounded(now)
	}
	ago := strings.TrimPrefix(s, "-")
	if d, err := config.ParseDuration(ago); err == nil && ago != "0" { // which may be meant as 1970
		return bounded(now.Add(-d))
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) >= 9 {
		return bounded(time.Unix(n, 0))
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return bounded(t)
		}
	}
	return time.Time{}, fmt.Errorf("want a time as 2026-11-25, 2026-11-25 14:00 or 2026-11-25T14:00:00Z, or how long ago, as 48h or 7d")
}

// bounded holds a time to what ClickHouse's DateTime has: it would wrap around.
func bounded(t time.Time) (time.Time, error) {
	if t.Unix() < 0 || t.Unix() > 1<<32-1 {
		return t, fmt.Errorf("want a time from 1970 to 2106")
	}
	return t, nil
}

// Period is the time that the answer is about: the parameters since and until.
func (a Asked) Period() (since, until time.Time, ok bool) {
	since, err1 := time.Parse(time.DateTime, a.Values["since"])
	until, err2 := time.Parse(time.DateTime, a.Values["until"])
	return since, until, err1 == nil && err2 == nil
}

// String is what was asked, in a line: the report and its period, with the zone.
func (a Asked) String() string {
	since, until, ok := a.Period()
	if !ok {
		return a.Report.Name
	}
	return fmt.Sprintf("%s, %s to %s", a.Report.Name, stamp(since, a.Zone), stamp(until, a.Zone))
}

func stamp(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02 15:04:05 ") + zone.String()
}

// statement is SQL of the report's, with the values asked and within the scope.
func (a Asked) statement(sql string) Statement {
	params := map[string]string{}
	for name, v := range a.Values {
		if p, ok := a.Report.Parameter(name); ok && p.Type == "String" {
			v = sqltext.String(v)
		}
		params[name] = v
	}
	if a.Scope != nil {
		sql = Scoped(sql, a.Scope.Relations)
		maps.Copy(params, a.Scope.Parameters)
	}
	return Statement{SQL: sql, Parameters: params, Limits: a.Limits}
}

// text is the report's SELECT with the values asked.
func (a Asked) text() string {
	sql, _, err := a.Report.text(a.Values)
	if err != nil { // parseReport has seen it
		panic("BUG: " + err.Error())
	}
	return sql
}

// Run runs the report and writes its result to w.
func (a Asked) Run(ctx context.Context, o Options, w io.Writer, f Format) (Summary, error) {
	sql, out := a.text(), Output{To: w, Format: f, PlainAddresses: true}
	if a.Report.targets {
		locks := askLocks(ctx, o, a.statement(locksOf(schema.Locks.Name)))
		defer locks.Stop()
		sql, out.Made = withLocked(sql, f != Table), locks.locked() // targets are for programs
	}
	return RunStatement(ctx, o, a.statement(sql), out)
}
