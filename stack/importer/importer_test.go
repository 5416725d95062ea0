package importer

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/transformer"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// world is a broker, tables, and a transformer between them, if there is one.
type world struct {
	t        *testing.T
	o        Options
	conn     driver.Conn
	database string
}

func newWorld(t *testing.T, formats ...string) *world {
	t.Helper()
	w := &world{t: t, database: embeddedtest.Database(t)}
	w.conn = embeddedtest.Connect(t, w.database)
	for _, k := range schema.Kinds() {
		if err := w.conn.Exec(t.Context(), k.CreateTable(schema.Layout{Database: w.database})); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config.Default()
	cfg.Kafka.Brokers, cfg.ClickHouse.Database = []string{embeddedtest.Broker(t).Addr}, w.database
	zone, err := time.LoadLocation("Europe/Sofia")
	if err != nil {
		t.Fatal(err)
	}
	ch := embeddedtest.ClickHouse(t)
	w.o = Options{
		ImportOptions: ingester.ImportOptions{
			Config: cfg, As: config.Files{Name: "import", Formats: formats, TimeZone: zone, SMTPPort: 25, Raw: "always", MaxLine: 64 * config.KiB, Direction: "unknown"},
			Mail: len(formats) == 1 && formats[0] == config.ReportFormat, Log: slog.New(slog.DiscardHandler),
		},
		ClickHouse: []*clickhouse.Options{{Addr: []string{ch.NativeAddr}, Auth: clickhouse.Auth{Username: ch.Reader.User, Password: ch.Reader.Password}}},
		Database:   w.database,
	}
	return w
}

// run imports files, and returns how many events and rejects it has published.
func (w *world) run(paths ...string) int {
	w.t.Helper()
	w.o.Paths = paths
	var last *ingester.Imported
	if err := Run(w.t.Context(), w.o, func(done *ingester.Imported) { last = done }); err != nil {
		w.t.Fatal(err)
	}
	a := last.Account()
	if !a.Closes() || a.InFlight != 0 {
		w.t.Errorf("%+v", a)
	}
	return int(a.Published + a.RejectedTotal())
}

// insert runs a transformer until the tables have so many rows.
func (w *world) insert(rows int) {
	w.t.Helper()
	k := w.o.Config.Kafka
	tr, err := transformer.New(transformer.Options{
		Brokers: k.Brokers, Group: k.Group, TopicPrefix: k.TopicPrefix, Database: w.database,
		ClickHouse: &clickhouse.Options{Addr: []string{embeddedtest.ClickHouse(w.t).NativeAddr}, Auth: clickhouse.Auth{Username: embeddedtest.ClickHouse(w.t).Admin.User, Password: embeddedtest.ClickHouse(w.t).Admin.Password}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	soft, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(soft, context.Background()) }()
	for end := time.Now().Add(time.Minute); w.rows() < rows && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	stop()
	if err := <-ended; err != nil {
		w.t.Fatal(err)
	}
	if n := w.rows(); n != rows {
		w.t.Fatalf("%d rows, want %d", n, rows)
	}
}

func (w *world) rows() int {
	w.t.Helper()
	all := 0
	for _, k := range schema.Kinds() {
		var n uint64
		if err := w.conn.QueryRow(w.t.Context(), "SELECT count() FROM "+w.database+"."+k.Table).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		all += int(n)
	}
	return all
}

// smtpLog is a log of so many messages, four lines each.
func smtpLog(messages int) []byte {
	var b bytes.Buffer
	for n := range messages {
		for _, text := range []string{fmt.Sprintf("from, s%d@example.org", n), "resp, 250 ok", fmt.Sprintf("to, <r%d@example.com>", n), "resp, 554 no"} {
			fmt.Fprintf(&b, "2021-03-09 12:%02d:%02d, %s\n", n/60%60, n%60, text)
		}
	}
	return b.Bytes()
}

func (w *world) file(name string, text []byte) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// A file is imported, again while its rows are on their way, again when they are there,
// grown, and compressed: each line is there once.
func TestRun_Again(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "smtp")
	text := smtpLog(1000)
	path := w.file("smtp.log", text[:len(text)/2])
	half := w.run(path)
	if half < 490 {
		t.Fatalf("%d events of half the file", half)
	}
	if n := w.run(path); n != 0 {
		t.Errorf("%d events while the first are on their way", n)
	}
	w.insert(half)
	if n := w.run(path); n != 0 {
		t.Errorf("%d events when the first are inserted", n)
	}
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	z.Close()
	// The last message of the half was cut, and is there so: its other lines are rejects or another event.
	rest := w.run(w.file("smtp.log.gz", gz.Bytes()))
	w.insert(half + rest)
	var messages, doubled uint64
	if err := w.conn.QueryRow(t.Context(), "SELECT uniqExact(sender), toUInt64(count() - uniqExact(source_offset)) FROM "+w.database+".smtp_transactions").Scan(&messages, &doubled); err != nil {
		t.Fatal(err)
	}
	if messages != 1000 || doubled != 0 {
		t.Errorf("%d messages, %d doubled", messages, doubled)
	}
}

// An import that is stopped has published what it has read, and the next one goes on.
func TestRun_Stopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "smtp")
	w.o.Paths = []string{w.file("smtp.log", smtpLog(200_000))}
	pressed := errors.New("somebody pressed Ctrl-C")
	ctx, stop := context.WithCancelCause(t.Context())
	var last *ingester.Imported
	err := Run(ctx, w.o, func(done *ingester.Imported) {
		if last = done; done.Account().Received > 0 {
			stop(pressed)
		}
	})
	first := int(last.Account().Published)
	if err != nil && (!errors.Is(err, pressed) || !strings.Contains(err.Error(), "goes on where it was")) {
		t.Fatal(err)
	}
	if second := w.run(w.o.Paths...); first+second != 200_000 {
		t.Errorf("%d events, then %d", first, second)
	}
}

