package migrate

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"millrace/internal/config"
	"millrace/internal/sqltext"
	"millrace/schema"
)

// Difference is something in which a live table is not what this binary
// expects.
type Difference struct {
	Table     string
	Object    string // "column sender", "index i_id", "setting ...", "" for the table itself
	Want      string // "": not expected at all
	Have      string // "": missing
	Statement string // what mends it
	Note      string
}

func (d Difference) String() string {
	what := d.Table
	if d.Object != "" {
		what += " " + d.Object
	}
	s := ""
	switch {
	case d.Have == "":
		s = fmt.Sprintf("%s is missing (want %s)", what, d.Want)
	case d.Want == "":
		s = fmt.Sprintf("%s is not expected (it is %s)", what, d.Have)
	default:
		s = fmt.Sprintf("%s is %s, want %s", what, d.Have, d.Want)
	}
	if d.Note != "" {
		s += "; " + d.Note
	}
	return s
}

// Check compares the live tables with what this binary expects. An empty list
// and a nil error mean that they agree. It changes nothing.
func (m *Migrator) Check(ctx context.Context) ([]Difference, error) {
	servers, err := m.servers(ctx)
	if err != nil {
		return nil, err
	}
	var out []Difference
	for _, k := range schema.Kinds() {
		t, err := m.readTable(ctx, k.Table)
		if err != nil {
			return nil, err
		}
		out = append(out, m.compare(k, t)...)
	}
	have, err := m.commentsOf(ctx, m.settings.Database)
	if err != nil {
		return nil, err
	}
	for _, v := range schema.Views() {
		if why := have.differs(servers, v.Name, v.Comment(m.settings.Views)); why != "" {
			d := Difference{
				Table: v.Name, Want: fmt.Sprintf("a view of %d columns", len(v.Columns)), Statement: m.settings.createView(v),
				Note: "`millrace schema apply` makes it",
			}
			if why != missingView {
				d.Have = "another: " + why
			}
			out = append(out, d)
		}
	}
	for _, t := range schema.RollupTables() {
		d, err := m.compareTable(ctx, t)
		if err != nil {
			return nil, err
		}
		out = append(out, d...)
	}
	for _, f := range refreshes() {
		if why := have.differs(servers, f.Name, f.Comment(m.settings.Views)); why != "" {
			d := Difference{
				Table: f.Name, Want: "a view that counts", Note: "`millrace schema apply` makes it",
				Statement: strings.Join(m.settings.createRefresh(f), ";\n"),
			}
			if why != missingView {
				d.Have = "another: " + why
			}
			out = append(out, d)
		}
	}
	elsewhere, err := m.checkOthers(ctx, servers, out)
	return append(out, elsewhere...), err
}

