package migrate

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"millrace/internal/sqltext"
	"millrace/schema"
)

// liveTable is a table as the server describes it.
type liveTable struct {
	engine       string
	partitionKey string
	sortingKey   string
	ttl          string // of rows
	settings     map[string]string
	columns      []liveColumn
	indexes      []liveIndex
}

type liveColumn struct{ name, typ, codec, ttl string }
type liveIndex struct{ name, expression, typ string }

func (t *liveTable) column(name string) *liveColumn {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// readTable returns nil when the table does not exist.
func (m *Migrator) readTable(ctx context.Context, name string) (*liveTable, error) {
	ctx = m.params(ctx, name)
	fail := func(err error) (*liveTable, error) {
		return nil, fmt.Errorf("cannot read the description of table %s.%s: %w", m.settings.Database, name, err)
	}
	rows, err := m.conn.Query(ctx, "SELECT engine, partition_key, sorting_key, engine_full, create_table_query FROM system.tables WHERE database = {database:String} AND name = {table:String}")
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	var t *liveTable
	var full, create string
	for rows.Next() {
		t = &liveTable{}
		if err := rows.Scan(&t.engine, &t.partitionKey, &t.sortingKey, &full, &create); err != nil {
			return fail(err)
		}
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	if t == nil {
		return nil, nil
	}
	t.ttl, t.settings = parseEngine(full)
	ttls := columnTTLs(create)

	columns, err := m.conn.Query(ctx, "SELECT name, type, compression_codec FROM system.columns WHERE database = {database:String} AND table = {table:String} ORDER BY position")
	if err != nil {
		return fail(err)
	}
	defer columns.Close()
	for columns.Next() {
		var c liveColumn
		if err := columns.Scan(&c.name, &c.typ, &c.codec); err != nil {
			return fail(err)
		}
		c.ttl = ttls[c.name]
		t.columns = append(t.columns, c)
	}
	if err := columns.Err(); err != nil {
		return fail(err)
	}

	indexes, err := m.conn.Query(ctx, "SELECT name, expr, type_full FROM system.data_skipping_indices WHERE database = {database:String} AND table = {table:String} ORDER BY name")
	if err != nil {
		return fail(err)
	}
	defer indexes.Close()
	for indexes.Next() {
		var x liveIndex
		if err := indexes.Scan(&x.name, &x.expression, &x.typ); err != nil {
			return fail(err)
		}
		// Servers can make indexes of their own, which no one has to mend.
		if !strings.HasPrefix(x.name, "auto_") {
			t.indexes = append(t.indexes, x)
		}
	}
	if err := indexes.Err(); err != nil {
		return fail(err)
	}
	return t, nil
}

// parseEngine takes the TTL and the settings out of system.tables.engine_full:
//
//	MergeTree PARTITION BY ... ORDER BY (...) TTL ... SETTINGS a = 1, b = 2
func parseEngine(full string) (ttl string, settings map[string]string) {
	settings = map[string]string{}
	if i := sqltext.IndexWord(full, "SETTINGS"); i >= 0 {
		for _, s := range sqltext.Split(full[i+len("SETTINGS"):]) {
			if k, v, ok := strings.Cut(s, "="); ok {
				settings[strings.TrimSpace(k)] = strings.Trim(strings.TrimSpace(v), "'")
			}
		}
		full = full[:i]
	}
	if i := sqltext.IndexWord(full, "TTL"); i >= 0 {
		ttl = strings.TrimSpace(full[i+len("TTL"):])
	}
	return ttl, settings
}

// columnTTLs reads the TTL of columns out of system.tables.create_table_query,
// the only place where the server shows them.
func columnTTLs(create string) map[string]string {
	out := map[string]string{}
	open := strings.IndexByte(create, '(')
	if open < 0 {
		return out
	}
	end := sqltext.Closing(create, open)
	if end < 0 {
		return out
	}
	for _, def := range sqltext.Split(create[open+1 : end]) {
		if !strings.HasPrefix(def, "`") {
			continue
		}
		name, rest, ok := strings.Cut(def[1:], "`")
		if !ok {
			continue
		}
		if i := sqltext.IndexWord(rest, "TTL"); i >= 0 {
			out[name] = strings.TrimSpace(rest[i+len("TTL"):])
		}
	}
	return out
}

var (
	intervalCall = regexp.MustCompile(`(?i)tointerval(second|minute|hour|day|week)\((\d+)\)`)
	intervalWord = regexp.MustCompile(`(?i)interval (\d+) (second|minute|hour|day|week)\b`)
	unitSeconds  = map[string]uint64{"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
)

// normalTTL gives TTL expressions that mean the same one text: intervals in
// seconds, no DELETE, which is the default action, no spaces and no quotes; the
// elements in order.
func normalTTL(ttl string) string {
	seconds := func(n, unit string) string {
		v, err := strconv.ParseUint(n, 10, 63)
		if err != nil {
			return n + unit
		}
		return fmt.Sprintf("%ds", v*unitSeconds[strings.ToLower(unit)])
	}
	ttl = intervalCall.ReplaceAllStringFunc(ttl, func(s string) string {
		m := intervalCall.FindStringSubmatch(s)
		return seconds(m[2], m[1])
	})
	ttl = intervalWord.ReplaceAllStringFunc(ttl, func(s string) string {
		m := intervalWord.FindStringSubmatch(s)
		return seconds(m[1], m[2])
	})
	parts := sqltext.Split(ttl)
	for i, p := range parts {
		p = strings.TrimSuffix(p, " DELETE")
		// The server adds parentheses around the sums that it reads.
		parts[i] = strings.ToLower(strings.NewReplacer(" ", "", "`", "", "\n", "", "(", "", ")", "").Replace(p))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// planRetention compares the tables' TTL with the configured retention. A table
// that does not exist yet gets both statements.
func (m *Migrator) planRetention(ctx context.Context) ([]Step, error) {
	var steps []Step
	for _, k := range schema.Kinds() {
		t, err := m.readTable(ctx, k.Table)
		if err != nil {
			return nil, err
		}
		if s, ok := m.retentionStep(k, t); ok {
			steps = append(steps, s)
		}
	}
	for _, table := range schema.RollupTables() {
		t, err := m.readTable(ctx, table.Name)
		if err != nil {
			return nil, err
		}
		want := table.TTL(m.settings.Retention)
		reason := "rollups " + days(m.settings.Retention.Rollups)
		if t != nil {
			if normalTTL(t.ttl) == normalTTL(want) {
				continue
			}
			reason = fmt.Sprintf("TTL is %q, configured %q", t.ttl, want)
		}
		steps = append(steps, Step{Kind: StepRetention, Name: table.Name, Reason: reason, Statements: []string{table.ModifyTTL(m.settings.layout(), m.settings.Retention)}})
	}
	return steps, nil
}

func (m *Migrator) retentionStep(k *schema.Kind, t *liveTable) (Step, bool) {
	r := m.settings.Retention
	all := k.ModifyTTL(m.settings.layout(), r)
	s := Step{Kind: StepRetention, Name: k.Table}
	if t == nil {
		s.Reason = fmt.Sprintf("events %s, raw %s", days(r.Events), days(r.Raw))
		s.Statements = all
		return s, true
	}
	var why []string
	if want := k.TTL(r); normalTTL(t.ttl) != normalTTL(want) {
		why = append(why, fmt.Sprintf("TTL is %q, configured %q", t.ttl, want))
		s.Statements = append(s.Statements, all[0])
	}
	raw := t.column(k.Fields[schema.Raw].Name)
	if want := k.RawTTL(r); raw != nil && normalTTL(raw.ttl) != normalTTL(want) {
		why = append(why, fmt.Sprintf("TTL of raw is %q, configured %q", raw.ttl, want))
		s.Statements = append(s.Statements, all[1])
	}
	s.Reason = strings.Join(why, "; ")
	return s, len(why) > 0
}
