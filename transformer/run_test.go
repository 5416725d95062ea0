package transformer

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/schema"
)

func TestRun_AllKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.produce(schema.Message, 3000)
	m := w.start(nil, nil)
	w.produce(schema.Status, 1000)
	w.produce(schema.Reject, 100)
	w.arrived()
	w.produce(schema.Message, 500)
	w.exactlyOnce()
	if err := m.State().Err(); err != nil {
		t.Errorf("State: %v", err)
	}
	if n := m.Stats().Rows("message_events"); n != 3500 {
		t.Errorf("Stats counts %d rows of message_events, want 3500", n)
	}
	m.stop()
	for p, c := range w.committed() {
		if strings.Contains(c, ";e=") {
			t.Errorf("%v has an open intent after an orderly stop: %s", p, c)
		}
	}
	for _, l := range m.Stats().Lags() {
		t.Errorf("lag %v of a stopped member", l)
	}
	var sum int64
	for p := range partitions {
		sum += m.Confirmed(w.topic(schema.Message), p)
	}
	if sum != 3500 {
		t.Errorf("Confirmed sums up to %d, want 3500", sum)
	}
}

func TestRun_PoisonRecordIsRejectedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.produce(schema.Message, 10)
	bad := [][]byte{[]byte("\xff\xff\xff not protobuf"), {0x08}, {}}
	for _, b := range bad {
		w.send(w.record(schema.Message, 0, b))
	}
	w.send(w.record(schema.Reject, 1, bad[0])) // the topic of rejects has one block for both
	w.produce(schema.Reject, 5)
	w.produce(schema.Message, 10)
	m := w.start(nil, nil)
	w.eventually("bad records", func() bool { return w.count("SELECT count() FROM DB.rejects WHERE reason = 'bad_record'") == 4 })
	m.stop()
	again := w.start(nil, nil)
	w.produce(schema.Message, 10)
	w.arrived()
	again.stop()
	if n := w.count("SELECT count() FROM DB.rejects WHERE reason = 'bad_record' AND k_topic = 'message' AND toUnixTimestamp64Milli(received_at) = ?", epochStart.UnixMilli()); n != 3 {
		t.Errorf("%d rejects of message records with the record's time, want 3", n)
	}
	if n := w.count("SELECT count() FROM DB.rejects WHERE reason = 'bad_record' AND raw = ?", string(bad[0])); n != 2 {
		t.Errorf("%d rejects hold the record's bytes, want 2", n)
	}
	if n := w.count("SELECT count() - uniqExact(k_topic, k_epoch, k_part, k_off) FROM DB.rejects"); n != 0 {
		t.Errorf("%d rejects are doubled", n)
	}
	if n := m.Stats().RefusedRecords.Load(); n != 4 {
		t.Errorf("RefusedRecords is %d, want 4", n)
	}
}

// Partitions with much behind them, as after an outage, leave the others their turn: what
// is fresh is inserted while they still work.
func TestRun_BacklogStarvesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const backlog, begun, fresh = 8000, 800, partitions - 1
	k := schema.Message
	w.backlog(backlog/fresh, nil, 0, 1)
	m := w.start(func(o *Options) { o.BlockRows, o.Inserters = 100, 1 }, nil)
	inserted := func() int64 { return int64(m.Stats().Rows(k.Table)) }
	w.eventually("the backlog is begun", func() bool { return inserted() >= begun })
	w.want[k.Table] = append(w.want[k.Table], "fresh")
	w.send(w.record(k, fresh, schema.AppendRecord(nil, event(k, "fresh", 0))))
	w.eventually("what is fresh is there", func() bool { return w.count("SELECT count() FROM DB.message_events WHERE id = 'fresh'") == 1 })
	if n := inserted(); n >= backlog {
		t.Errorf("%d rows were inserted before the fresh one, which is all of the backlog", n)
	}
	w.exactlyOnce()
}

