package transformer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

// testShard is a real server of its own.
type testShard struct {
	name   string
	server *embedded.ClickHouse
	conn   clickhouse.Conn
}

// newShardedWorld has two servers, with the same empty tables.
func newShardedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	second := embeddedtest.Second(t)
	conn := embeddedtest.ConnectTo(t, second, "")
	ctx := context.Background()
	if err := conn.Exec(ctx, "CREATE DATABASE "+w.database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Exec(ctx, "DROP DATABASE "+w.database+" SYNC"); err != nil {
			t.Error(err)
		}
	})
	for _, k := range schema.Kinds() {
		if err := conn.Exec(ctx, k.CreateTable(schema.Layout{Database: w.database})); err != nil {
			t.Fatal(err)
		}
	}
	w.shards = []testShard{{"one", w.server, w.conn}, {"two", second, conn}}
	return w
}

// conns are the connections to all servers that have rows.
func (w *world) conns() []clickhouse.Conn {
	if w.shards == nil {
		return []clickhouse.Conn{w.conn}
	}
	var all []clickhouse.Conn
	for _, s := range w.shards {
		all = append(all, s.conn)
	}
	return all
}

// shardOptions are the shards, reached as like is.
func (w *world) shardOptions(like *clickhouse.Options) (all []Shard) {
	for _, s := range w.shards {
		o := *like
		o.Addr = []string{s.server.NativeAddr}
		o.Auth = clickhouse.Auth{Username: s.server.Admin.User, Password: s.server.Admin.Password}
		all = append(all, Shard{s.name, &o})
	}
	return all
}

// onlyShards leaves a member these shards, in this order.
func onlyShards(names ...string) func(*Options) {
	return func(o *Options) {
		var list []Shard
		for _, name := range names {
			list = append(list, o.Shards[slices.IndexFunc(o.Shards, func(s Shard) bool { return s.Name == name })])
		}
		o.Shards = list
	}
}

// partitionsAt are the partitions of which a shard has rows, as "0 2".
func (w *world) partitionsAt(shard int) string {
	w.t.Helper()
	var found string
	err := w.shards[shard].conn.QueryRow(context.Background(), "SELECT arrayStringConcat(arrayMap(p -> toString(p), arraySort(groupUniqArray(k_part))), ' ') FROM (SELECT k_part FROM "+
		w.database+".message_events UNION ALL SELECT k_part FROM "+w.database+".status_events UNION ALL SELECT k_part FROM "+w.database+".rejects)").Scan(&found)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// The rows of a partition land on its shard and on no other, whatever happens to those
// who insert them.
func TestShards_KilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, steps := range [][]string{{"announced", "reannounced"}, {"half", "half"}, {"inserted", "redone"}, {"confirmed"}} {
		t.Run(strings.Join(steps, ", "), func(t *testing.T) {
			t.Parallel()
			w := newShardedWorld(t)
			for _, at := range steps {
				w.load()
				step, killed := killAt(at, 0)
				m := w.start(nil, step)
				<-killed
				m.wait()
			}
			w.load()
			w.start(nil, nil)
			m := w.start(nil, nil)
			w.exactlyOnce()
			m.stop()
			for shard, want := range []string{"0 2", "1"} {
				if got := w.partitionsAt(shard); got != want {
					t.Errorf("shard %d has rows of partitions %s, want %s", shard, got, want)
				}
			}
		})
	}
}

// What was announced for a shard is finished there, though the list has changed since.
func TestShards_ListChanged(t *testing.T) {
	t.Parallel()
	for name, lists := range map[string][2][]string{
		"one more":   {{"one"}, {"one", "two"}},
		"turned":     {{"one", "two"}, {"two", "one"}},
		"and killed": {{"one", "two"}, {"two", "one"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newShardedWorld(t)
			w.load()
			step, killed := killAt("inserted", 0)
			m := w.start(onlyShards(lists[0]...), step)
			<-killed
			m.wait()
			if name == "and killed" {
				step, killed := killAt("redone", 0)
				m := w.start(onlyShards(lists[1]...), step)
				<-killed
				m.wait()
			}
			w.load()
			w.start(onlyShards(lists[1]...), nil)
			w.exactlyOnce()
		})
	}
}

