package query

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/migrate"
	"millrace/internal/porttest"
	"millrace/schema"
)

var update = flag.Bool("update", false, "write the golden files")

func reader(t testing.TB, database string) Options {
	t.Helper()
	s := embeddedtest.ClickHouse(t)
	return Options{Addresses: []string{s.NativeAddr}, Database: database, User: s.Reader.User, Password: s.Reader.Password}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", path, got, want)
	}
}

// everything has a column for each kind of type, and a row in which all that
// may be is NULL or empty.
const everything = `
SELECT
    number AS n,
    toUInt64(18446744073709551615) AS u64, toInt64(-9223372036854775808) AS i64,
    toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935') AS u256,
    toInt8(-1) AS i8, number = 1 AS flag8, (number = 0) :: Bool AS b,
    toFloat64(1e21) AS f1, toFloat64(1e-7) AS f2, toFloat32(0.1) AS f3, nan AS f4, -inf AS f5, toFloat64(100000) AS f6,
    toDecimal64('-12.3400', 4) AS dec,
    'tab\there, "quoted", it''s \\ line\nNUL\0 é漢' AS text,
    toFixedString('ab', 4) AS fixed,
    toLowCardinality('low') AS low,
    if(number = 0, NULL, 'set') :: Nullable(String) AS nullable,
    if(number = 0, NULL, 'set') :: LowCardinality(Nullable(String)) AS lownull,
    if(number = 0, NULL, 7) :: Nullable(UInt64) AS nullnum,
    NULL AS nothing,
    toDate('2026-11-21') AS date, toDate32('1925-01-01') AS date32,
    toDateTime('2026-11-21 03:04:05', 'UTC') AS dt,
    toDateTime('2026-11-21 03:04:05', 'Asia/Tokyo') AS dttokyo,
    toDateTime64('2026-11-21 03:04:05.120', 3, 'UTC') AS dt64,
    toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0') AS uuid,
    toIPv4('192.0.2.1') AS ip4, toIPv6('2001:db8::1') AS ip6, toIPv6('192.0.2.1') AS ip6mapped,
    CAST('b', 'Enum8(''a'' = 1, ''b'' = 2)') AS enum,
    CAST('it''s', 'Enum16(''it\\''s'' = 1, ''x, y'' = 2)') AS enum16,
    if(number = 0, [], ['a', 'it''s', 'tab\t']) AS texts,
    [1, 2, NULL] AS nums,
    [[1], [], [2, 3]] AS nested,
    [toDateTime64('2026-11-21 03:04:05.120', 3, 'UTC')] AS times,
    map('z', 1, 'a', 2) AS m,
    CAST(map('k', ['v', 'w']), 'Map(LowCardinality(String), Array(String))') AS m2,
    [map('a', 1, 'b', 2)] AS ms,
    map(3, 'c', 1, 'a') AS mn,
    (1, 'two', NULL) AS tuple,
    CAST((1, 'two'), 'Tuple(z UInt8, a String)') AS named,
    [CAST((toIPv4('192.0.2.1'), toDecimal32('1.5', 2)), 'Tuple(ip IPv4, d Decimal(9, 2))')] AS tuples,
    (1.5, 2.) :: Point AS point,
    INTERVAL 3 DAY AS iv
FROM numbers(2)`

func TestFormatsGolden(t *testing.T) {
	t.Parallel()
	for _, f := range Formats() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s, err := Run(t.Context(), reader(t, "default"), everything, &out, f)
			if err != nil {
				t.Fatal(err)
			}
			if s.Rows != 2 || s.Cut || s.Elapsed <= 0 {
				t.Errorf("%+v", s)
			}
			golden(t, "everything."+string(f), out.Bytes())
			switch f {
			case JSON:
				for line := range strings.Lines(out.String()) {
					var v map[string]any
					if err := json.Unmarshal([]byte(line), &v); err != nil {
						t.Errorf("%v: %s", err, line)
					}
				}
			case CSV:
				all, err := csv.NewReader(&out).ReadAll()
				if err != nil || len(all) != 3 {
					t.Error(len(all), err)
				}
			}
		})
	}
}