// Every type of column comes back as it went in, and absent values as defaults.
func TestRun_Values(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := schema.Message
	full := event(k, "full", 1)
	full.SetText(k.Index("subject_header"), []byte("Grüße, \"quoted\"\n"))
	full.SetText(k.Index("status"), []byte("delivered"))
	full.SetUint(k.Index("incoming_size"), 1<<63+5)
	full.SetUint(schema.Severity, 6)
	full.SetUint(schema.IDTime, 4294967295)
	full.SetMillis(k.Index("timestamp"), -1000)
	full.SetIP(k.Index("sender_ip"), mustAddr("2001:db8::1"))
	full.SetIP(schema.PeerIP, mustAddr("192.0.2.7"))
	full.SetText(schema.Raw, []byte{0, 0xff, 'x'})
	full.AddPair(schema.StructuredData, []byte("a.b"), []byte("1"))
	full.AddPair(schema.StructuredData, []byte("c.d"), nil)
	full.AddPair(schema.Extra, []byte("k"), []byte("v"))
	full.AddName(schema.Flags, []byte("tz_guess"))
	full.AddName(schema.BadFields, []byte("helo"))
	full.AddName(schema.BadFields, []byte("bandwidth"))
	port := event(schema.Status, "port", 2)
	port.SetUint(schema.Status.Index("delivery_port"), 65535)
	w.want[k.Table] = []string{"plain", "full", "last"}
	w.want[schema.Status.Table] = []string{"port"}
	w.send(
		w.record(k, 2, schema.AppendRecord(nil, event(k, "plain", 0))),
		w.record(k, 2, schema.AppendRecord(nil, full)),
		w.record(k, 2, schema.AppendRecord(nil, event(k, "last", 3))),
		w.record(schema.Status, 0, schema.AppendRecord(nil, port)),
	)
	w.start(nil, nil)
	w.exactlyOnce()
	for _, c := range []struct{ what, sql string }{
		{"full", `SELECT count() FROM DB.message_events WHERE id = 'full' AND subject_header = 'Grüße, "quoted"\n' AND status = 'delivered'
			AND incoming_size = 9223372036854775813 AND severity = 6 AND toUnixTimestamp(id_time) = 4294967295
			AND toUnixTimestamp64Milli(timestamp) = -1000 AND sender_ip = toIPv6('2001:db8::1') AND peer_ip = toIPv6('192.0.2.7')
			AND raw = unhex('00FF78') AND structured_data = map('a.b','1','c.d','') AND extra = map('k','v')
			AND flags = ['tz_guess'] AND bad_fields = ['helo','bandwidth']
			AND k_topic = 'message' AND k_epoch = 1 AND k_part = 2 AND k_off = 1`},
		{"the others", `SELECT count() - 1 FROM DB.message_events WHERE id IN ('plain','last') AND subject_header = '' AND status = '' AND incoming_size = 0
			AND sender_ip = toIPv6('::') AND raw = '' AND structured_data = map() AND flags = [] AND k_part = 2`},
		{"port", `SELECT count() FROM DB.status_events WHERE delivery_port = 65535 AND k_topic = 'status'`},
	} {
		if w.count(c.sql) != 1 {
			t.Errorf("%s: not as sent", c.what)
		}
	}
}

// A block is one part for each of the table's partitions that it touches.
func TestRun_OnePartPerPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, k := range schema.Kinds() {
		if err := w.conn.Exec(context.Background(), "SYSTEM STOP MERGES "+w.database+"."+k.Table); err != nil {
			t.Fatal(err)
		}
	}
	k := schema.Message
	var value []byte
	const rows = 30_000
	for n := range rows { // over the driver's compression buffer
		id := strings.Repeat("x", 400) + string(rune('a'+n%26))
		w.seq++
		e := event(k, id, n)
		value = schema.AppendRecord(value[:0], e)
		w.client.Produce(context.Background(), w.record(k, 0, append([]byte(nil), value...)), nil)
	}
	if err := w.client.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	inserts := func(o *Options) {
		o.BlockRows, o.BlockAge, o.InsertTimeout = rows, time.Minute, time.Minute // a busy machine takes its time
		o.ClickHouse.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	m := w.start(inserts, nil)
	w.eventually("the INSERT", func() bool { return m.Stats().Inserts.Load() > 0 })
	if n := w.count("SELECT count() FROM DB.message_events"); n != rows {
		t.Fatalf("%d rows after one INSERT, want %d", n, rows)
	}
	if n := w.count("SELECT count() FROM system.parts WHERE database = 'DB' AND table = 'message_events'"); n != 2 {
		t.Errorf("%d parts in two partitions after one INSERT, want 2", n)
	}
}