// Reports in an mbox and in a Maildir.
func TestRun_Reports(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.ReportFormat)
	w.o.As.MaxLine = 16 * config.MiB
	report := func(n int) string {
		return fmt.Sprintf("From: abuse@example.net\nTo: abuse@example.com\nSubject: report %d\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=x\n\n"+
			"--x\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: SpamExperts\nVersion: 1\nArrival-Date: Mon, 08 Jun 2026 14:02:37 +0200\n\n"+
			"--x\nContent-Type: text/rfc822-headers\n\nFrom: a@example.com\nMessage-ID: <%d@example.com>\n\n--x--\n", n, n)
	}
	var mbox strings.Builder
	for n := range 5 {
		fmt.Fprintf(&mbox, "From a@example.net Mon Jun  8 14:02:37 2026\n%s\n", report(n))
	}
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for n := 5; n < 8; n++ {
		if err := os.WriteFile(filepath.Join(dir, "new", fmt.Sprintf("%d.host", n)), []byte(report(n)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	paths := []string{w.file("abuse.mbox", []byte(mbox.String())), dir, w.file("one.eml", []byte(report(8)))}
	if n := w.run(paths...); n != 9 {
		t.Errorf("%d reports", n)
	}
	if n := w.run(paths...); n != 0 {
		t.Errorf("%d reports once more", n)
	}
	w.insert(9)
	var ids uint64
	if err := w.conn.QueryRow(t.Context(), "SELECT uniqExact(message_id) FROM "+w.database+".feedback_reports").Scan(&ids); err != nil || ids != 9 {
		t.Errorf("%d messages, %v", ids, err)
	}
}

// Tables that are missing are said to be so before anything is published.
func TestRun_NoTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "smtp")
	if err := w.conn.Exec(t.Context(), "DROP TABLE "+w.database+".smtp_transactions SYNC"); err != nil {
		t.Fatal(err)
	}
	w.o.Paths = []string{w.file("smtp.log", smtpLog(3))}
	err := Run(t.Context(), w.o, func(*ingester.Imported) {})
	if err == nil || !strings.Contains(err.Error(), "table smtp_transactions is missing") || !strings.Contains(err.Error(), "millrace schema apply") {
		t.Error(err)
	}
}
