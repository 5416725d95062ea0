package transformer

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// slow is the INSERT of a member that dies while the server is still at it: it is done
// some time after it was sent, over a connection that nobody cuts.
type slow struct {
	insert.Inserter
	delay time.Duration
	sent  chan struct{}
	done  atomic.Int32
}

func (s *slow) Insert(_ context.Context, b *block.Block, token string) error {
	select {
	case s.sent <- struct{}{}:
	default:
	}
	time.Sleep(s.delay)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := s.Inserter.Insert(ctx, b, token)
	if err == nil {
		s.done.Add(1)
	}
	return err
}

// A range whose rows nobody can make again under the old token is compared with ClickHouse
// only when the INSERT of the last owner cannot be under way any more: the rows that come
// late would be missing, be inserted, and then be there twice.
func TestRecover_WaitsForALateInsert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.load()
	o := w.options()
	server, err := insert.Open(insert.Options{ClickHouse: o.ClickHouse, Database: w.database})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	late := &slow{Inserter: server, delay: o.Lease, sent: make(chan struct{})}
	m := w.startWith(func(o *Options) {
		o.SessionTimeout, o.RebalanceTimeout, o.Lease = time.Second, 900*time.Millisecond, 800*time.Millisecond // the next owner comes before it is done
	}, nil, func(t *Transformer) { t.shards[0].inserter = late })
	<-late.sent
	m.kill()
	// The rule of the configuration: longer than the lease and an INSERT together.
	next := w.startWith(func(o *Options) { o.ReconcileAfter = o.Lease + o.InsertTimeout + 3*time.Second }, nil, func(t *Transformer) { t.version++ })
	m.wait()
	w.load()
	w.exactlyOnce()
	if late.done.Load() == 0 || next.Stats().FoundRows.Load() == 0 {
		t.Errorf("%d late INSERTs were done and %d of their rows found", late.done.Load(), next.Stats().FoundRows.Load())
	}
}

// A view fails after the table has taken the block, for a reason that an operator mends:
// the repetition under the same token gives the view its rows, and the table none.
func TestRun_ViewFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	exec := func(statement string) {
		t.Helper()
		if err := w.conn.Exec(context.Background(), strings.ReplaceAll(statement, "DB.", w.database+".")); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("CREATE TABLE DB.mended (n UInt8) ENGINE = MergeTree ORDER BY n")
	exec("CREATE TABLE DB.copies (id String) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000")
	exec("CREATE MATERIALIZED VIEW DB.to_copies TO DB.copies AS SELECT id FROM DB.message_events WHERE throwIf((SELECT count() FROM DB.mended) = 0, 'not mended') = 0")
	// A server that has just been started is not trusted to remember tokens.
	w.eventually("ClickHouse is up for a while", func() bool { return w.count("SELECT uptime()") > 5 })
	const rows = 30
	w.produce(schema.Message, rows)
	m := w.start(func(o *Options) { o.ReconcileAfter = time.Minute }, nil)
	w.eventually("the alarm", func() bool { return len(m.State().Blocked) > 0 })
	if err := m.State().Blocked[0]; !strings.Contains(err.Error(), "not mended") {
		t.Errorf("the alarm does not say why: %v", err)
	}
	if n := w.count("SELECT count() FROM DB.message_events"); n == 0 {
		t.Error("the table has no row before the view has one")
	}
	exec("INSERT INTO DB.mended VALUES (1)")
	w.exactlyOnce()
	w.eventually("the view's rows", func() bool { return w.count("SELECT uniqExact(id) FROM DB.copies") == rows })
	if n := w.count("SELECT count() FROM DB.copies"); n != rows {
		t.Errorf("%d rows came through the view, want %d", n, rows)
	}
	w.eventually("the end of the alarm", func() bool { return len(m.State().Blocked) == 0 })
}

// A partition whose range turns out to be there after all is no longer alarmed about: what
// failed was a view, and ClickHouse is not trusted to remember the token any more.
func TestRun_AlarmEndsWithARecovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.produce(schema.Message, 30)
	r := &afterwards{}
	m := w.startWith(func(o *Options) { o.ReconcileAfter = o.Lease }, nil, func(t *Transformer) { r.Inserter, t.shards[0].inserter = t.shards[0].inserter, r })
	w.eventually("the alarm", func() bool { return len(m.State().Blocked) > 0 })
	w.eventually("the end of the alarm", func() bool { return len(m.State().Blocked) == 0 })
	w.exactlyOnce()
}

// afterwards refuses each block of messages that it has inserted.
type afterwards struct{ insert.Inserter }

func (a *afterwards) Insert(ctx context.Context, b *block.Block, token string) error {
	err := a.Inserter.Insert(ctx, b, token)
	if err == nil && b.Kind() == schema.Message {
		err = &clickhouse.Exception{Code: 395, Message: "a view has failed"}
	}
	return err
}

// A block may have rows of more weeks than ClickHouse takes at once by default: a foreign
// record's time does not stop its partition.
func TestRun_BlockOfManyWeeks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := schema.Message
	const weeks = 110
	for n := range weeks {
		at := epochStart.AddDate(0, 0, 7*n) // none that a TTL would remove
		id := "week of " + at.Format(time.DateOnly)
		e := event(k, id, n)
		e.SetMillis(schema.ReceivedAt, at.UnixMilli())
		w.want[k.Table] = append(w.want[k.Table], id)
		w.client.Produce(context.Background(), w.record(k, 0, schema.AppendRecord(nil, e)), nil)
	}
	if err := w.client.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	m := w.start(func(o *Options) {
		o.BlockRows, o.BlockAge, o.InsertTimeout, o.ReconcileAfter = weeks, time.Minute, time.Minute, 5*time.Minute // a busy machine takes its time
	}, nil)
	w.exactlyOnce()
	m.stop()
	if n := m.Stats().Inserts.Load(); n != 1 {
		t.Errorf("%d INSERTs, want 1", n)
	}
}