// Tables and views' targets that forget tokens are refused, each with the statement that
// mends it; views that fill themselves are nobody's matter.
func TestRun_TableWithoutWindowIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	const window = " SETTINGS non_replicated_deduplication_window = 100"
	for _, statement := range []string{
		"ALTER TABLE DB.status_events MODIFY SETTING non_replicated_deduplication_window = 0",
		"CREATE TABLE DB.`by ``domain` (domain String, n UInt64) ENGINE = SummingMergeTree ORDER BY domain",
		"CREATE MATERIALIZED VIEW DB.to_by_domain TO DB.`by ``domain` AS SELECT domain, count() AS n FROM DB.message_events GROUP BY domain",
		"CREATE MATERIALIZED VIEW DB.inner_one (id String) ENGINE = MergeTree ORDER BY id AS SELECT id FROM DB.status_events",
		// Behind a table that keeps nothing: one that remembers, and one that does not.
		"CREATE TABLE DB.passing (id String) ENGINE = Null",
		"CREATE MATERIALIZED VIEW DB.to_passing TO DB.passing AS SELECT id FROM DB.message_events",
		"CREATE TABLE DB.remembers (id String) ENGINE = MergeTree ORDER BY id" + window,
		"CREATE MATERIALIZED VIEW DB.to_remembers TO DB.remembers AS SELECT id FROM DB.passing",
		"CREATE TABLE DB.forgets (id String) ENGINE = MergeTree ORDER BY id",
		"CREATE MATERIALIZED VIEW DB.to_forgets TO DB.forgets AS SELECT id FROM DB.passing",
		"CREATE MATERIALIZED VIEW DB.refreshed REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY id AS SELECT id FROM DB.message_events",
	} {
		if err := w.conn.Exec(ctx, strings.ReplaceAll(statement, "DB.", w.database+".")); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	err := w.start(nil, nil).wait()
	if err == nil {
		t.Fatal("it runs")
	}
	for _, want := range []string{"`by \\`domain`", "`status_events`", "`forgets`", "`.inner", "--delivery at-least-once"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in: %v", want, err)
		}
	}
	// At least once is to be had as it is.
	loose := w.start(func(o *Options) { o.AtLeastOnce = true }, nil)
	w.produce(schema.Message, 3)
	w.eventually("rows", func() bool { return loose.Stats().Rows("message_events") == 3 })
	loose.stop()

	mended := 0
	for line := range strings.Lines(err.Error()) {
		if _, statement, ok := strings.Cut(line, "run: "); ok {
			mended++
			if err := w.conn.Exec(ctx, strings.TrimSpace(statement)); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	if mended != 4 {
		t.Errorf("%d statements in: %v", mended, err)
	}
	w.start(nil, nil)
	w.produce(schema.Message, 3)
	w.exactlyOnce()
}

// Topics that may lose records are refused, unless that is accepted.
func TestRun_UnfitTopicsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := 0
	unfit := func(o *Options) {
		o.CheckTopics = func(context.Context) error { asked++; return errors.New("one copy") }
	}
	if err := w.start(unfit, nil).wait(); err == nil || !strings.Contains(err.Error(), "one copy") || !strings.Contains(err.Error(), "--delivery at-least-once") {
		t.Errorf("Run = %v", err)
	}
	w.produce(schema.Message, 3)
	w.start(func(o *Options) { unfit(o); o.AtLeastOnce = true }, nil)
	w.exactlyOnce()
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// Topics that are missing are waited for, and asked for.
func TestRun_TopicsAppearLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := make(chan struct{}, 1)
	m := w.start(func(o *Options) {
		o.TopicPrefix = "later."
		o.EnsureTopics = func(context.Context) error {
			select {
			case asked <- struct{}{}:
			default:
			}
			return nil
		}
	}, nil)
	<-asked
	w.eventually("a reason", func() bool {
		err := m.State().Kafka
		return err != nil && strings.Contains(err.Error(), `"later.message"`)
	})
	for _, k := range schema.Kinds() {
		w.createTopic("later."+k.Topic, 2)
	}
	w.eventually("readiness", func() bool { return m.State().Err() == nil })
}

// A stop that comes in the middle of a chunk, with more chunks waiting behind it,
// leaves the rest of the chunk to the next owner: what waits behind it must not be
// taken, or the rest would be skipped for ever.
func TestRun_StopInMidChunk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 20 { // many batches, which come as one chunk
		w.produce(schema.Message, 30)
		w.produce(schema.Status, 30)
	}
	held, reached := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := w.start(func(o *Options) { o.BlockRows = 5 }, func(m *member, step, topic string, partition int) {
		if step == "sealed" { // a block is full, in the middle of the first chunk
			once.Do(func() { close(reached) })
			<-held
		}
	})
	<-reached
	for range 5 { // each a chunk of its own
		w.produce(schema.Message, 30)
		w.produce(schema.Status, 30)
		time.Sleep(20 * time.Millisecond)
	}
	first.soft()
	close(held)
	if err := first.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	second := w.start(nil, nil)
	w.exactlyOnce()
	second.stop()
}