// A shard that is gone from the list with an INSERT that nobody knows the end of: its
// partition waits, and says for what.
func TestShards_GoneFromList(t *testing.T) {
	t.Parallel()
	w := newShardedWorld(t)
	for range 6 { // so that partition 1, the one on shard two, is announced too
		w.produce(schema.Message, 30)
	}
	killed := make(chan struct{})
	var once atomic.Bool
	m := w.start(nil, func(m *member, step, topic string, partition int) {
		if step == "inserted" && partition == 1 && once.CompareAndSwap(false, true) {
			m.kill()
			close(killed)
		}
	})
	<-killed
	m.wait()
	m = w.start(onlyShards("one"), nil)
	w.eventually("the partition says what it waits for", func() bool {
		text := fmt.Sprint(m.State().Blocked)
		return strings.Contains(text, `shard "two"`) && strings.Contains(text, "message/1")
	})
	m.stop()
	w.start(nil, nil)
	w.exactlyOnce()
	if got := w.partitionsAt(1); got != "1" {
		t.Errorf("shard two has rows of partitions %s", got)
	}
}

// Offsets that were lost together with the list: all shards are asked, also by who takes
// up a recovery that was killed half way.
func TestShards_OffsetsWiped(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"", "reconciling", "reconciled"} {
		t.Run("killed "+at, func(t *testing.T) {
			t.Parallel()
			w := newShardedWorld(t)
			small := func(o *Options) { o.BlockRows = 8 } // several reconciliations for what is there
			for range 3 {
				w.load()
			}
			m := w.start(small, nil)
			w.exactlyOnce()
			m.stop()
			for _, s := range w.shards {
				if err := s.conn.Exec(t.Context(), "ALTER TABLE "+w.database+".message_events DELETE WHERE k_off % 3 = 1 SETTINGS mutations_sync = 2"); err != nil {
					t.Fatal(err)
				}
			}
			w.resetOffsets(schema.Message, 0)
			turned := func(o *Options) { small(o); onlyShards("two", "one")(o) }
			if at != "" {
				step, killed := killAt(at, 0)
				m = w.start(turned, step)
				<-killed
				m.wait()
			}
			w.load()
			w.start(turned, nil)
			w.exactlyOnce()
		})
	}
}

// A shard that is away keeps nobody else waiting.
func TestShards_OneAway(t *testing.T) {
	t.Parallel()
	w := newShardedWorld(t)
	var away atomic.Bool
	var mutex sync.Mutex
	var conns []net.Conn
	m := w.start(func(o *Options) {
		dial := o.Shards[1].ClickHouse.DialContext
		o.Shards[1].ClickHouse.DialContext = func(ctx context.Context, address string) (net.Conn, error) {
			if away.Load() {
				return nil, errors.New("this shard is away")
			}
			c, err := dial(ctx, address)
			if err == nil {
				mutex.Lock()
				defer mutex.Unlock()
				conns = append(conns, c)
			}
			return c, err
		}
	}, nil)
	w.load()
	w.exactlyOnce()
	before := w.count("SELECT count() FROM DB.message_events")
	away.Store(true)
	mutex.Lock()
	for _, c := range conns {
		c.Close()
	}
	mutex.Unlock()
	w.produce(schema.Message, 60)
	w.eventually("the rows of the other shard", func() bool {
		return w.count("SELECT count() FROM DB.message_events")-before == 40
	})
	w.eventually("the shard's trouble is seen", func() bool {
		err := m.State().ClickHouse
		return err != nil && strings.Contains(err.Error(), "away")
	})
	away.Store(false)
	w.exactlyOnce()
	w.eventually("all is well", func() bool { return m.State().ClickHouse == nil })
}