// The server's own TabSeparated, over HTTP, is what ours has to equal.
func TestTSVEqualsClickHouse(t *testing.T) {
	t.Parallel()
	server := embeddedtest.ClickHouse(t)
	// The driver renders intervals itself.
	sql := strings.Replace(everything, "INTERVAL 3 DAY AS iv", "1 AS iv", 1)
	u := url.URL{
		Scheme: "http", Host: server.HTTPAddr, Path: "/",
		RawQuery: url.Values{"default_format": {"TabSeparated"}, "enable_named_columns_in_function_tuple": {"0"}}.Encode(),
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u.String(), strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(server.Reader.User, server.Reader.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp.Status, err, string(want))
	}
	var out bytes.Buffer
	if _, err := Run(t.Context(), reader(t, "default"), sql, &out, TSV); err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		g, w := strings.Split(out.String(), "\t"), strings.Split(string(want), "\t")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Errorf("column %d: got %q, ClickHouse has %q", i, g[i], w[i])
			}
		}
		t.Errorf("%d and %d cells", len(g), len(w))
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, err := Run(t.Context(), reader(t, "default"),
		"SELECT subject, messages FROM values('subject String, messages UInt64', ('plain', 5), ('漢字 かな', 12345), ('e\u0301te\u0301 ☔', 7), ('\\x1b[31mred\\nline\\t\u202e\\xff', 1)) ;\n", &out, Table)
	if err != nil {
		t.Fatal(err)
	}
	if s.Rows != 4 || !strings.HasPrefix(s.String(), "4 rows in 0.") {
		t.Errorf("%+v %s", s, s)
	}
	golden(t, "wide.table", out.Bytes())
}

func TestEmptyAndTotals(t *testing.T) {
	t.Parallel()
	for _, f := range Formats() {
		var out bytes.Buffer
		s, err := Run(t.Context(), reader(t, "default"), "SELECT number AS n, 'x' AS t FROM numbers(0)", &out, f)
		if err != nil || s.Rows != 0 {
			t.Error(s, err)
		}
		want := map[Format]string{TSV: "", JSON: "", CSV: "n,t\r\n", Table: "┌───┬───┐\n│ n │ t │\n├───┼───┤\n└───┴───┘\n"}[f]
		if out.String() != want {
			t.Errorf("%s: %q", f, out.String())
		}
		out.Reset()
		if _, err := Run(t.Context(), reader(t, "default"), "SELECT number % 2 AS n, count() AS c FROM numbers(5) GROUP BY n WITH TOTALS ORDER BY n", &out, f); err != nil {
			t.Error(err)
		}
		want = map[Format]string{
			TSV: "0\t3\n1\t2\n\n0\t5\n", JSON: "{\"n\":0,\"c\":3}\n{\"n\":1,\"c\":2}\n", CSV: "n,c\r\n0,3\r\n1,2\r\n\r\n0,5\r\n",
			Table: "┌───┬───┐\n│ n │ c │\n├───┼───┤\n│ 0 │ 3 │\n│ 1 │ 2 │\n├───┼───┤\n│ 0 │ 5 │\n└───┴───┘\n",
		}[f]
		if out.String() != want {
			t.Errorf("%s: %q", f, out.String())
		}
	}
}

func TestTableIsCut(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, err := Run(t.Context(), reader(t, "default"), "SELECT number FROM numbers(1000000000)", &out, Table)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Cut || s.Rows != MaxTableRows || !strings.HasPrefix(s.String(), "cut after 10,000 rows") {
		t.Errorf("%+v %s", s, s)
	}
	if n := strings.Count(out.String(), "\n"); n != MaxTableRows+4 {
		t.Error(n, "lines")
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := func(sql string, code int32, text string) {
		t.Helper()
		_, err := Run(t.Context(), reader(t, "default"), sql, io.Discard, TSV)
		var e *Error
		if !errors.As(err, &e) || e.Code != code || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want code %d and %q", sql, err, code, text)
			return
		}
		if strings.Contains(err.Error(), "DB::Exception") || strings.Contains(err.Error(), "(version") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: not clean: %v", sql, err)
		}
	}
	f("SELEC 1", 62, "Syntax error")
	f("SELECT nothing", 47, "nothing")
	f("SELECT 1 FROM none", 60, "none")
	f("SELECT throwIf(number = 100000, 'on the way') FROM numbers(1000000) SETTINGS max_block_size = 1000", 395, "on the way")
	// What the user may not do at all; 497 is ACCESS_DENIED.
	f("CREATE TABLE x (a UInt8) ENGINE = Memory", 497, "privileges")
	f("SELECT * FROM file('/etc/passwd', 'LineAsString')", 497, "privileges")

	for _, sql := range []string{"", " ;\n"} {
		if _, err := Run(t.Context(), reader(t, "default"), sql, io.Discard, TSV); err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("%q: %v", sql, err)
		}
	}
	if _, err := Run(t.Context(), reader(t, "default"), "SELECT 1 format JSON;", io.Discard, TSV); err == nil || !strings.Contains(err.Error(), "FORMAT JSON") {
		t.Error(err)
	}
	if _, err := Run(t.Context(), reader(t, "default"), "SELECT 1 AS format ORDER BY\nformat DESC", io.Discard, TSV); err != nil {
		t.Error(err)
	}
	// What a server says to a user who may not touch the setting at all.
	if _, err := Run(t.Context(), reader(t, "default"), "SELECT 1 SETTINGS readonly = 1", io.Discard, TSV); !isReadonlySetting(err) {
		t.Error(err)
	}
	if _, err := Run(t.Context(), reader(t, "default"), "SELECT 1", io.Discard, "xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Error(err)
	}
	o := reader(t, "default")
	o.Addresses = []string{porttest.TCP(t)}
	if _, err := Run(t.Context(), o, "SELECT 1", io.Discard, TSV); err == nil || !strings.HasPrefix(err.Error(), "cannot connect to ClickHouse at 127.0.0.1:") {
		t.Error(err)
	}
}

