package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/transformer/audit"
)

// auditWorld is a broker and a database in which a test plants what it likes.
type auditWorld struct {
	t        *testing.T
	cluster  *kfake.Cluster
	client   *kgo.Client
	database string
	config   string
	now      time.Time
}

func newAuditWorld(t *testing.T) *auditWorld {
	t.Helper()
	ch := embeddedtest.ClickHouse(t)
	w := &auditWorld{t: t, database: embeddedtest.Database(t), now: time.Now().UTC().Add(-time.Minute)}
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
		w.exec(k.CreateTable(schema.Layout{Database: w.database}))
		for _, q := range k.ModifyTTL(schema.Layout{Database: w.database}, schema.DefaultRetention) {
			w.exec(q)
		}
	}
	var err error
	if w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(topicPartitions, topics...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cluster.Close)
	w.connect()
	w.config = file(t, "audit.yaml", fmt.Sprintf(`
kafka: {brokers: ['%s']}
clickhouse: {addresses: ['%s'], database: %s, reader: {username: %s, password: '%s'}}
`, w.cluster.ListenAddrs()[0], ch.NativeAddr, w.database, ch.Reader.User, ch.Reader.Password))
	return w
}

func (w *auditWorld) connect() {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	w.client = client
}

func (w *auditWorld) exec(sql string) {
	w.t.Helper()
	if err := embeddedtest.Connect(w.t, w.database).Exec(context.Background(), sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// produce writes n records to partition 0 of the topic of messages, at a time.
func (w *auditWorld) produce(n int, at time.Time) {
	w.t.Helper()
	var e schema.Event
	var records []*kgo.Record
	for range n {
		e.Reset(schema.Message)
		e.SetMillis(schema.ReceivedAt, at.UnixMilli())
		records = append(records, &kgo.Record{Topic: "millrace.message", Value: schema.AppendRecord(nil, &e), Timestamp: at})
	}
	if err := w.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// commit is the transformer's, of partition 0 of the topic of messages.
func (w *auditWorld) commit(offset int64, epoch int) {
	w.t.Helper()
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation = "millrace", -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "millrace.message"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	metadata := fmt.Sprintf("1;ep=%d;t=1", epoch)
	p.Metadata = &metadata
	topic.Partitions = append(topic.Partitions, p)
	r.Topics = append(r.Topics, topic)
	resp, err := r.RequestWith(context.Background(), w.client)
	if err != nil {
		w.t.Fatal(err)
	}
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		w.t.Fatalf("commit: code %d", code)
	}
}

// rows puts the offsets from to (not including) to into a table.
func (w *auditWorld) rows(table string, epoch int, from, to int64, at time.Time) {
	w.t.Helper()
	w.exec(fmt.Sprintf("INSERT INTO %s (received_at, k_topic, k_epoch, k_part, k_off) SELECT fromUnixTimestamp64Milli(%d, 'UTC'), 'message', %d, 0, number FROM numbers(%d, %d)",
		table, at.UnixMilli(), epoch, from, to-from))
}

// audit runs the command and compares its exit code and sums.
func (w *auditWorld) audit(code int, want audit.Report, args ...string) audit.Report {
	w.t.Helper()
	r := execute(w.t, "", append([]string{"audit", "--config", w.config, "--json"}, args...)...)
	var got audit.Report
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		w.t.Fatalf("%v: %+v", err, r)
	}
	if r.code != code || got.OK != (code == 0) || got.Rows != want.Rows || got.Missing != want.Missing || got.Doubled != want.Doubled || got.Removed != want.Removed || got.Lag != want.Lag {
		w.t.Errorf("exit code %d, want %d; rows %d, missing %d, doubled %d, removed %d, lag %d; want %d, %d, %d, %d, %d\n%s%s", r.code, code,
			got.Rows, got.Missing, got.Doubled, got.Removed, got.Lag, want.Rows, want.Missing, want.Doubled, want.Removed, want.Lag, r.out, r.errs)
	}
	return got
}

// text wants the parts in what a person sees.
func (w *auditWorld) text(code int, parts ...string) {
	w.t.Helper()
	execute(w.t, "", "audit", "--config", w.config).contains(w.t, code, parts...)
}

// topicPartitions are those of each topic, and allPartitions those of all.
const topicPartitions = 2

var allPartitions = topicPartitions * len(schema.Kinds())

func TestAudit_Empty(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.audit(0, audit.Report{})
	w.text(0, fmt.Sprintf("0 rows of %d partitions: 0 missing, 0 doubled, 0 not yet inserted.\n", allPartitions))
}

func TestAudit_AllThere(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 300, w.now)
	w.commit(300, 1)
	w.audit(0, audit.Report{Rows: 300})
	w.text(0, fmt.Sprintf("300 rows of %d partitions: 0 missing, 0 doubled, 0 not yet inserted.\n", allPartitions), fmt.Sprintf("%d partitions without a record are left out.\n", allPartitions-1), "current", "ok")
	w.audit(0, audit.Report{Rows: 300}, "--since", "1h")
	w.audit(0, audit.Report{Rows: 300}, "--kafka", "off")
}

