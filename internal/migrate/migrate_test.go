package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

const firstFile = "migrations/0001_events.sql"

func TestFirstMigrationIsReadable(t *testing.T) {
	text, err := os.ReadFile(firstFile)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseMigration("0001_events", string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Statements) != 3 { // the tables of then
		t.Errorf("%d statements", len(m.Statements))
	}
	// Line ends are no change; a letter is.
	crlf, err := parseMigration("0001_events", strings.ReplaceAll(string(text), "\n", " \r\n")+"\n\n")
	if err != nil || crlf.Checksum != m.Checksum {
		t.Error("line ends change the checksum:", err)
	}
	other, err := parseMigration("0001_events", strings.Replace(string(text), "raw String", "raw Strinh", 1))
	if err != nil || other.Checksum == m.Checksum {
		t.Error("an edit does not change the checksum:", err)
	}
}

// admin connects without a database of its own, as Migrator demands.
func admin(t testing.TB) clickhouse.Conn { return embeddedtest.Connect(t, "") }

// fresh names a database that does not exist, and drops it when the test ends.
func fresh(t testing.TB) (clickhouse.Conn, Settings) {
	t.Helper()
	conn := admin(t)
	database := embeddedtest.Database(t)
	exec(t, conn, "DROP DATABASE "+database+" SYNC")
	return conn, Settings{Database: database, Binary: "v1.2.3"}
}