// Even a user who may write cannot through this package.
func TestAdminIsReadOnlyToo(t *testing.T) {
	t.Parallel()
	database := embeddedtest.Database(t)
	server := embeddedtest.ClickHouse(t)
	o := reader(t, database)
	o.User, o.Password = server.Admin.User, server.Admin.Password
	var e *Error
	if _, err := Run(t.Context(), o, "CREATE TABLE x (a UInt8) ENGINE = Memory", io.Discard, TSV); !errors.As(err, &e) || e.Code != 164 {
		t.Error(err)
	}
}

type firstWrite struct {
	bytes.Buffer
	first chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.Len() == 0 {
		close(w.first)
	}
	return w.Buffer.Write(p)
}

// Rows come while the query still runs, and the end of the context ends it on
// the server.
func TestStreamAndCancel(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{TSV, CSV, JSON} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			mark := fmt.Sprintf("cancel_%s_%d", f, time.Now().UnixNano())
			w := &firstWrite{first: make(chan struct{})}
			done := make(chan error, 1)
			go func() {
				_, err := Run(ctx, reader(t, "default"),
					"SELECT number AS "+mark+", sleepEachRow(0.02) FROM numbers(1000000) SETTINGS max_block_size = 5, max_execution_time = 0, function_sleep_max_microseconds_per_block = 0", w, f)
				done <- err
			}()
			select {
			case <-w.first:
			case err := <-done:
				t.Fatal(err)
			}
			admin := embeddedtest.Connect(t, "")
			running := func() (n uint64) {
				if err := admin.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE query LIKE '%"+mark+"%' AND query NOT LIKE '%system.processes%'").Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			if running() != 1 {
				t.Fatal("the query is not running")
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			for running() != 0 {
				time.Sleep(20 * time.Millisecond) // ends with the test's own deadline
			}
		})
	}
}

