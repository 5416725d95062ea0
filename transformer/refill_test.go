package transformer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/segmentio/kafka-go"

	"millrace/schema"
)

// refill runs once, as a process of its own.
func (w *world) refill(o RefillOptions) (RefillResult, error) {
	w.t.Helper()
	options := w.options()
	options.Transport = &kafka.Transport{MetadataTTL: 200 * time.Millisecond}
	options.BlockRows = 50
	options.CommitTimeout = time.Minute // of each request; nobody waits for a lease here
	t, err := New(options)
	if err != nil {
		w.t.Fatal(err)
	}
	if o.Kind == nil {
		o.Kind = schema.Message
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	return t.Refill(ctx, o)
}

// refills wants this of it.
func (w *world) refills(what string, o RefillOptions, want RefillResult) {
	w.t.Helper()
	if got, err := w.refill(o); err != nil || got != want {
		w.t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
	}
}

func (w *world) exec(sql string) {
	w.t.Helper()
	if err := w.conn.Exec(context.Background(), strings.ReplaceAll(sql, "DB.", w.database+".")); err != nil {
		w.t.Fatal(err)
	}
}

// confirmed has n records of messages in ClickHouse and confirmed, two of them no event.
func (w *world) confirmed(n int) {
	w.t.Helper()
	w.produce(schema.Message, n-2)
	w.send(w.record(schema.Message, 0, []byte("no event")), w.record(schema.Message, 1, nil))
	m := w.start(nil, nil)
	w.arrived()
	w.eventually("the rows of what is no event", func() bool { return w.count("SELECT count() FROM DB.rejects") == 2 })
	m.stop()
}

// Rows are gone, by whatever hand: they come back once, and again when they are deleted
// again, although ClickHouse still remembers the tokens.
func TestRefill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.confirmed(302)
	all := RefillOptions{Partition: -1}
	insert := RefillOptions{Partition: -1, Insert: true}
	w.refills("nothing is gone", insert, RefillResult{Records: 302, There: 302})

	w.exec("ALTER TABLE DB.message_events DROP PARTITION '2026-11-09'")
	w.refills("a week was dropped, dry", all, RefillResult{Records: 302, There: 272, Events: 30})
	w.refills("a week was dropped", insert, RefillResult{Records: 302, There: 272, Events: 30, Inserted: 30})
	w.exactlyOnce()
	for n := range 3 {
		w.exec("DELETE FROM DB.message_events WHERE k_off < 20")
		gone := uint64(300 - w.count("SELECT count() FROM DB.message_events"))
		w.refills(fmt.Sprint("deleted ", n), insert, RefillResult{Records: 302, There: 302 - gone, Events: gone, Inserted: gone})
		w.exactlyOnce()
	}
	w.exec("TRUNCATE TABLE DB.rejects")
	w.refills("the rows of what is no event", insert, RefillResult{Records: 302, There: 300, Refused: 2, Inserted: 2})
	w.exec("TRUNCATE TABLE DB.message_events")
	w.exec("TRUNCATE TABLE DB.rejects")
	w.refills("all of it", insert, RefillResult{Records: 302, Events: 300, Refused: 2, Inserted: 302})
	w.exactlyOnce()
	if n := w.count("SELECT count() FROM DB.rejects"); n != 2 {
		t.Errorf("%d rejects, want 2", n)
	}
}

// Offsets and times, and what is refused.
func TestRefill_Range(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.confirmed(302)
	size := func(p int) int64 {
		w.t.Helper()
		r, err := w.refill(RefillOptions{Partition: p})
		if err != nil {
			t.Fatal(err)
		}
		return int64(r.Records)
	}
	end := size(1)
	w.exec("DELETE FROM DB.message_events WHERE k_part = 1")
	some := RefillOptions{Partition: 1, From: AtOffset(10), To: AtOffset(30)}
	w.refills("twenty offsets", some, RefillResult{Records: 20, Events: 20})
	some.To = AtOffset(end + 1)
	f := func(what string, o RefillOptions, want ...string) {
		t.Helper()
		_, err := w.refill(o)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q in it", what, err, part)
			}
		}
	}
	f("beyond what is confirmed", some, fmt.Sprintf("cannot read offsets 10 to %d of millrace.message/1 again", end+1), fmt.Sprintf("use --to-offset %d", end))
	f("no such partition", RefillOptions{Partition: 99}, "cannot read partition 99")
	w.group = "other"
	f("nothing is confirmed", RefillOptions{Partition: 0, From: AtOffset(0)}, `group "other" has confirmed nothing of it`)
	f("nothing is confirmed, and nothing asked", RefillOptions{Partition: -1}, `group "other" has confirmed nothing of topic "millrace.message"`)
	w.group = "millrace"

	// Records that came a day later, and are not confirmed.
	later := w.record(schema.Message, 1, schema.AppendRecord(nil, event(schema.Message, "later", 1)))
	later.Timestamp = epochStart.AddDate(0, 0, 1)
	w.send(later)
	w.refills("since noon", RefillOptions{Partition: 1, From: AtTime(epochStart.Add(time.Hour))}, RefillResult{})
	w.refills("until the next day", RefillOptions{Partition: 1, From: AtTime(epochStart), To: AtTime(epochStart.AddDate(0, 0, 1))},
		RefillResult{Records: uint64(end), There: 1, Events: uint64(end) - 1})
	w.refills("until the day after", RefillOptions{Partition: 1, To: AtTime(epochStart.AddDate(0, 0, 2))},
		RefillResult{Records: uint64(end), There: 1, Events: uint64(end) - 1, Beyond: 1})

	// Retention has taken the first ones; some of them have a row.
	w.refills("the first ones", RefillOptions{Partition: 1, From: AtOffset(0), To: AtOffset(5), Insert: true}, RefillResult{Records: 5, Events: 5, Inserted: 5})
	if err := w.cluster.DeleteRecords("millrace.message", 1, 12); err != nil {
		t.Fatal(err)
	}
	w.refills("retention", RefillOptions{Partition: 1, From: AtOffset(0), To: AtOffset(20), Insert: true}, RefillResult{Records: 8, Events: 8, Inserted: 8, Lost: 7})
}