func TestAudit_Lag(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.audit(0, audit.Report{Lag: 300})
	// Confirmed up to 100; a block of 50 is being inserted, of which one part is there.
	w.rows("message_events", 1, 0, 100, w.now)
	w.rows("message_events", 1, 120, 150, w.now)
	w.commit(100, 1)
	w.audit(0, audit.Report{Rows: 130, Lag: 170})
}

func TestAudit_Gap(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 100, w.now)
	w.rows("message_events", 1, 103, 200, w.now)
	w.rows("message_events", 1, 201, 300, w.now)
	w.commit(300, 1)
	got := w.audit(1, audit.Report{Rows: 296, Missing: 4})
	if p := got.Places[0]; p.Topic != "message" || p.Partition != 0 || fmt.Sprint(p.MissingRanges) != "[{100 103} {200 201}]" {
		t.Errorf("%+v", p)
	}
	w.text(1, "MISSING message epoch 1 partition 0: offsets 100-102 (still in Kafka), 200 (still in Kafka)\n",
		fmt.Sprintf("millrace: cannot call it exactly once: 296 rows of %d partitions: 4 missing, 0 doubled, 0 not yet inserted; docs/operations.md", allPartitions))
	w.audit(1, audit.Report{Rows: 296, Missing: 4}, "--since", "1h")
	w.audit(1, audit.Report{Rows: 296, Missing: 4}, "--kafka", "off")
}

// The first and the last records are missing, and no row behind tells.
func TestAudit_Ends(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 10, 280, w.now)
	w.commit(300, 1)
	w.audit(1, audit.Report{Rows: 270, Missing: 30})
	w.audit(1, audit.Report{Rows: 270, Missing: 30}, "--since", "1h")
}

func TestAudit_Doubled(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 300, w.now)
	w.rows("message_events", 1, 17, 19, w.now)
	w.rows("rejects", 1, 200, 201, w.now)                          // an event and a reject of one record
	w.rows("message_events", 1, 250, 251, w.now.AddDate(0, 0, -7)) // one record in two weeks
	w.commit(300, 1)
	got := w.audit(1, audit.Report{Rows: 304, Doubled: 4})
	if p := got.Places[0]; fmt.Sprint(p.DoubledOffsets) != "[200 250 17 18]" {
		t.Errorf("%+v", p)
	}
	w.text(1, "DOUBLED message epoch 1 partition 0: 4 rows too many, at offsets 200, 250, 17, 18\n")
}

// A refused record's row is in rejects, under the topic that it came from.
func TestAudit_Refused(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 100, w.now)
	w.rows("rejects", 1, 100, 102, w.now)
	w.rows("message_events", 1, 102, 300, w.now)
	w.commit(300, 1)
	if p := w.audit(0, audit.Report{Rows: 300}).Places[0]; p.Refused != 2 || p.Offsets != 300 {
		t.Errorf("%+v", p)
	}
}

// A reject that has become an event is in two tables, and no double; two events of
// it are.
func TestAudit_Replayed(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	reject := func(table string, from, n int) {
		w.exec(fmt.Sprintf("INSERT INTO %s (received_at, k_topic, k_epoch, k_part, k_off) SELECT now(), 'reject', 1, 0, number FROM numbers(%d, %d)", table, from, n))
	}
	reject("rejects", 0, 10)
	reject("message_events", 2, 3)
	reject("status_events", 5, 1)
	w.audit(0, audit.Report{Rows: 14}, "--kafka", "off")
	execute(t, "", "audit", "--config", w.config, "--kafka", "off").contains(t, 0, "reject epoch 1 partition 0: 4 of its rejects have become events too")
	reject("status_events", 4, 1)
	w.audit(1, audit.Report{Rows: 15, Doubled: 1}, "--kafka", "off")
	reject("status_events", 4, 1)
	w.audit(1, audit.Report{Rows: 16, Doubled: 2}, "--kafka", "off")
}

