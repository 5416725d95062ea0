package transformer

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

// pour produces until stopped.
func (w *world) pour() (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				w.produce(schema.Message, 30)
				w.produce(schema.Status, 10)
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// allMove waits until each partition that has traffic has got on: none is stuck behind a
// rebalance.
func (w *world) allMove(members ...*member) {
	w.t.Helper()
	for _, k := range []*schema.Kind{schema.Message, schema.Status} {
		for p := range partitions {
			inserted := func() (most int64) {
				for _, m := range members {
					most = max(most, m.stats.partition(w.topic(k), p).inserted.Load())
				}
				return most
			}
			before := inserted()
			w.eventually("progress of "+w.topic(k), func() bool { return inserted() > before })
		}
	}
}

// Members come and go under load: in order, and not. After each rebalance every partition
// gets on.
func TestGroup_MembersComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.pour()
	a := w.start(nil, nil)
	w.eventually("first rows", func() bool { return w.count("SELECT count() FROM DB.message_events") > 0 })
	b := w.start(nil, nil)
	share := func(m *member) int {
		n := 0
		for _, k := range schema.Kinds() {
			for p := range partitions {
				if m.stats.partition(w.topic(k), p).assigned.Load() {
					n++
				}
			}
		}
		return n
	}
	w.eventually("a share for each", func() bool {
		return share(a) > 0 && share(b) > 0 && share(a)+share(b) == len(schema.Kinds())*partitions
	})
	w.allMove(a, b)
	a.stop()
	w.eventually("all for one", func() bool { return share(b) == len(schema.Kinds())*partitions })
	w.allMove(b)
	c := w.start(nil, nil)
	w.eventually("a share for each", func() bool { return share(b) > 0 && share(c) > 0 })
	w.allMove(b, c)
	b.kill()
	b.wait()
	w.eventually("all for one", func() bool { return share(c) == len(schema.Kinds())*partitions })
	w.allMove(c)
	stop()
	w.exactlyOnce()
	c.stop()
	w.exactlyOnce()
}

// Leaders and the group's coordinator move about under load.
func TestGroup_LeadersAndCoordinatorMove(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, embeddedtest.ClickHouse(t), embeddedtest.Database(t), embeddedtest.Connect(t, ""), 3)
	stop := w.pour()
	a, b := w.start(nil, nil), w.start(nil, nil)
	inserted := func() uint64 { return a.Stats().Rows("message_events") + b.Stats().Rows("message_events") }
	for range 3 {
		before := inserted()
		w.eventually("progress", func() bool { return inserted() > before+100 })
		w.cluster.ShufflePartitionLeaders()
		w.cluster.RehashCoordinators()
	}
	stop()
	w.exactlyOnce()
	a.stop()
	b.stop()
	w.exactlyOnce()
}

// Kafka is away for a while: State says so, and work goes on by itself.
func TestGroup_KafkaAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mutex sync.Mutex
	var conns []net.Conn
	away := false
	m := w.start(func(o *Options) {
		for _, dial := range []*func(context.Context, string, string) (net.Conn, error){&o.Transport.Dial, &o.Dialer.DialFunc} {
			inner := *dial
			*dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				mutex.Lock()
				defer mutex.Unlock()
				if away {
					return nil, errors.New("connection refused")
				}
				c, err := inner(ctx, network, address)
				conns = append(conns, c)
				return c, err
			}
		}
	}, nil)
	w.load()
	w.exactlyOnce()
	mutex.Lock()
	away = true
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
	mutex.Unlock()
	w.eventually("Kafka seen to be away", func() bool { return m.State().Kafka != nil })
	w.load()
	mutex.Lock()
	away = false
	mutex.Unlock()
	w.exactlyOnce()
	w.eventually("readiness", func() bool { return m.State().Err() == nil })
}

// A topic gets more partitions while members work.
func TestGroup_PartitionsAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.load()
	w.start(nil, nil)
	w.exactlyOnce()
	w.addPartitions()
	w.exactlyOnce()
}

// It gets them when the partitions have just been shared out: those that belong to nobody
// are shared out as well.
func TestGroup_PartitionsAddedWhileJoining(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.load()
	var added atomic.Bool
	started, shared := make(chan *member, 1), make(chan struct{})
	w.cluster.ControlKey(int16(kmsg.SyncGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if added.CompareAndSwap(false, true) {
			w.cluster.SleepControl(func() {
				defer close(shared)
				w.addPartitions()
				m := <-started // whose client keeps for a while what it was told before
				w.eventually("their number", func() bool {
					counts, err := m.partitionCounts(context.Background())
					return err == nil && counts[w.topic(schema.Message)] == partitions+2
				})
			})
		}
		return nil, nil, false
	})
	started <- w.start(nil, nil)
	<-shared
	w.exactlyOnce()
}

// addPartitions adds two to a topic, and a record to the last one.
func (w *world) addPartitions() {
	r := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = w.topic(schema.Message), partitions+2
	r.Topics = append(r.Topics, topic)
	request[*kmsg.CreatePartitionsResponse](w, r)
	w.connect()
	id := "in the new partition"
	w.want["message_events"] = append(w.want["message_events"], id)
	w.eventually("the new partition", func() bool {
		err := w.client.ProduceSync(context.Background(), w.record(schema.Message, partitions+1, schema.AppendRecord(nil, event(schema.Message, id, 1)))).FirstErr()
		if err != nil {
			w.client.ForceMetadataRefresh() // the broker may have told the number of before
		}
		return err == nil
	})
}

// The hard stop does not wait for ClickHouse, and loses nothing.
func TestGroup_HardStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.load()
	r := new(refuser)
	r.refuse.Store(true)
	m := w.startWith(func(o *Options) { o.DrainTimeout = 300 * time.Millisecond }, nil, func(t *Transformer) { r.Inserter, t.shards[0].inserter = t.shards[0].inserter, r })
	w.eventually("the alarm", func() bool { return len(m.State().Blocked) > 0 })
	m.stop() // the drain's deadline makes it a hard one
	w.start(nil, nil)
	w.load()
	w.exactlyOnce()
}

// All metrics can be gathered, each with a name of its own.
func TestStats_Collect(t *testing.T) {
	t.Parallel()
	s := newStats(schema.Kinds())
	p := s.partition("millrace.message", 3)
	p.assigned.Store(true)
	p.end.Store(10)
	p.inserted.Store(4)
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(s); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			found[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for _, name := range []string{"millrace_rows_inserted_total", "millrace_insert_seconds", "millrace_consumer_lag", "millrace_buffered_bytes"} {
		if _, ok := found[name]; !ok {
			t.Errorf("no metric %s", name)
		}
	}
	if found["millrace_consumer_lag"] != 6 {
		t.Errorf("lag is %v, want 6", found["millrace_consumer_lag"])
	}
}
