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

// liveTTL is a table's retention on one server.
type liveTTL struct{ rows, raw string }

// ttlsOf is the retention of every table on each server that has it.
func (m *Migrator) ttlsOf(ctx context.Context) (map[string][]liveTTL, error) {
	fail := func(err error) (map[string][]liveTTL, error) {
		return nil, fmt.Errorf("cannot read the description of database %s: %w", m.settings.Database, err)
	}
	rows, err := m.conn.Query(m.params(ctx, ""), "SELECT name, engine_full, create_table_query FROM "+m.settings.system("tables")+" WHERE database = {database:String}")
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	all := map[string][]liveTTL{}
	for rows.Next() {
		var name, full, create string
		if err := rows.Scan(&name, &full, &create); err != nil {
			return fail(err)
		}
		ttl, _ := parseEngine(full)
		all[name] = append(all[name], liveTTL{ttl, columnTTLs(create)[schema.Message.Fields[schema.Raw].Name]})
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return all, nil
}

// planRetention compares the tables' TTL with the configured retention, on each server. A
// table that one of them has not yet gets all statements.
func (m *Migrator) planRetention(ctx context.Context, servers uint64) ([]Step, error) {
	have, err := m.ttlsOf(ctx)
	if err != nil {
		return nil, err
	}
	r := m.settings.Retention
	var steps []Step
	for _, k := range schema.Kinds() {
		if uint64(len(have[k.Table])) < servers {
			steps = append(steps, Step{
				Kind: StepRetention, Name: k.Table, Reason: fmt.Sprintf("events %s, raw %s", days(r.Events), days(r.Raw)),
				Statements: k.ModifyTTL(m.settings.layout(), r),
			})
			continue
		}
		if s, ok := m.retentionStep(k, have[k.Table]); ok {
			steps = append(steps, s)
		}
	}
	for _, table := range schema.RollupTables() {
		want := table.TTL(r)
		reason := ""
		if uint64(len(have[table.Name])) < servers {
			reason = "rollups " + days(r.Rollups)
		}
		for _, t := range have[table.Name] {
			if reason == "" && normalTTL(t.rows) != normalTTL(want) {
				reason = fmt.Sprintf("TTL is %q, configured %q", t.rows, want)
			}
		}
		if reason != "" {
			steps = append(steps, Step{Kind: StepRetention, Name: table.Name, Reason: reason, Statements: []string{table.ModifyTTL(m.settings.layout(), r)}})
		}
	}
	return steps, nil
}

// retentionStep is what mends the retention of a table where one of the servers differs.
func (m *Migrator) retentionStep(k *schema.Kind, have []liveTTL) (Step, bool) {
	r := m.settings.Retention
	all := k.ModifyTTL(m.settings.layout(), r)
	s := Step{Kind: StepRetention, Name: k.Table}
	var why []string
	add := func(statement, reason string) {
		if !slices.Contains(s.Statements, statement) {
			s.Statements, why = append(s.Statements, statement), append(why, reason)
		}
	}
	for _, t := range have {
		if want := k.TTL(r); normalTTL(t.rows) != normalTTL(want) {
			add(all[0], fmt.Sprintf("TTL is %q, configured %q", t.rows, want))
		}
		if want := k.RawTTL(r); normalTTL(t.raw) != normalTTL(want) {
			add(all[1], fmt.Sprintf("TTL of raw is %q, configured %q", t.raw, want))
		}
	}
	s.Reason = strings.Join(why, "; ")
	return s, len(why) > 0
}
