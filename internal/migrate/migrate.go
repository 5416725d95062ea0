package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/config"
	"millrace/schema"
)

// What makes Plan and Apply refuse. The errors that wrap them say what to do.
var (
	ErrServerTooOld = errors.New("the ClickHouse server is too old")
	ErrSchemaNewer  = errors.New("the schema is newer than this binary")
	ErrChecksum     = errors.New("an applied migration differs from this binary's")
)

// Settings are what the placeholders of the migrations stand for, and the
// retention.
type Settings struct {
	Database    string           // default millrace
	Cluster     string           // whose servers all have the tables; "": one server
	Replication string           // config.ReplicationNone (the default), ...Tables, ...Database: the tables' copies on the cluster
	Retention   schema.Retention // zero values: schema.DefaultRetention's
	Views       schema.ViewSettings
	Binary      string // this binary's version, for the ledger
}

func (s Settings) withDefaults() Settings {
	if s.Database == "" {
		s.Database = "millrace"
	}
	if s.Replication == "" {
		s.Replication = config.ReplicationNone
	}
	if s.Retention.Events <= 0 {
		s.Retention.Events = schema.DefaultRetention.Events
	}
	if s.Retention.Raw <= 0 {
		s.Retention.Raw = schema.DefaultRetention.Raw
	}
	if s.Retention.Rollups <= 0 {
		s.Retention.Rollups = schema.DefaultRetention.Rollups
	}
	s.Views.Rollups = s.Retention.Rollups
	return s
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (s Settings) validate() error {
	if !plainName.MatchString(s.Database) {
		return fmt.Errorf("cannot use the database name %q: want letters, digits and _ (clickhouse.database)", s.Database)
	}
	if strings.ContainsAny(s.Cluster, "`\\") {
		return fmt.Errorf("cannot use the cluster name %q: it holds a quote or a backslash", s.Cluster)
	}
	if s.Replication != config.ReplicationNone && s.Cluster == "" {
		return fmt.Errorf("cannot replicate (clickhouse.replication %q): clickhouse.cluster names no cluster", s.Replication)
	}
	return nil
}

func (s Settings) ledger() string { return schema.QuoteName(s.Database) + ".`schema_migrations`" }

// Kinds of steps.
const (
	StepDatabase  = "database"
	StepLedger    = "ledger"
	StepMigration = "migration"
	StepView      = "view"
	StepRetention = "retention"
	StepReading   = "reading" // a table that reads from all shards
	StepRollup    = "rollup"  // a view that counts
)

// Step is a part of a plan.
type Step struct {
	Kind       string
	Name       string // of the database, the migration or the table
	Reason     string
	Statements []string

	migration *Migration
}

// Plan is what Apply would do now.
type Plan struct {
	Server   string    // the server's version
	Database string    //
	Applied  []Applied // the ledger
	Latest   uint32    // the version that this binary brings the database to
	Steps    []Step
}

// Applied is a row of the ledger.
type Applied struct {
	Version   uint32
	Name      string
	Checksum  string
	AppliedAt time.Time
	Binary    string
}

// Empty tells that there is nothing to do.
func (p Plan) Empty() bool { return len(p.Steps) == 0 }

// String is the plan for eyes: SQL with comments.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- ClickHouse %s, database %s, schema version %d of %d\n", p.Server, p.Database, p.current(), p.Latest)
	if p.Empty() {
		b.WriteString("-- nothing to do\n")
	}
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "\n-- %s %s: %s\n", s.Kind, s.Name, s.Reason)
		for _, q := range s.Statements {
			b.WriteString(q + ";\n")
		}
	}
	return b.String()
}

func (p Plan) current() uint32 {
	var v uint32
	for _, a := range p.Applied {
		v = max(v, a.Version)
	}
	return v
}

// Migrator applies the migrations of this binary to one database.
type Migrator struct {
	conn       clickhouse.Conn
	settings   Settings
	migrations []Migration

	// afterStatement is called after each statement; an error of it stops Apply
	// as a crash would.
	afterStatement func(sql string) error
}

