package transformer

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fetch"
	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// backlog produces n messages to each of the partitions, in batches of 50.
func (w *world) backlog(n int, raw []byte, to ...int32) {
	w.t.Helper()
	k := schema.Message
	for at := 0; at < n; {
		var records []*kgo.Record
		for range 50 {
			for _, p := range to {
				e := event(k, fmt.Sprintf("behind-%d-%d", p, at), at)
				e.SetText(schema.Raw, raw)
				w.want[k.Table] = append(w.want[k.Table], string(e.Text(k.Index("id"))))
				records = append(records, w.record(k, p, schema.AppendRecord(nil, e)))
			}
			at++
		}
		w.send(records...)
	}
}

// A partition with much behind it does not seal a block for its age: what comes slowly out
// of Kafka is inserted in large blocks all the same, each gathered for several times that age.
func TestTurn_BlocksAreFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const rows, age = 4000, 200 * time.Millisecond
	w.backlog(rows, nil, 0)
	w.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		r.(*kmsg.FetchRequest).MaxBytes = 1 // a response has one batch, of 50 records
		w.cluster.SleepControl(func() { time.Sleep(40 * time.Millisecond) })
		return nil, nil, false
	})
	began := time.Now()
	m := w.start(func(o *Options) { o.BlockRows, o.BlockAge = 1000, age }, nil)
	w.arrived()
	ages := time.Since(began).Seconds() / age.Seconds()
	n := m.Stats().Inserts.Load()
	t.Logf("%d inserts in %.0f block ages", n, ages)
	if float64(n) > ages/2+1 {
		t.Errorf("%d inserts in %.0f block ages", n, ages)
	}
	w.exactlyOnce()
}

// refusesMost is a server that takes the blocks of one partition only.
type refusesMost struct {
	insert.Inserter
	takes uint16
	all   chan struct{} // closed: it takes all
}

func (r *refusesMost) Insert(ctx context.Context, b *block.Block, token string) error {
	select {
	case <-r.all:
	default:
		if b.Place().Partition != r.takes {
			return &clickhouse.Exception{Code: 241, Message: "no memory"}
		}
	}
	return r.Inserter.Insert(ctx, b, token)
}

// A partition whose block ClickHouse refuses keeps no other from its turn.
func TestTurn_RefusedBlockGivesItBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const rows = 500
	w.backlog(rows, nil, 0, 1, 2)
	// Younger than an attempt it would be asked what it has, and the partitions begin anew.
	w.eventually("the server has run for a while", func() bool { return w.count("SELECT uptime()") >= 4 })
	r := &refusesMost{takes: 2, all: make(chan struct{})}
	m := w.startWith(func(o *Options) { o.BlockRows, o.Inserters, o.ReconcileAfter = 50, 1, time.Minute }, nil, func(t *Transformer) {
		r.Inserter, t.shards[0].inserter = t.shards[0].inserter, r
		if n := cap(t.turns); n != 2 {
			w.t.Errorf("there are %d turns, and this test is about 2", n)
		}
	})
	w.eventually("two partitions wait", func() bool { return len(m.State().Blocked) == 2 })
	w.eventually("the third has all", func() bool { return w.count("SELECT count() FROM DB.message_events WHERE k_part = 2") == rows })
	close(r.all)
	w.exactlyOnce()
}

// With many partitions to catch up the last one's turn comes late, which is no stall.
func TestTurn_WaitIsNoStall(t *testing.T) {
	t.Parallel()
	tr := &Transformer{stats: newStats(schema.Kinds()), log: slog.New(slog.DiscardHandler)}
	f := func(doing string, want bool) {
		t.Helper()
		s := tr.stats.partition("topic", 0)
		s.end.Store(1000)
		s.doing.Store(doing)
		look := progress{since: time.Now().Add(-time.Hour)}
		stream := fetch.New(fetch.Options{Used: new(atomic.Int64)}).Add("topic", 0)
		look.look(&partition{t: tr, stats: s, topic: "topic", stream: stream}, time.Minute)
		if look.stalled != want {
			t.Errorf("%s for an hour: stalled is %v", doing, look.stalled)
		}
	}
	tr.stats.partition("topic", 0).inserted.Store(0)
	f(doingTurn, false)
	f(doingInsert, true)
}

// A block is sealed for its age while records keep coming, however often they come.
func TestTurn_AgeUnderTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.start(func(o *Options) { o.BlockAge = 3 * time.Second }, nil)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		k := schema.Message
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			id := fmt.Sprintf("steady-%d", n)
			w.want[k.Table] = append(w.want[k.Table], id)
			w.send(w.record(k, 0, schema.AppendRecord(nil, event(k, id, n))))
		}
	}()
	w.eventually("two blocks while traffic goes on", func() bool { return m.Stats().Inserts.Load() >= 2 })
	close(stop)
	<-stopped
	w.exactlyOnce()
}