// A run that ended between two blocks is finished by the next one, and one beside a
// transformer at work does not disturb it.
func TestRefill_Interrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.confirmed(602)
	w.exec("TRUNCATE TABLE DB.message_events")
	died := errors.New("died")
	if _, err := w.refill(RefillOptions{Partition: -1, Insert: true, step: func(string) error { return died }}); !errors.Is(err, died) {
		t.Fatal(err)
	}
	if n := w.count("SELECT count() FROM DB.message_events"); n == 0 || n == 600 {
		t.Fatalf("%d rows after the first block", n)
	}
	m := w.start(nil, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			w.produce(schema.Message, 20)
		}
	}()
	r, err := w.refill(RefillOptions{Partition: -1, Insert: true})
	if err != nil || r.Inserted != r.Events || r.There+r.Events != r.Records {
		t.Errorf("%+v, %v", r, err)
	}
	<-done
	w.exactlyOnce()
	m.stop()
}

// The last INSERT of a run that was killed is still going on: it is waited for, and its
// rows are not inserted again.
func TestRefill_Late(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.confirmed(302)
	w.exec("CREATE TABLE DB.copy AS DB.message_events")
	w.exec("INSERT INTO DB.copy SELECT * FROM DB.message_events WHERE k_part = 0 AND k_off < 6")
	w.exec("DELETE FROM DB.message_events WHERE k_part = 0")
	ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": "replay/1/late", "max_block_size": 1}))
	done := make(chan error, 1)
	go func() {
		done <- w.conn.Exec(ctx, strings.ReplaceAll("INSERT INTO DB.message_events SELECT * FROM DB.copy WHERE sleepEachRow(0.5) = 0", "DB.", w.database+"."))
	}()
	running := func() bool {
		return w.count("SELECT count() FROM system.processes WHERE Settings['insert_deduplication_token'] = 'replay/1/late'") > 0
	}
	w.eventually("the INSERT runs, or is over", func() bool { return running() || len(done) > 0 })
	r, err := w.refill(RefillOptions{Partition: -1, Insert: true, step: func(string) error {
		if running() {
			t.Error("rows are inserted before the last run's INSERT has ended")
		}
		return nil
	}})
	if err != nil || r.There+r.Inserted != 302 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.exactlyOnce()
}

// A topic that was made again has other records under the offsets of the old rows; after
// an unclean election the rows of the epoch before are those of these very records.
func TestRefill_Epochs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.confirmed(302)
	insert := RefillOptions{Partition: -1, Insert: true}
	w.exec("ALTER TABLE DB.message_events UPDATE k_epoch = 0 WHERE k_off < 10 SETTINGS mutations_sync = 2")
	w.refills("cut by an election", insert, RefillResult{Records: 302, There: 302})
	w.exec("INSERT INTO DB.message_events SELECT * REPLACE (toUInt16(3) AS k_epoch, received_at + toIntervalMillisecond(1) AS received_at) FROM (SELECT * FROM DB.message_events WHERE k_epoch = 0)")
	w.exec("DELETE FROM DB.message_events WHERE k_epoch = 0")
	gone := uint64(w.count("SELECT count() FROM DB.message_events WHERE k_epoch = 3"))
	w.refills("made again", insert, RefillResult{Records: 302, There: 302 - gone, Events: gone, Inserted: gone})
	if n := w.count("SELECT count() FROM DB.message_events WHERE k_epoch = 1"); n != 300 {
		t.Errorf("%d rows of this epoch, want 300", n)
	}
}