// New prepares a migrator; it asks the server nothing yet.
func New(conn clickhouse.Conn, s Settings) (*Migrator, error) { return newMigrator(conn, s, embedded) }

func newMigrator(conn clickhouse.Conn, s Settings, files fs.FS) (*Migrator, error) {
	s = s.withDefaults()
	if err := s.validate(); err != nil {
		return nil, err
	}
	list, err := readMigrations(files)
	if err != nil {
		return nil, err
	}
	return &Migrator{conn: conn, settings: s, migrations: list}, nil
}

// Show is the DDL of this binary: every statement of a fresh Apply. It needs no
// server.
func Show(s Settings) (string, error) {
	m, err := New(nil, s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, q := range []string{m.settings.createDatabase(), m.createLedger()} {
		b.WriteString(q + ";\n\n")
	}
	for _, x := range m.migrations {
		fmt.Fprintf(&b, "-- %s\n", x.Name)
		for _, q := range x.Statements {
			text, err := m.settings.render(q)
			if err != nil {
				return "", err
			}
			b.WriteString(text + ";\n")
		}
		b.WriteString("\n")
	}
	b.WriteString("-- views\n")
	for _, v := range schema.Views() {
		b.WriteString(m.settings.createView(v) + ";\n")
	}
	b.WriteString("\n-- retention\n")
	for _, k := range schema.Kinds() {
		for _, q := range k.ModifyTTL(m.settings.layout(), m.settings.Retention) {
			b.WriteString(q + ";\n")
		}
	}
	for _, t := range schema.RollupTables() {
		b.WriteString(t.ModifyTTL(m.settings.layout(), m.settings.Retention) + ";\n")
	}
	if m.settings.Cluster != "" {
		b.WriteString("\n-- reading from all shards\n" + m.settings.createReadDatabase() + ";\n")
		for _, name := range readTables() {
			b.WriteString(m.settings.createReadTable(name) + ";\n")
		}
		for _, v := range schema.Views() {
			b.WriteString(m.settings.createReadView(v) + ";\n")
		}
	}
	b.WriteString("\n-- counting by the hour\n")
	for _, f := range refreshes() {
		for _, q := range m.settings.createRefresh(f) {
			b.WriteString(q + ";\n")
		}
	}
	return b.String(), nil
}

func (m *Migrator) createLedger() string {
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s%s
(
    version UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC'),
    binary_version String
)
ENGINE = %s
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`, m.settings.ledger(), m.settings.onCluster(), m.settings.engine())
}

// Plan says what Apply would do. It reads and changes nothing.
func (m *Migrator) Plan(ctx context.Context) (Plan, error) {
	p := Plan{Database: m.settings.Database, Latest: uint32(len(m.migrations))}
	if err := m.conn.QueryRow(ctx, "SELECT version()").Scan(&p.Server); err != nil {
		return p, fmt.Errorf("cannot ask ClickHouse for its version: %w", err)
	}
	if err := m.checkServer(p.Server); err != nil {
		return p, err
	}
	servers, err := m.servers(ctx)
	if err != nil {
		return p, err
	}
	exists, err := m.count(ctx, "SELECT count() FROM "+m.settings.system("databases")+" WHERE name = {database:String}", "")
	if err != nil {
		return p, err
	}
	if exists < servers {
		p.Steps = append(p.Steps, Step{Kind: StepDatabase, Name: m.settings.Database, Reason: "does not exist", Statements: []string{m.settings.createDatabase()}})
	}
	noLedger, err := m.lacks(ctx, servers, "schema_migrations")
	if err != nil {
		return p, err
	}
	if noLedger {
		p.Steps = append(p.Steps, Step{Kind: StepLedger, Name: "schema_migrations", Reason: "does not exist", Statements: []string{m.createLedger()}})
	} else if p.Applied, err = m.readLedger(ctx); err != nil {
		return p, err
	}
	pending, err := m.pending(p.Applied)
	if err != nil {
		return p, err
	}
	if m.settings.Cluster != "" && len(pending) < len(m.migrations) {
		for _, k := range schema.Kinds() {
			missing, err := m.lacks(ctx, servers, k.Table)
			if err != nil {
				return p, err
			}
			if missing { // of a server that is new: what the others have again is no change to them
				pending = m.all()
				break
			}
		}
	}
	for _, x := range pending {
		step := Step{Kind: StepMigration, Name: x.Name, Reason: "not applied", migration: x}
		for _, q := range x.Statements {
			text, err := m.settings.render(q)
			if err != nil {
				return p, fmt.Errorf("migration %s: %w", x.Name, err)
			}
			step.Statements = append(step.Statements, text)
		}
		p.Steps = append(p.Steps, step)
	}
	views, err := m.planViews(ctx, servers)
	if err != nil {
		return p, err
	}
	p.Steps = append(p.Steps, views...)
	retention, err := m.planRetention(ctx, servers)
	if err != nil {
		return p, err
	}
	p.Steps = append(p.Steps, retention...)
	reading, err := m.planReading(ctx, servers, len(pending) > 0)
	p.Steps = append(p.Steps, reading...)
	if err != nil {
		return p, err
	}
	rollups, err := m.planRefreshes(ctx, servers)
	p.Steps = append(p.Steps, rollups...)
	return p, err
}

// attempts is how often Apply plans anew after a statement failed: one of two
// at once can lose a race that leaves nothing to do.
const attempts = 3

// Apply does what Plan says, and returns the plan that it carried out. It is
// done when another Plan is empty.
func (m *Migrator) Apply(ctx context.Context) (Plan, error) {
	for attempt := 1; ; attempt++ {
		p, err := m.apply(ctx)
		var ex *clickhouse.Exception
		if err == nil || attempt == attempts || !errors.As(err, &ex) || ctx.Err() != nil {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, err
		case <-time.After(time.Duration(100+rand.IntN(400)) * time.Millisecond):
		}
	}
}

func (m *Migrator) apply(ctx context.Context) (Plan, error) {
	p, err := m.Plan(ctx)
	if err != nil {
		return p, err
	}
	retention := false
	for _, s := range p.Steps {
		if s.Kind == StepRetention {
			retention = true
			continue
		}
		if err := m.run(ctx, s); err != nil {
			return p, err
		}
		if s.migration != nil {
			if err := m.record(ctx, s.migration); err != nil {
				return p, err
			}
		}
	}
	if !retention {
		return p, nil
	}
	// Compared anew: the tables may exist only now.
	servers, err := m.servers(ctx)
	if err != nil {
		return p, err
	}
	steps, err := m.planRetention(ctx, servers)
	if err != nil {
		return p, err
	}
	for _, s := range steps {
		if err := m.run(ctx, s); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (m *Migrator) run(ctx context.Context, s Step) error {
	for _, q := range s.Statements {
		if err := m.conn.Exec(ctx, q); err != nil {
			return fmt.Errorf("cannot apply %s %s: %w (statement: %s)", s.Kind, s.Name, err, firstLine(q))
		}
		if m.afterStatement != nil {
			if err := m.afterStatement(q); err != nil {
				return err
			}
		}
	}
	return nil
}

func firstLine(q string) string {
	line, _, _ := strings.Cut(q, "\n")
	return line
}

// record writes a ledger row, unless another applier did in the meantime. Two
// rows of one version and checksum say the same and do no harm.
func (m *Migrator) record(ctx context.Context, x *Migration) error {
	applied, err := m.readLedger(ctx)
	if err != nil {
		return err
	}
	if err := m.verify(applied); err != nil {
		return err
	}
	for _, a := range applied {
		if a.Version == x.Version {
			return nil
		}
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}), clickhouse.WithParameters(clickhouse.Parameters{
		"version": fmt.Sprint(x.Version), "name": x.Name, "checksum": x.Checksum, "binary": m.settings.Binary,
	}))
	err = m.conn.Exec(ctx, "INSERT INTO "+m.settings.ledger()+" (version, name, checksum, applied_at, binary_version) "+
		"SELECT {version:UInt32}, {name:String}, {checksum:String}, now64(3, 'UTC'), {binary:String}")
	if err != nil {
		return fmt.Errorf("cannot record migration %s: %w", x.Name, err)
	}
	return nil
}

func (m *Migrator) checkServer(have string) error {
	v, err := parseVersion(have)
	if err != nil {
		return fmt.Errorf("cannot tell what the server can do: %w", err)
	}
	for _, x := range m.migrations {
		need, err := parseVersion(x.Server)
		if err != nil {
			return err
		}
		if v.less(need) {
			return fmt.Errorf("cannot migrate: %w: it is %s, migration %s needs %s or newer", ErrServerTooOld, have, x.Name, x.Server)
		}
	}
	return nil
}

func (m *Migrator) all() (list []*Migration) {
	for i := range m.migrations {
		list = append(list, &m.migrations[i])
	}
	return list
}

// pending returns the migrations that the ledger does not have.
func (m *Migrator) pending(applied []Applied) ([]*Migration, error) {
	if err := m.verify(applied); err != nil {
		return nil, err
	}
	var out []*Migration
	for i := range m.migrations {
		done := false
		for _, a := range applied {
			done = done || a.Version == m.migrations[i].Version
		}
		if !done {
			out = append(out, &m.migrations[i])
		}
	}
	return out, nil
}

func (m *Migrator) verify(applied []Applied) error {
	for _, a := range applied {
		if a.Version == 0 || int(a.Version) > len(m.migrations) {
			return fmt.Errorf("cannot migrate database %s: %w: it has version %d (%s, applied by millrace %q), this binary knows up to %d; run a newer millrace",
				m.settings.Database, ErrSchemaNewer, a.Version, a.Name, a.Binary, len(m.migrations))
		}
		x := m.migrations[a.Version-1]
		if a.Checksum != x.Checksum {
			return fmt.Errorf("cannot migrate database %s: %w: %s was applied with checksum %.12s by millrace %q, here it is %s with %.12s; a migration is never edited, a change is a new one",
				m.settings.Database, ErrChecksum, a.Name, a.Checksum, a.Binary, x.Name, x.Checksum)
		}
	}
	return nil
}

func (m *Migrator) readLedger(ctx context.Context) ([]Applied, error) {
	rows, err := m.conn.Query(ctx, "SELECT version, name, checksum, min(applied_at), argMin(binary_version, applied_at) FROM "+m.settings.wholeLedger()+
		" GROUP BY version, name, checksum ORDER BY version, checksum")
	if err != nil {
		return nil, fmt.Errorf("cannot read the ledger %s: %w", m.settings.ledger(), err)
	}
	defer rows.Close()
	var out []Applied
	for rows.Next() {
		var a Applied
		if err := rows.Scan(&a.Version, &a.Name, &a.Checksum, &a.AppliedAt, &a.Binary); err != nil {
			return nil, fmt.Errorf("cannot read the ledger %s: %w", m.settings.ledger(), err)
		}
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the ledger %s: %w", m.settings.ledger(), err)
	}
	return out, nil
}

func (m *Migrator) params(ctx context.Context, table string) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"database": m.settings.Database, "table": table}))
}

func (m *Migrator) count(ctx context.Context, sql, table string) (n uint64, err error) {
	if err := m.conn.QueryRow(m.params(ctx, table), sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("cannot read the system tables: %w", err)
	}
	return n, nil
}

// StateTable is the statement that makes the audit trail, a table that no kind is of: for
// who makes the tables of the kinds by themselves, and views over both.
func (m *Migrator) StateTable() (string, error) {
	for _, x := range m.migrations {
		for _, q := range x.Statements {
			if strings.Contains(q, "`"+stateChanges+"`") {
				return m.settings.render(q)
			}
		}
	}
	return "", fmt.Errorf("cannot find the migration that makes %s", stateChanges)
}

const stateChanges = "state_changes"