// A row beside the one of the same place with a higher revision is about to go, and no
// double; two of one revision are.
func TestAudit_Superseded(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 300, w.now)
	w.commit(300, 1)
	again := func(revision, from, n int) {
		w.exec(fmt.Sprintf("INSERT INTO message_events (received_at, revision, k_topic, k_epoch, k_part, k_off) SELECT fromUnixTimestamp64Milli(%d, 'UTC'), %d, 'message', 1, 0, number FROM numbers(%d, %d)",
			w.now.UnixMilli(), revision, from, n))
	}
	again(1, 10, 20)
	again(2, 15, 5)
	if p := w.audit(0, audit.Report{Rows: 325}).Places[0]; p.Superseded != 25 || p.Offsets != 300 {
		t.Errorf("%+v", p)
	}
	w.text(0, "message epoch 1 partition 0: of 25 of its frames", "run it again")
	again(1, 12, 1)
	if p := w.audit(1, audit.Report{Rows: 326, Doubled: 1}).Places[0]; fmt.Sprint(p.DoubledOffsets) != "[12]" {
		t.Errorf("%+v", p)
	}
}

// What Kafka has deleted before there was a row is no fault; a gap behind rows is,
// though Kafka has it no more.
func TestAudit_LogStart(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	if err := w.cluster.DeleteRecords("millrace.message", 0, 100); err != nil {
		t.Fatal(err)
	}
	w.rows("message_events", 1, 100, 300, w.now)
	w.commit(300, 1)
	w.audit(0, audit.Report{Rows: 200, Removed: 100})
	w.text(0, "Removed message epoch 1 partition 0: offsets 0-99, "+audit.CauseKafka)
	w.rows("message_events", 1, 0, 50, w.now)
	w.audit(1, audit.Report{Rows: 250, Missing: 50})
	w.text(1, "offsets 50-99 (gone from Kafka too)")
}

// The table's TTL has deleted weeks: their rows' offsets go over into those of the
// first week that is left.
func TestAudit_TTL(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	kept := w.now.Add(-schema.DefaultRetention.Events)
	kept = kept.Truncate(24*time.Hour).AddDate(0, 0, -(int(kept.Weekday())+6)%7) // the Monday of the oldest week
	w.produce(100, kept.Add(-time.Minute))
	w.produce(100, kept.Add(time.Minute))
	w.produce(100, w.now)
	w.rows("message_events", 1, 90, 95, kept.Add(10*time.Second)) // another ingester's, among those of before
	w.rows("message_events", 1, 98, 200, kept.Add(time.Minute))
	w.rows("message_events", 1, 200, 300, w.now)
	w.commit(300, 1)
	w.audit(0, audit.Report{Rows: 207, Removed: 93})
	w.text(0, "offsets 95-97, "+audit.CauseTTL)
	// Kafka has forgotten them too.
	if err := w.cluster.DeleteRecords("millrace.message", 0, 250); err != nil {
		t.Fatal(err)
	}
	w.audit(0, audit.Report{Rows: 207, Removed: 93})
	// What is missing in a week that is kept is no work of the TTL.
	w.produce(10, w.now)
	w.rows("message_events", 1, 305, 310, w.now)
	w.commit(310, 1)
	w.audit(1, audit.Report{Rows: 212, Removed: 93, Missing: 5})
}

// Erased rows are removed; a gap among newer rows is not.
func TestAudit_Erased(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 200, w.now.Add(-time.Hour))
	w.commit(200, 1)
	w.exec("DELETE FROM message_events WHERE k_off IN (20, 50, 199)")
	w.audit(0, audit.Report{Rows: 197, Removed: 3, Lag: 100})
	w.text(0, "offsets 20, "+audit.CauseErasure)
	w.rows("message_events", 1, 200, 250, time.Now().Add(time.Hour))
	w.rows("message_events", 1, 251, 300, time.Now().Add(time.Hour))
	w.commit(300, 1)
	w.audit(1, audit.Report{Rows: 296, Removed: 3, Missing: 1})
}

// A topic that was made again has the next epoch; the old one's rows are an account
// of their own, in which a gap still counts.
func TestAudit_Epochs(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.rows("message_events", 1, 0, 500, w.now.Add(-time.Hour))
	w.produce(300, w.now)
	w.rows("message_events", 2, 0, 300, w.now)
	w.commit(300, 2)
	got := w.audit(0, audit.Report{Rows: 800})
	if a, b := got.Places[0], got.Places[2]; a.Epoch != 1 || a.Log != audit.OldLog || b.Epoch != 2 || b.Log != audit.Current {
		t.Errorf("%+v\n%+v", a, b)
	}
	// The new topic's first records are missing: the old rows with their offsets are
	// others.
	w.exec("ALTER TABLE message_events DROP PARTITION ID '" + monday(w.now).Format("20060102") + "'")
	w.rows("message_events", 1, 0, 500, w.now.Add(-time.Hour))
	w.rows("message_events", 2, 100, 300, w.now)
	w.audit(1, audit.Report{Rows: 700, Missing: 100})
	w.rows("message_events", 2, 0, 100, w.now)
	w.rows("message_events", 1, 501, 600, w.now.Add(-time.Hour))
	w.audit(1, audit.Report{Rows: 899, Missing: 1})
}

