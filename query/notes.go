package query

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"millrace/schema"
)

// Notes says what the reader of the answer has to know and cannot see in its rows: that a
// column it is grouped by is empty everywhere, and what fills it; that there is mail whose
// direction nobody knows, in a report on one direction. Each is a line.
//
// It asks the server again, over the same period and domains.
func (a Asked) Notes(ctx context.Context, o Options) ([]string, error) {
	var notes []string
	for _, n := range a.Report.Needs {
		if n.Param != "" && a.Values[n.Param] != n.Value {
			continue
		}
		note, err := a.empty(ctx, o, n)
		if err != nil {
			return notes, err
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	note, err := a.undirected(ctx, o)
	if note != "" {
		notes = append(notes, note)
	}
	return notes, err
}

// empty asks whether the needed column is empty in all rows that there are.
func (a Asked) empty(ctx context.Context, o Options, n Need) (string, error) {
	var table string
	var none string
	for _, k := range schema.Kinds() {
		if k.Name == n.Kind {
			table = k.Table
			for _, f := range k.Fields {
				if f.Name == n.Column {
					none = emptyValue(f.Type)
				}
			}
		}
	}
	at, from := "event_time", table
	if n.Kind == schema.Message.Name || n.Kind == schema.Status.Name {
		at = "id_time"
	}
	// A report on the hours is for periods over whose messages this would take long.
	for _, r := range schema.Rollups() {
		if has := func(c schema.Column) bool { return c.Name == n.Column }; a.Report.reads(r.View.Name) && slices.ContainsFunc(r.View.Columns, has) {
			at, from = "hour", r.View.Name
		}
	}
	where := a.where(at)
	// Each half ends at the first row that it finds.
	sql := fmt.Sprintf("SELECT (SELECT count() FROM (SELECT 1 FROM %[1]s WHERE %[2]s LIMIT 1)), (SELECT count() FROM (SELECT 1 FROM %[1]s WHERE %[2]s AND %[3]s != %[4]s LIMIT 1))",
		from, where, n.Column, none)
	answer, err := a.one(ctx, o, sql)
	if err != nil || answer != "1\t0" {
		return "", err
	}
	return fmt.Sprintf("column %s of %s is empty in every row of this time: %s fills it", n.Column, table, n.Hint), nil
}

func emptyValue(t schema.Type) string {
	switch t {
	case schema.Text, schema.Word, schema.Bytes:
		return "''"
	case schema.IP:
		return "toIPv6('::')"
	case schema.Names, schema.Texts, schema.Codes, schema.IPs:
		return "[]"
	case schema.Map:
		return "map()"
	case schema.Millis, schema.Seconds:
		return "toDateTime(0, 'UTC')"
	}
	return "0"
}

// reads tells whether the report asks a table or view by itself.
func (r Report) reads(relation string) bool {
	return regexp.MustCompile(`\bFROM ` + relation + `\b`).MatchString(r.SQL)
}

// undirected asks how many messages of the same time have no direction, when the report
// is on a direction that they may have.
func (a Asked) undirected(ctx context.Context, o Options) (string, error) {
	p, ok := a.Report.Parameter("direction")
	count := ""
	switch {
	case !ok || p.Type != "String":
	case a.Report.reads(schema.Messages.Name):
		count = "SELECT count() FROM messages WHERE has_message AND " + a.where("id_time")
	case a.Report.reads(schema.MessagesHourly.View.Name):
		count = "SELECT sum(messages) FROM messages_hourly WHERE " + a.where("hour")
	}
	if count == "" {
		return "", nil
	}
	asked := strings.Split(a.Values["direction"], ",")
	for _, d := range asked {
		if d == "" || d == "unknown" {
			return "", nil
		}
	}
	answer, err := a.one(ctx, o, count+" AND direction NOT IN ('incoming', 'outgoing')")
	if err != nil || answer == "0" {
		return "", err
	}
	return fmt.Sprintf("messages of this time without a direction, which are not counted: %s; say direction of their listener, or let the message template have %%(auth_user)s and %%(identity)s", answer), nil
}

// where are the conditions on period and domain that the report has parameters for.
func (a Asked) where(at string) string {
	conditions, since := []string{"1"}, at+" >= {since:DateTime('UTC')}"
	if at == "hour" {
		since = "hour >= toStartOfHour({since:DateTime('UTC')})"
	}
	for name, condition := range map[string]string{
		"since":  since,
		"until":  at + " < {until:DateTime('UTC')}",
		"domain": "({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))",
	} {
		if p, ok := a.Report.Parameter(name); ok && strings.Contains(condition, "{"+name+":"+p.Type+"}") {
			conditions = append(conditions, condition)
		}
	}
	return strings.Join(conditions, " AND ")
}

// one is the one row of a statement, as TSV.
func (a Asked) one(ctx context.Context, o Options, sql string) (string, error) {
	var out bytes.Buffer
	if _, err := RunStatement(ctx, o, a.statement(sql), Output{To: &out, Format: TSV}); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