// A consumer that stops while the driver holds blocks back must not bring the
// process down: many rows, cut at many moments.
func TestCancelWhileBlocksWait(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		w := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
		_, err := Run(ctx, reader(t, "default"), fmt.Sprintf("SELECT number, repeat('x', %d) FROM numbers(100000000)", 10+i), w, TSV)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
	}
	fail := writerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe })
	for _, f := range Formats() {
		sql := "SELECT number FROM numbers(100000000)"
		if f == Table {
			sql = "SELECT 1"
		}
		if _, err := Run(t.Context(), reader(t, "default"), sql, fail, f); !errors.Is(err, io.ErrClosedPipe) || !strings.HasPrefix(err.Error(), "cannot write the result") {
			t.Errorf("%s: %v", f, err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// tables makes all tables and views in a database of its own, and fills them.
func tables(t *testing.T, inserts ...string) (database string) {
	t.Helper()
	database = embeddedtest.Database(t)
	admin := embeddedtest.Connect(t, database)
	m, err := migrate.New(admin, migrate.Settings{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, k := range schema.Kinds() {
		all = append(all, k.CreateTable(schema.Layout{Database: database}))
	}
	trail, err := m.StateTable()
	if err != nil {
		t.Fatal(err)
	}
	all = append(append(all, trail), schema.Derived(schema.Layout{Database: database}, schema.DefaultRetention, schema.ViewSettings{})...)
	for _, sql := range append(all, inserts...) {
		if err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return database
}

func TestReports(t *testing.T) {
	t.Parallel()
	database := tables(t,
		"INSERT INTO message_events (received_at, event_time, sender, recipient, incoming_size, status_norm) SELECT now64(3), toDateTime64('2026-11-21 03:00:00', 3, 'UTC') + number, 's' || toString(intDiv(number, 4)) || '@example.com', 'r' || toString(number % 3) || '@example.net', 1000 + number, if(number % 5 = 0, 'rejected', 'delivered') FROM numbers(10)",
		"INSERT INTO message_events (received_at, event_time, sender, status_norm) SELECT now64(3) - toIntervalHour(48), toDateTime64('2026-11-19 03:00:00', 3, 'UTC'), 'old@example.com', 'queued' FROM numbers(20)",
		"INSERT INTO message_events (received_at, event_time, recipient, status_norm) SELECT now64(3), toDateTime64('2026-11-21 03:00:00', 3, 'UTC'), 'r@example.net', 'queued' FROM numbers(3)",
		"INSERT INTO status_events (received_at, event_time, status_norm) SELECT now64(3), toDateTime64('2026-11-21 04:00:00', 3, 'UTC'), 'delivered' FROM numbers(3)",
		"INSERT INTO rejects (received_at, event_time, reason) SELECT now64(3), toDateTime64('2026-11-21 05:00:00', 3, 'UTC'), 'short' FROM numbers(2)",
	)
	for _, name := range plain {
		r, err := FindReport(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := RunReport(t.Context(), reader(t, database), r, nil, &out, Table); err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		golden(t, "report_"+r.Name+".table", out.Bytes())
	}
	r, err := FindReport("top_senders")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := RunReport(t.Context(), reader(t, database), r, map[string]string{"hours": "72", "limit": "1"}, &out, TSV); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "old@example.com\t20\t") || strings.Count(out.String(), "\n") != 1 {
		t.Error(out.String())
	}
	if _, err := RunReport(t.Context(), reader(t, database), r, map[string]string{"days": "1"}, &out, TSV); err == nil || !strings.Contains(err.Error(), "hours, limit") {
		t.Error(err)
	}
	if _, err := RunReport(t.Context(), reader(t, database), r, map[string]string{"limit": "1); DROP TABLE rejects"}, &out, TSV); err == nil || !strings.Contains(err.Error(), `"1); DROP TABLE rejects": want a number`) {
		t.Error("a parameter is text, never SQL:", err)
	}
	if _, err := FindReport("none"); err == nil || !strings.Contains(err.Error(), "events_by_status, feedback") {
		t.Error(err)
	}
}

// Limits hold on the server, and one that the user's profile does not let grow takes none of
// the others away.
func TestLimits(t *testing.T) {
	t.Parallel()
	o := reader(t, "default")
	for _, w := range []struct {
		limits Limits
		sql    string
		want   bool
	}{
		{Limits{Groups: 1000}, "SELECT number % 100_000 AS n FROM numbers(1_000_000) GROUP BY n", true},
		{Limits{Groups: 1000}, "SELECT number % 100 AS n FROM numbers(1_000_000) GROUP BY n", false},
		{Limits{Rows: 1000}, "SELECT max(number) FROM numbers(1_000_000)", true},
		{Limits{Groups: 1000, Memory: 1 << 50, Time: time.Hour}, "SELECT number % 100_000 AS n FROM numbers(1_000_000) GROUP BY n", true},
	} {
		_, err := RunStatement(t.Context(), o, Statement{SQL: w.sql, Limits: w.limits}, Output{To: io.Discard, Format: TSV})
		if TooManyRows(err) != w.want || !w.want && err != nil {
			t.Errorf("%s with %+v: %v", w.sql, w.limits, err)
		}
	}
}

// A page has the rows that are wanted, says whether there are more, and what was read for it,
// which the server tells behind the last row.
func TestPage(t *testing.T) {
	t.Parallel()
	o := reader(t, "default")
	for sent, more := range map[int]bool{9: false, 10: false, 11: true, 12: true, 200_000: true} {
		var out bytes.Buffer
		s, err := RunStatement(t.Context(), o, Statement{SQL: fmt.Sprintf("SELECT number FROM numbers(%d)", sent)}, Output{To: &out, Format: TSV, Limit: 10})
		if rows := strings.Count(out.String(), "\n"); err != nil || rows != min(sent, 10) || s.Rows != rows || s.More != more || sent <= 11 && s.ReadRows != uint64(sent) {
			t.Errorf("of %d: %d rows, %+v, %v", sent, rows, s, err)
		}
	}
}