func monday(t time.Time) time.Time {
	return t.Truncate(24*time.Hour).AddDate(0, 0, -(int(t.Weekday())+6)%7)
}

// A log that was cut short goes on under the next epoch: its beginning is in the one
// before.
func TestAudit_Cut(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 120, w.now) // of which Kafka lost the last 20
	w.rows("message_events", 2, 100, 300, w.now)
	w.commit(300, 2)
	w.audit(0, audit.Report{Rows: 320})
	w.text(0, "message epoch 2 partition 0: 100 offsets are in the epoch before")
}

// What is older than --since does not count, whatever it is.
func TestAudit_Since(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	old := w.now.AddDate(0, 0, -30)
	w.produce(200, old)
	w.rows("message_events", 1, 0, 100, old)
	w.rows("message_events", 1, 103, 200, old)
	w.rows("message_events", 1, 150, 155, old)
	w.produce(200, w.now)
	w.rows("message_events", 1, 200, 300, w.now)
	w.rows("message_events", 1, 302, 400, w.now)
	w.commit(400, 1)
	w.audit(1, audit.Report{Rows: 400, Missing: 5, Doubled: 5})
	got := w.audit(1, audit.Report{Rows: 198, Missing: 2}, "--since", "1d")
	if p := got.Places[0]; p.From != 200 || p.To != 400 || got.Scanned != 198 {
		t.Errorf("from %d to %d, %d rows read", p.From, p.To, got.Scanned)
	}
	w.rows("message_events", 1, 300, 302, w.now)
	w.audit(0, audit.Report{Rows: 200}, "--since", "1d")
	w.audit(1, audit.Report{Rows: 402, Missing: 3, Doubled: 5}, "--since", old.AddDate(0, 0, -1).Format(time.DateOnly))
}

// With another Kafka or another group nothing would ever be missing: that is said.
func TestAudit_NotComparable(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 100, w.now)
	w.rows("message_events", 1, 103, 300, w.now)
	w.text(0, `Note: group "millrace" has confirmed nothing of message partition 0`, "3 not yet inserted")
	r := execute(t, "", "audit", "--config", file(t, "other.yaml", strings.Replace(text(t, w.config), "kafka: {", "kafka: {topic_prefix: other., ", 1)))
	r.contains(t, 1, "millrace: cannot compare message_events with Kafka at ", `it has no topic "other.message"`, "--kafka off")
}

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A topic that Kafka has no more, a commit of somebody else, rows of another
// pipeline.
func TestAudit_Strange(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.exec("INSERT INTO status_events (received_at, k_topic, k_off) VALUES (now(), 'theirs', 7)")
	w.rows("message_events", 1, 0, 300, w.now)
	w.commit(300, 1)
	w.audit(0, audit.Report{Rows: 300})
	w.text(0, `Note: rows with k_topic "theirs", which is none of our topics, so that they are not from this pipeline: 1.`, "Note: message epoch 1 partition 0: Kafka's log ends at 0, before the committed offset 300")
}

func TestAuditBar(t *testing.T) {
	t.Parallel()
	f := func(done, rows uint64, want string) {
		t.Helper()
		if got := auditBar(done, rows); got != want {
			t.Errorf("%d of %d: %q, want %q", done, rows, got, want)
		}
	}
	f(0, 0, "["+strings.Repeat("#", 40)+"] 100% of 0.0 million rows")
	f(0, 2_000_000, "["+strings.Repeat(".", 40)+"]   0% of 2.0 million rows")
	f(500_000, 2_000_000, "["+strings.Repeat("#", 10)+strings.Repeat(".", 30)+"]  25% of 2.0 million rows")
}

func TestAudit_Usage(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"yesterday", "1", "2026-13-01"} {
		execute(t, "", "audit", "--since", s).contains(t, 2, "millrace: cannot understand the command line: --since", "See 'millrace audit --help'.")
	}
	execute(t, "", "audit", "extra").contains(t, 2, "millrace: cannot understand the command line")
	w := newAuditWorld(t)
	r := execute(t, "", "audit", "--config", w.config, "--kafka", "127.0.0.1:1")
	r.contains(t, 1, "millrace: cannot read the topics from Kafka at 127.0.0.1:1", "--kafka HOST:PORT")
	if strings.Count(r.errs, "\n") != 1 {
		t.Errorf("more than one line: %s", r.errs)
	}
	execute(t, "", "audit", "--config", w.config, "--server", "127.0.0.1:1").contains(t, 1, "millrace: cannot ", "127.0.0.1:1", "--server HOST:PORT")
	w.exec("DROP TABLE rejects")
	execute(t, "", "audit", "--config", w.config).contains(t, 1, "rejects", "`millrace schema apply` makes it")
}