// checkOthers is what the other servers of a cluster lack, and what reads from all, beside
// the differences that are found here.
func (m *Migrator) checkOthers(ctx context.Context, servers uint64, found []Difference) ([]Difference, error) {
	if m.settings.Cluster == "" {
		return nil, nil
	}
	var out []Difference
	for _, k := range schema.Kinds() {
		if slices.ContainsFunc(found, func(d Difference) bool { return d.Table == k.Table }) {
			continue // what mends it does so on all
		}
		columns, err := m.columnsOf(ctx, m.settings.Database, k.Table)
		if err != nil {
			return nil, err
		}
		d := Difference{Table: k.Table, Object: "on another server of the cluster"}
		switch {
		case uint64(len(columns)) < servers:
			d.Want, d.Note = fmt.Sprintf("%d columns", len(k.Fields)), "`millrace schema apply` makes it"
		case slices.ContainsFunc(columns, func(c string) bool { return c != columns[0] }):
			d.Want, d.Have, d.Note = "the same columns on all", "another", "`millrace schema check` of that server tells more (clickhouse.addresses)"
		default:
			continue
		}
		out = append(out, d)
	}
	retention, err := m.planRetention(ctx, servers)
	if err != nil {
		return nil, err
	}
	reading, err := m.planReading(ctx, servers, false)
	if err != nil {
		return nil, err
	}
	for _, s := range append(retention, reading...) {
		if s.Kind == StepRetention && slices.ContainsFunc(append(found, out...), func(d Difference) bool { return d.Table == s.Name }) {
			continue
		}
		d := Difference{Table: s.Name, Object: "TTL", Want: "as configured on all servers", Have: s.Reason, Statement: strings.Join(s.Statements, ";\n")}
		if s.Kind != StepRetention {
			d = Difference{Table: m.settings.readDatabase() + "." + s.Name, Want: "as in this version on all servers", Have: "another: it " + s.Reason,
				Statement: strings.Join(s.Statements, ";\n"), Note: "`millrace schema apply` makes it"}
			if s.Kind == StepDatabase {
				d.Table = s.Name
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// compareTable is compare for what is counted, which can be counted again.
func (m *Migrator) compareTable(ctx context.Context, t schema.Table) ([]Difference, error) {
	live, err := m.readTable(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	layout := m.settings.layout()
	if live == nil {
		return []Difference{{Table: t.Name, Want: fmt.Sprintf("%d columns", len(t.Columns)), Statement: t.Create(layout), Note: "`millrace schema apply` makes it"}}, nil
	}
	var out []Difference
	for _, c := range t.Columns {
		have := ""
		if l := live.column(c.Name); l != nil {
			have = l.typ
		}
		if bare(have) != bare(c.ClickHouse()) {
			out = append(out, Difference{Table: t.Name, Object: "column " + c.Name, Want: c.ClickHouse(), Have: have,
				Note: "drop the table and let `millrace schema apply` make it; it is counted again"})
		}
	}
	if bare(live.sortingKey) != bare(t.OrderBy) {
		out = append(out, Difference{Table: t.Name, Object: "sorting key", Want: t.OrderBy, Have: live.sortingKey,
			Note: "drop the table and let `millrace schema apply` make it; it is counted again"})
	}
	if want := t.TTL(m.settings.Retention); normalTTL(live.ttl) != normalTTL(want) {
		out = append(out, Difference{Table: t.Name, Object: "TTL", Want: want, Have: orNone(live.ttl), Statement: t.ModifyTTL(layout, m.settings.Retention)})
	}
	return out, nil
}

func (m *Migrator) compare(k *schema.Kind, t *liveTable) []Difference {
	layout := m.settings.layout()
	if t == nil {
		return []Difference{{Table: k.Table, Want: fmt.Sprintf("%d columns", len(k.Fields)), Statement: k.CreateTable(layout), Note: "`millrace schema apply` makes it"}}
	}
	alter := fmt.Sprintf("ALTER TABLE %s.%s%s ", schema.QuoteName(m.settings.Database), schema.QuoteName(k.Table), m.settings.onCluster())
	var out []Difference
	add := func(d Difference) {
		d.Table = k.Table
		out = append(out, d)
	}

	rebuild := func(object, want, have string) {
		if bare(want) != bare(have) {
			old := schema.QuoteName(m.settings.Database) + "." + schema.QuoteName(k.Table+"_old")
			table := schema.QuoteName(m.settings.Database) + "." + schema.QuoteName(k.Table)
			d := Difference{
				Object: object, Want: want, Have: have,
				Statement: fmt.Sprintf("RENAME TABLE %s TO %s%s;\n%s;\nINSERT INTO %s SELECT * FROM %s", table, old, m.settings.onCluster(), k.CreateTable(layout), table, old),
				Note:      "it cannot be altered: the table has to be rebuilt, with the transformers stopped",
			}
			if m.settings.Replication == config.ReplicationTables { // the old one keeps the path that the new one would have
				d.Statement = ""
				d.Note += "; copy its rows, drop it and let `millrace schema apply` make it"
			}
			add(d)
		}
	}
	rebuild("engine", m.settings.engineOf(m.settings.engine()), m.settings.engineOf(t.engine))
	rebuild("partition key", "toMonday(received_at)", t.partitionKey)
	rebuild("sorting key", k.OrderBy, t.sortingKey)

	previous := ""
	for i := range k.Fields {
		f := &k.Fields[i]
		where := " FIRST"
		if previous != "" {
			where = " AFTER " + schema.QuoteName(previous)
		}
		previous = f.Name
		want := f.Type.ClickHouse()
		c := t.column(f.Name)
		switch {
		case c == nil:
			add(Difference{Object: "column " + f.Name, Want: want, Statement: alter + "ADD COLUMN IF NOT EXISTS " + f.Column() + where})
			continue
		case bare(c.typ) != bare(want):
			add(Difference{Object: "column " + f.Name, Want: want, Have: c.typ, Statement: alter + "MODIFY COLUMN " + f.Column()})
		}
		if w, h := normalCodec(f.Codec), normalCodec(c.codec); w != h {
			d := Difference{Object: "codec of " + f.Name, Want: orDefault(f.Codec), Have: orDefault(c.codec), Statement: alter + "MODIFY COLUMN " + f.Column()}
			if w == "" {
				d.Statement = alter + "MODIFY COLUMN " + f.Name + " REMOVE CODEC"
			}
			add(d)
		}
	}
	for _, c := range t.columns {
		if k.Index(c.name) < 0 {
			add(Difference{
				Object: "column " + c.name, Have: c.typ, Statement: alter + "DROP COLUMN " + schema.QuoteName(c.name),
				Note: "it does no harm; drop it only when nobody needs what is in it",
			})
		}
	}

	m.compareIndexes(k, t, alter, add)

	for _, s := range schema.Settings {
		if have := t.settings[s.Name]; have != s.Value {
			add(Difference{Object: "setting " + s.Name, Want: s.Value, Have: have, Statement: fmt.Sprintf("%sMODIFY SETTING %s = %s", alter, s.Name, s.Value)})
		}
	}
	have := liveTTL{t.ttl, k.RawTTL(m.settings.Retention)} // a column that is missing is told of above
	if c := t.column(k.Fields[schema.Raw].Name); c != nil {
		have.raw = c.ttl
	}
	if s, ok := m.retentionStep(k, []liveTTL{have}); ok {
		for _, q := range s.Statements {
			d := Difference{Object: "TTL", Want: k.TTL(m.settings.Retention), Have: orNone(t.ttl), Statement: q}
			if strings.Contains(q, "MODIFY COLUMN") {
				raw := k.Fields[schema.Raw].Name
				d.Object, d.Want, d.Have = "TTL of "+raw, k.RawTTL(m.settings.Retention), orNone(t.column(raw).ttl)
			}
			add(d)
		}
	}
	return out
}

func (m *Migrator) compareIndexes(k *schema.Kind, t *liveTable, alter string, add func(Difference)) {
	for _, x := range k.Indexes {
		want := x.Expression + " TYPE " + x.Type
		definition := fmt.Sprintf("ADD INDEX IF NOT EXISTS %s %s", x.Name, want)
		i := slices.IndexFunc(t.indexes, func(l liveIndex) bool { return l.name == x.Name })
		if i < 0 {
			add(Difference{Object: "index " + x.Name, Want: want, Statement: alter + definition + ", MATERIALIZE INDEX " + x.Name})
			continue
		}
		if have := t.indexes[i].expression + " TYPE " + t.indexes[i].typ; bare(have) != bare(want) {
			add(Difference{
				Object: "index " + x.Name, Want: want, Have: have,
				Statement: alter + "DROP INDEX " + x.Name + ";\n" + alter + definition + ", MATERIALIZE INDEX " + x.Name,
			})
		}
	}
	for _, l := range t.indexes {
		if !slices.ContainsFunc(k.Indexes, func(x schema.Index) bool { return x.Name == l.name }) {
			add(Difference{
				Object: "index " + l.name, Have: l.expression + " TYPE " + l.typ, Statement: alter + "DROP INDEX " + schema.QuoteName(l.name),
				Note: "it does no harm but for the time that inserts take",
			})
		}
	}
}

// bare folds the ways in which servers write the same expression.
func bare(s string) string {
	s = strings.NewReplacer(" ", "", "`", "", "\n", "").Replace(s)
	if strings.HasPrefix(s, "(") && sqltext.Closing(s, 0) == len(s)-1 {
		s = s[1 : len(s)-1]
	}
	return strings.TrimSuffix(s, "()")
}

var codecWidth = regexp.MustCompile(`(?i)\bdelta\(\d+\)`)

// normalCodec drops what the server adds: CODEC(...) and the width of a delta.
func normalCodec(c string) string {
	c = strings.TrimSpace(c)
	if inner, ok := strings.CutPrefix(c, "CODEC("); ok {
		c = strings.TrimSuffix(inner, ")")
	}
	c = strings.ToLower(strings.ReplaceAll(codecWidth.ReplaceAllString(c, "delta"), " ", ""))
	if c == "default" {
		return ""
	}
	return c
}

func orDefault(s string) string {
	if s == "" {
		return "Default"
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return fmt.Sprintf("%d d", d/day)
	}
	return d.String()
}