func exec(t testing.TB, conn clickhouse.Conn, sql string) {
	t.Helper()
	if err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func text(t testing.TB, conn clickhouse.Conn, sql string) (s string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func migrator(t testing.TB, conn clickhouse.Conn, s Settings, files fs.FS) *Migrator {
	t.Helper()
	m, err := newMigrator(conn, s, files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustApply(t testing.TB, m *Migrator) Plan {
	t.Helper()
	p, err := m.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustPlan(t testing.TB, m *Migrator) Plan {
	t.Helper()
	p, err := m.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// description is all that the server knows of the tables of a database, but for those that
// package schema does not describe.
func description(t testing.TB, conn clickhouse.Conn, database string) string {
	t.Helper()
	tables := strings.Split(text(t, conn, "SELECT arrayStringConcat(arraySort(groupArray(create_table_query)), '\n') FROM system.tables WHERE database = '"+database+"' AND name NOT IN ('schema_migrations', 'state_changes')"), "\n")
	for i, table := range tables {
		// The settings stand in the order in which they were made.
		create, settings, _ := strings.Cut(table, " SETTINGS ")
		each := strings.Split(settings, ", ")
		slices.Sort(each)
		tables[i] = create + " SETTINGS " + strings.Join(each, ", ")
	}
	return strings.ReplaceAll(strings.Join(tables, "\n"), database, "DB")
}

func TestFreshApply(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	m := migrator(t, conn, s, embedded)

	// A plan touches nothing.
	p := mustPlan(t, m)
	var kinds []string
	for _, x := range p.Steps {
		kinds = append(kinds, x.Kind)
	}
	want := "database ledger" + strings.Repeat(" migration", len(m.migrations)) + strings.Repeat(" view", len(schema.Views())) + strings.Repeat(" retention", len(schema.Kinds())+len(schema.RollupTables())) +
		strings.Repeat(" rollup", len(refreshes()))
	if got := strings.Join(kinds, " "); got != want {
		t.Error(got)
	}
	if again := mustPlan(t, m); again.String() != p.String() {
		t.Error("the second plan differs from the first")
	}
	if n := text(t, conn, "SELECT toString(count()) FROM system.databases WHERE name = '"+s.Database+"'"); n != "0" {
		t.Fatal("Plan has created the database")
	}

	// Apply does what the plan says: the same statements, run by hand in
	// another database, make the same tables.
	applied := mustApply(t, m)
	if applied.String() != p.String() {
		t.Error("Apply did something else than Plan said")
	}
	if p := mustPlan(t, m); !p.Empty() || len(p.Applied) != len(m.migrations) || p.Applied[0].Binary != "v1.2.3" || p.Applied[0].Name != "0001_events" || time.Since(p.Applied[0].AppliedAt) > time.Hour {
		t.Errorf("after Apply: %s%+v", p, p.Applied)
	}
	if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
		t.Error("Check after Apply:", d, err)
	}

	// Once more is a no-op.
	before := text(t, conn, "SELECT toString(groupArray(metadata_modification_time)) FROM system.tables WHERE database = '"+s.Database+"'")
	if again := mustApply(t, m); !again.Empty() {
		t.Error("the second Apply did", again)
	}
	if after := text(t, conn, "SELECT toString(groupArray(metadata_modification_time)) FROM system.tables WHERE database = '"+s.Database+"'"); after != before {
		t.Error("the second Apply has touched a table")
	}
	if n := text(t, conn, "SELECT toString(count()) FROM "+s.Database+".schema_migrations"); n != fmt.Sprint(len(m.migrations)) {
		t.Error(n, "rows in the ledger")
	}
}

// All migrations together make what the package schema describes today.
func TestMigrationsEqualSchema(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	m := migrator(t, conn, s, embedded)
	mustApply(t, m)
	other := embeddedtest.Database(t)
	for _, k := range schema.Kinds() {
		exec(t, conn, k.CreateTable(schema.Layout{Database: other}))
		for _, q := range k.ModifyTTL(schema.Layout{Database: other}, schema.DefaultRetention) {
			exec(t, conn, q)
		}
	}
	exec(t, conn, "CREATE TABLE "+other+".state_changes AS "+s.Database+".state_changes") // a migration alone describes it
	for _, q := range schema.Derived(schema.Layout{Database: other}, schema.DefaultRetention, schema.ViewSettings{}) {
		exec(t, conn, q)
	}
	if got, want := description(t, conn, s.Database), description(t, conn, other); got != want {
		t.Errorf("migrations make\n%s\nschema describes\n%s", got, want)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	show, err := Show(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range strings.Split(show, ";\n") {
		if strings.TrimSpace(q) != "" {
			exec(t, conn, q)
		}
	}
	if d, err := migrator(t, conn, s, embedded).Check(t.Context()); err != nil || len(d) != 0 {
		t.Error("the shown DDL makes something else:", d, err)
	}
}

func TestRetentionChanges(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	mustApply(t, migrator(t, conn, s, embedded))

	s.Retention = schema.Retention{Events: 90 * 24 * time.Hour, Raw: schema.DefaultRetention.Raw}
	m := migrator(t, conn, s, embedded)
	p := mustPlan(t, m)
	if len(p.Steps) != len(schema.Kinds()) || p.Steps[0].Kind != StepRetention || len(p.Steps[0].Statements) != 1 || !strings.Contains(p.Steps[0].Statements[0], "MODIFY TTL") {
		t.Fatal(p)
	}
	mustApply(t, m)
	if p := mustPlan(t, m); !p.Empty() {
		t.Error(p)
	}

	s.Retention.Raw = 36 * time.Hour
	m = migrator(t, conn, s, embedded)
	p = mustApply(t, m)
	if len(p.Steps) != len(schema.Kinds()) || len(p.Steps[0].Statements) != 1 || !strings.Contains(p.Steps[0].Statements[0], "MODIFY COLUMN raw") || !strings.Contains(p.String(), "TTL of raw") {
		t.Error(p)
	}
	if p := mustPlan(t, m); !p.Empty() {
		t.Error(p)
	}
	if got := text(t, conn, "SELECT create_table_query FROM system.tables WHERE database = '"+s.Database+"' AND name = 'rejects'"); !strings.Contains(got, "toIntervalSecond(129600)") {
		t.Error(got)
	}
	// Rows and columns are what they were.
	if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
		t.Error(d, err)
	}
}

// The longest retention that the configuration takes keeps a row: a TTL beyond ClickHouse's
// last DateTime would delete it at once.
func TestRetention_Longest(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	c, err := config.Parse("m.yaml", []byte("retention: {events: 25000d, raw: 25000d}\n"), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	s.Retention = SettingsOf(c, "").Retention
	mustApply(t, migrator(t, conn, s, embedded))
	exec(t, conn, "INSERT INTO "+s.Database+".rejects (received_at, raw) SELECT now64(3), 'frame'")
	exec(t, conn, "OPTIMIZE TABLE "+s.Database+".rejects FINAL")
	if got := text(t, conn, "SELECT any(raw) FROM "+s.Database+".rejects"); got != "frame" {
		t.Errorf("the row is %q", got)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	m := migrator(t, conn, s, embedded)
	mustApply(t, m)
	exec(t, conn, "INSERT INTO "+s.Database+".schema_migrations SELECT 8, '0008_future', 'abc', now64(3), 'v9.0.0'")
	for _, f := range []func(context.Context) (Plan, error){m.Plan, m.Apply} {
		_, err := f(t.Context())
		if !errors.Is(err, ErrSchemaNewer) {
			t.Fatal(err)
		}
		for _, want := range []string{"version 8", "0008_future", `"v9.0.0"`, fmt.Sprintf("up to %d", len(m.migrations))} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in %v", want, err)
			}
		}
	}
}

func TestEditedMigrationIsRefused(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	mustApply(t, migrator(t, conn, s, embedded))
	first, err := fs.ReadFile(embedded, firstFile)
	if err != nil {
		t.Fatal(err)
	}
	edited := fstest.MapFS{firstFile: {Data: []byte(strings.Replace(string(first), "-- The event tables", "-- All event tables", 1))}}
	_, err = migrator(t, conn, s, edited).Apply(t.Context())
	if !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), "0001_events") {
		t.Fatal(err)
	}
}

func TestOldServerIsRefused(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	files := fstest.MapFS{"migrations/0001_a.sql": {Data: []byte("-- server: 99.1\nCREATE TABLE IF NOT EXISTS `{{database}}`.a (x UInt8) ENGINE = {{engine}} ORDER BY x;\n")}}
	_, err := migrator(t, conn, s, files).Apply(t.Context())
	have := text(t, conn, "SELECT version()")
	if !errors.Is(err, ErrServerTooOld) || !strings.Contains(err.Error(), "99.1") || !strings.Contains(err.Error(), have) || !strings.Contains(err.Error(), "0001_a") {
		t.Fatal(err)
	}
	if n := text(t, conn, "SELECT toString(count()) FROM system.databases WHERE name = '"+s.Database+"'"); n != "0" {
		t.Error("something was changed")
	}
}

// A view is made anew when the configuration has other classes, or somebody has put another
// in its place.
func TestViewsChange(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	mustApply(t, migrator(t, conn, s, embedded))
	classes, err := schema.NewClassTable([]schema.OwnClass{{Word: "junk", Class: "spam"}})
	if err != nil {
		t.Fatal(err)
	}
	s.Views.Classes = classes
	m := migrator(t, conn, s, embedded)
	if d, err := m.Check(t.Context()); err != nil || len(d) != 6 || !strings.Contains(d[0].String(), "classes is another: is of another version or configuration") {
		t.Error(d, err)
	}
	p := mustApply(t, m)
	if len(p.Steps) != 6 || p.Steps[0].Kind != StepView || p.Steps[0].Name != "classes" || p.Steps[1].Name != "messages" {
		t.Error(p)
	}
	if got := text(t, conn, "SELECT class FROM "+s.Database+".classes WHERE word = 'junk'"); got != "spam" {
		t.Error(got)
	}
	if p := mustPlan(t, m); !p.Empty() {
		t.Error(p)
	}
	exec(t, conn, "CREATE OR REPLACE VIEW "+s.Database+".message_trail AS SELECT 1 AS x")
	if p := mustApply(t, m); len(p.Steps) != 1 || p.Steps[0].Name != "message_trail" {
		t.Error(p)
	}
	if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
		t.Error(d, err)
	}
}

// A crash after any statement is finished by the next Apply.
func TestHalfApplied(t *testing.T) {
	t.Parallel()
	conn, whole := fresh(t)
	mustApply(t, migrator(t, conn, whole, embedded))
	_, s := fresh(t)
	crash := errors.New("crash")
	done := map[string]bool{}
	for { // each attempt begins with what the one before has left, and gets one statement further
		m := migrator(t, conn, s, embedded)
		m.afterStatement = func(q string) error {
			if !done[q] {
				done[q] = true
				return crash
			}
			return nil
		}
		_, err := m.Apply(t.Context())
		if err != nil && !errors.Is(err, crash) {
			t.Fatalf("after statement %d: %v", len(done), err)
		}
		if err != nil {
			continue
		}
		if want := len(schema.Kinds()) + len(schema.Views()) + len(schema.RollupTables()) + len(refreshes()); len(done) < want {
			t.Errorf("%d statements, where there are %d tables and views", len(done), want)
		}
		m.afterStatement = nil
		if p := mustPlan(t, m); !p.Empty() || len(p.Applied) != len(m.migrations) {
			t.Errorf("%s", p)
		}
		if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
			t.Errorf("%v %v", d, err)
		}
		if got, want := description(t, conn, s.Database), description(t, conn, whole.Database); got != want {
			t.Errorf("other tables:\n%s\nwant\n%s", got, want)
		}
		return
	}
}

func TestTwoAppliersAtOnce(t *testing.T) {
	t.Parallel()
	_, s := fresh(t)
	const appliers = 4
	errs := make([]error, appliers)
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range appliers {
		m := migrator(t, admin(t), s, embedded)
		wait.Go(func() {
			<-start
			_, errs[i] = m.Apply(t.Context())
		})
	}
	close(start)
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	m := migrator(t, admin(t), s, embedded)
	if p := mustPlan(t, m); !p.Empty() || len(p.Applied) != len(m.migrations) {
		t.Errorf("%s%+v", p, p.Applied)
	}
	if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
		t.Error(d, err)
	}
}

// One more migration is applied over rows of those before, by its own binary only.
func TestOneMoreMigration(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	ours, files := fstest.MapFS{}, fstest.MapFS{}
	names, err := fs.Glob(embedded, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(embedded, name)
		if err != nil {
			t.Fatal(err)
		}
		ours[name] = &fstest.MapFile{Data: text}
		files[name] = ours[name]
	}
	more := fmt.Sprintf("%04d_more", len(names)+1)
	files["migrations/"+more+".sql"] = &fstest.MapFile{Data: []byte("-- server: 24.8\n\nALTER TABLE `{{database}}`.`rejects`{{on_cluster}}\n  ADD COLUMN IF NOT EXISTS more String;\n\n-- a remark\n" +
		"CREATE TABLE IF NOT EXISTS `{{database}}`.`more`{{on_cluster}} (x UInt8) ENGINE = {{engine}} ORDER BY x;\n")}
	old := migrator(t, conn, s, ours)
	mustApply(t, old)
	exec(t, conn, "INSERT INTO "+s.Database+".rejects (received_at, reason) SELECT now64(3), 'short'")
	newer := migrator(t, conn, s, files)
	p := mustApply(t, newer)
	if len(p.Steps) != 1 || p.Steps[0].Name != more || len(p.Steps[0].Statements) != 2 {
		t.Error(p)
	}
	if n := text(t, conn, "SELECT toString(count()) FROM "+s.Database+".rejects WHERE more = ''"); n != "1" {
		t.Error(n)
	}
	if _, err := old.Plan(t.Context()); !errors.Is(err, ErrSchemaNewer) {
		t.Error(err)
	}
}

func TestCheckFindsAndMends(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	m := migrator(t, conn, s, embedded)
	if d, err := m.Check(t.Context()); err != nil || len(d) != len(schema.Kinds())+len(schema.Views())+len(schema.RollupTables())+len(refreshes()) || !strings.Contains(d[0].String(), "message_events is missing") {
		t.Fatal(d, err)
	}
	mustApply(t, m)
	db := s.Database
	exec(t, conn, "INSERT INTO "+db+".message_events (received_at, sender) SELECT now64(3), 'a@example.com'")
	f := func(damage, want string, mends bool) {
		t.Helper()
		for _, q := range strings.Split(damage, ";") {
			exec(t, conn, q)
		}
		d, err := m.Check(t.Context())
		if err != nil || len(d) != 1 || !strings.Contains(d[0].String(), want) {
			t.Fatalf("%s: %v %v", damage, d, err)
		}
		if !mends {
			return
		}
		for _, q := range strings.Split(d[0].Statement, ";\n") {
			exec(t, conn, q)
		}
		if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
			t.Fatalf("%s: not mended: %v %v", damage, d, err)
		}
	}
	table := "ALTER TABLE " + db + ".message_events "
	f(table+"DROP COLUMN helo", "column helo is missing (want String)", true)
	if got := text(t, conn, "SELECT name FROM system.columns WHERE database = '"+db+"' AND table = 'message_events' AND position = (SELECT position - 1 FROM system.columns WHERE database = '"+db+"' AND table = 'message_events' AND name = 'incoming_size')"); got == "" {
		t.Error("no column before incoming_size")
	}
	f(table+"MODIFY COLUMN bandwidth UInt32", "column bandwidth is UInt32, want UInt64", true)
	f(table+"ADD COLUMN mine String", "column mine is not expected", true)
	f(table+"MODIFY COLUMN sender String CODEC(ZSTD(1))", "codec of sender is CODEC(ZSTD(1)), want Default", true)
	f(table+"MODIFY COLUMN k_off REMOVE CODEC", "codec of k_off is Default, want", true)
	f(table+"DROP INDEX i_id", "index i_id is missing", true)
	f(table+"DROP INDEX i_id;"+table+"ADD INDEX i_id id TYPE bloom_filter(0.1)", "index i_id is id TYPE bloom_filter(0.1), want id TYPE bloom_filter(0.01)", true)
	f(table+"ADD INDEX i_mine helo TYPE minmax", "index i_mine is not expected", true)
	f(table+"MODIFY SETTING non_replicated_deduplication_window = 5", "setting non_replicated_deduplication_window is 5, want 10000", true)
	f(table+"REMOVE TTL", "TTL is none, want", true)
	f(table+"MODIFY COLUMN raw REMOVE TTL", "TTL of raw is none, want", true)
	create := schema.KindByName("message").CreateTable(schema.Layout{Database: db})
	f("RENAME TABLE "+db+".message_events TO "+db+".m;"+strings.Replace(create, "ORDER BY (domain, id_time, id)", "ORDER BY (id, domain)", 1)+";"+
		strings.Join(schema.KindByName("message").ModifyTTL(schema.Layout{Database: db}, schema.DefaultRetention), ";")+
		";INSERT INTO "+db+".message_events SELECT * FROM "+db+".m;DROP TABLE "+db+".m SYNC",
		"sorting key is id, domain, want domain, id_time, id; it cannot be altered", false)
	// What a rebuild leaves is set by the next Apply.
	d, err := m.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range strings.Split(d[0].Statement, ";\n") {
		exec(t, conn, q)
	}
	mustApply(t, m)
	if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
		t.Fatal(d, err)
	}
	if n := text(t, conn, "SELECT toString(count()) FROM "+db+".message_events"); n != "1" {
		t.Error(n, "rows after the rebuild")
	}
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for _, s := range []Settings{{Database: "a`b"}, {Database: "a b"}, {Database: "1a"}, {Cluster: "a`b"}} {
		if _, err := New(nil, s); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

func TestReadMigrations_Failure(t *testing.T) {
	t.Parallel()
	f := func(name, text, want string) {
		t.Helper()
		_, err := readMigrations(fstest.MapFS{"migrations/" + name: {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %q: %v, want %q", name, text, err, want)
		}
	}
	f("1_a.sql", "-- server: 24.8\nSELECT 1;\n", "want NNNN_name")
	f("0002_a.sql", "-- server: 24.8\nSELECT 1;\n", "should be 0001")
	f("0001_a.sql", "SELECT 1;\n", "server")
	f("0001_a.sql", "-- server: new\nSELECT 1;\n", `"new"`)
	f("0001_a.sql", "-- server: 24.8\n", "no statement")
	f("0001_a.sql", "-- server: 24.8\nSELECT 1\n", "no ';'")
	m, err := newMigrator(nil, Settings{}, fstest.MapFS{"migrations/0001_a.sql": {Data: []byte("-- server: 24.8\nSELECT {{what}};\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.settings.render(m.migrations[0].Statements[0]); err == nil || !strings.Contains(err.Error(), "{{what}}") {
		t.Error(err)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	less := func(a, b string, want bool) {
		t.Helper()
		v, err1 := parseVersion(a)
		w, err2 := parseVersion(b)
		if err1 != nil || err2 != nil || v.less(w) != want {
			t.Error(a, b, err1, err2)
		}
	}
	less("24.8.1.1", "26.7", true)
	less("26.7.2.1", "26.7", false)
	less("26.10", "26.7", false)
	less("25.12", "26.1", true)
}

func TestNormalTTL(t *testing.T) {
	t.Parallel()
	same := func(a, b string, want bool) {
		t.Helper()
		if (normalTTL(a) == normalTTL(b)) != want {
			t.Errorf("%q and %q: %q and %q", a, b, normalTTL(a), normalTTL(b))
		}
	}
	same("toDateTime(received_at) + INTERVAL 400 DAY DELETE", "toDateTime(received_at) + toIntervalSecond(34560000)", true)
	same("toDateTime(received_at) + INTERVAL 400 DAY", "toDateTime(received_at) + toIntervalDay(401)", false)
	same("a + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), a + toIntervalDay(9)", "a + toIntervalDay(9), a + toIntervalWeek(1) RECOMPRESS CODEC(ZSTD(3))", true)
	same("a + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3))", "a + toIntervalDay(7)", false)
	same("(toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(5)", "toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(5)", true)
}

func TestParseCreateTable(t *testing.T) {
	t.Parallel()
	ttl, settings := parseEngine("MergeTree PARTITION BY toMonday(received_at) ORDER BY (a, b) TTL a + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), a + toIntervalDay(9) SETTINGS x = 1, y = 'a, b'")
	if ttl != "a + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), a + toIntervalDay(9)" || fmt.Sprint(settings) != "map[x:1 y:a, b]" {
		t.Errorf("%q %v", ttl, settings)
	}
	got := columnTTLs("CREATE TABLE d.t (`a` DateTime64(3, 'UTC') CODEC(Delta(8), Default), `raw` String DEFAULT 'x, ) TTL y' COMMENT 'a ''b' TTL toDateTime(a) + toIntervalDay(3), `z` UInt8, INDEX i id TYPE minmax) ENGINE = MergeTree ORDER BY a TTL q")
	if fmt.Sprint(got) != "map[raw:toDateTime(a) + toIntervalDay(3)]" {
		t.Error(got)
	}
	for _, broken := range []string{"", "(", "CREATE TABLE d.t (`a", "CREATE TABLE x (`a` String TTL '"} {
		columnTTLs(broken)
		parseEngine(broken)
	}
}
