package transformer

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// load produces a little of everything, one bad record included.
func (w *world) load() {
	w.produce(schema.Message, 60)
	w.produce(schema.Status, 30)
	w.produce(schema.Reject, 9)
	w.send(w.record(schema.Message, int32(w.seq%partitions), []byte{0xff}))
}

// killAt returns a step function that kills the member when it comes by the step.
func killAt(step string, delay time.Duration) (func(*member, string, string, int), <-chan struct{}) {
	killed := make(chan struct{})
	var once sync.Once
	return func(m *member, s, _ string, _ int) {
		if s != step {
			return
		}
		once.Do(func() {
			if delay > 0 {
				time.AfterFunc(delay, func() { m.kill(); close(killed) })
				return
			}
			m.kill()
			close(killed)
		})
	}, killed
}

// Members are killed one after the other, each at a step of the protocol, while
// more is produced. Then two members go on, and all is there once.
func TestFault_KilledAtEveryStep(t *testing.T) {
	for name, steps := range map[string][]string{
		"looked": {"looked"}, "recovered": {"recovered"}, "sealed": {"sealed"}, "announced": {"announced"},
		"attempt": {"attempt"}, "during insert": {"attempt+2ms"}, "half": {"half"}, "inserted": {"inserted"}, "confirmed": {"confirmed"},
		"announced, again": {"announced", "reannounced"}, "half, half": {"half", "half"}, "inserted, redone": {"inserted", "redone"},
		"inserted, late": {"inserted", "attempt+1ms", "confirmed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.load()
			for _, s := range steps {
				s, late, _ := strings.Cut(s, "+")
				delay, _ := time.ParseDuration(late)
				step, killed := killAt(s, delay)
				m := w.start(nil, step)
				select {
				case <-killed:
				case <-time.After(30 * time.Second):
					t.Fatalf("step %q was not reached", s)
				}
				m.wait()
				w.load()
			}
			a, b := w.start(nil, nil), w.start(nil, nil)
			w.load()
			w.exactlyOnce()
			bad := int64(len(steps) + 2)
			w.eventually("bad records", func() bool { return w.count("SELECT count() FROM DB.rejects WHERE reason = 'bad_record'") >= bad })
			a.stop()
			b.stop()
			if n := w.count("SELECT count() FROM DB.rejects WHERE reason = 'bad_record'"); n != bad {
				t.Errorf("%d rejects of bad records, want %d", n, bad)
			}
			w.exactlyOnce()
		})
	}
}

// lossy cuts a connection when the answer to a block comes: the server has taken
// the rows and the client does not learn it.
type lossy struct {
	net.Conn
	left *atomic.Int32 // answers yet to lose
	sent int
}

func (c *lossy) Write(b []byte) (int, error) {
	c.sent += len(b)
	return c.Conn.Write(b)
}

func (c *lossy) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.sent > 32<<10 && c.left.Add(-1) >= 0 {
		c.Close()
		return 0, errors.New("connection lost")
	}
	return n, err
}

func loseAnswers(left *atomic.Int32) func(*Options) {
	return func(o *Options) {
		dial := o.ClickHouse.DialContext
		o.ClickHouse.DialContext = func(ctx context.Context, address string) (net.Conn, error) {
			c, err := dial(ctx, address)
			if err != nil {
				return nil, err
			}
			return &lossy{Conn: c, left: left}, nil
		}
	}
}

func TestFault_InsertAnswerLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.produce(schema.Message, 6000)
	var left atomic.Int32
	left.Store(5)
	m := w.start(loseAnswers(&left), nil)
	w.exactlyOnce()
	if n := m.Stats().InsertErrors.Load(); n == 0 {
		t.Error("no answer was lost")
	}
	m.stop()
	w.exactlyOnce()
}

// The same with deduplication off must be seen by the check, or the check is worth
// nothing.
func TestFault_CheckSeesABrokenVariant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.produce(schema.Message, 6000)
	var left atomic.Int32
	left.Store(5)
	lose := loseAnswers(&left)
	m := w.start(func(o *Options) {
		lose(o)
		o.InsertSettings = clickhouse.Settings{"deduplicate_insert": "disable"}
	}, nil)
	w.arrived()
	m.stop()
	if o := w.check(); o.doubled == 0 {
		t.Errorf("nothing is doubled without deduplication after %d lost answers", m.Stats().InsertErrors.Load())
	}
}

func TestFault_ClickHouseRestarts(t *testing.T) {
	t.Parallel()
	server := startOwnServer(t)
	w := server.world()
	w.load()
	small := func(o *Options) { o.BufferBytes = 1 << 20 }
	m := w.start(small, nil)
	w.exactlyOnce()
	server.stop()
	w.load()
	w.eventually("ClickHouse seen to be away", func() bool { return m.State().ClickHouse != nil })
	for range 20 {
		w.produce(schema.Message, 1000)
	}
	server.again()
	w.exactlyOnce()
	w.eventually("readiness", func() bool { return m.State().Err() == nil })
	m.stop()
}

// refuser refuses blocks of one partition, as a server would.
type refuser struct {
	insert.Inserter
	refuse atomic.Bool
}

func (r *refuser) Insert(ctx context.Context, b *block.Block, token string) error {
	if r.refuse.Load() && b.Place().Partition == 0 && b.Kind() == schema.Message {
		return &clickhouse.Exception{Code: 241, Message: "no memory"}
	}
	return r.Inserter.Insert(ctx, b, token)
}

func TestFault_RefusedBlockStopsOnlyItsPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := new(refuser)
	r.refuse.Store(true)
	m := w.startWith(func(o *Options) { o.ReconcileAfter = time.Minute }, nil, func(t *Transformer) { r.Inserter, t.shards[0].inserter = t.shards[0].inserter, r })
	w.load()
	others := int64(len(w.want["message_events"]) / partitions * (partitions - 1))
	w.eventually("the other partitions", func() bool { return w.count("SELECT count() FROM DB.message_events") == others })
	w.eventually("the alarm", func() bool { return len(m.State().Blocked) == 1 && m.Stats().BlockedParts.Load() == 1 })
	if err := m.State().Err(); err != nil {
		t.Errorf("State: %v, but ClickHouse is there", err)
	}
	w.eventually("a new announcement", func() bool { return m.Stats().Reannounced.Load() > 0 })
	// It says how old the range's token is: whoever finishes the range must know.
	w.eventually("the first announcement's time", func() bool {
		_, metadata, _ := strings.Cut(w.committed()[topicPartition{"millrace.message", 0}], " ")
		announced, ok := parseMark(metadata)
		return ok && announced.end > 0 && announced.first > 0 && announced.time-announced.first >= m.o.Lease.Milliseconds()
	})
	r.refuse.Store(false)
	w.exactlyOnce()
	w.eventually("the end of the alarm", func() bool { return len(m.State().Blocked) == 0 })
}

// forgetful is a server whose window has forgotten every token, and which cannot
// be reached for a while after its first answer was lost.
type forgetful struct {
	insert.Inserter
	mutex sync.Mutex
	away  time.Duration        // how long
	until map[string]time.Time // by token
	lost  int
}

func (f *forgetful) Insert(ctx context.Context, b *block.Block, token string) error {
	f.mutex.Lock()
	until, tried := f.until[token]
	if !tried {
		until = time.Now().Add(f.away)
		f.until[token] = until
	}
	f.mutex.Unlock()
	if tried && time.Now().Before(until) {
		return errors.New("no route to the server")
	}
	err := f.Inserter.Insert(ctx, b, token)
	if err == nil && !tried && b.Kind() == schema.Message {
		f.mutex.Lock()
		f.lost++
		f.mutex.Unlock()
		return errors.New("connection lost")
	}
	return err
}

// A member that is cut off from ClickHouse for longer than tokens are surely
// remembered asks what is there before it tries again.
func TestFault_CutOffBeyondTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.load()
	f := &forgetful{until: map[string]time.Time{}}
	m := w.startWith(func(o *Options) {
		// Longer than an INSERT whose answer is late takes: this server would not know it again.
		o.ReconcileAfter = o.Lease + o.InsertTimeout + 3*time.Second
		f.away = o.ReconcileAfter + 2*time.Second
		o.InsertSettings = clickhouse.Settings{"deduplicate_insert": "disable"} // what a window that is over means
	}, nil, func(t *Transformer) { f.Inserter, t.shards[0].inserter = t.shards[0].inserter, f })
	w.exactlyOnce()
	w.eventually("everything confirmed", func() bool {
		for _, metadata := range w.committed() {
			if strings.Contains(metadata, ";e=") {
				return false
			}
		}
		return true
	})
	m.stop()
	w.exactlyOnce()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.lost == 0 {
		t.Error("no answer was lost")
	}
}

// A commit without an answer may arrive later than the next one. The member must
// leave, so that the late copy is refused.
func TestFault_LateCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.load()
	var mutex sync.Mutex
	var late *kmsg.OffsetCommitRequest
	w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		commit := r.(*kmsg.OffsetCommitRequest)
		w.cluster.KeepControl()
		mutex.Lock()
		defer mutex.Unlock()
		if m := commit.Topics[0].Partitions[0].Metadata; late != nil || m == nil || !strings.Contains(*m, ";e=") {
			return nil, nil, false
		}
		late = commit
		return nil, errors.New("lost on the way"), true
	})
	m := w.start(nil, nil)
	w.exactlyOnce()
	if n := m.Stats().UnknownCommits.Load(); n != 1 {
		t.Errorf("UnknownCommits is %d, want 1", n)
	}
	w.load()
	w.exactlyOnce()
	before := w.committed()
	copied := kmsg.NewPtrOffsetCommitRequest()
	copied.Group, copied.Generation, copied.MemberID, copied.Topics = late.Group, late.Generation, late.MemberID, late.Topics
	resp := request[*kmsg.OffsetCommitResponse](w, copied)
	if code := resp.Topics[0].Partitions[0].ErrorCode; code == 0 {
		t.Errorf("the late commit was taken: %v, then %v", before, w.committed())
	}
	m.stop()
	w.start(nil, nil)
	w.load()
	w.exactlyOnce()
}

// frozen connections neither send nor receive until they thaw: a stopped process,
// seen from outside.
type freezer struct {
	mutex sync.Mutex
	gate  chan struct{} // nil: not frozen
}

func (f *freezer) freeze() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.gate = make(chan struct{})
}

func (f *freezer) thaw() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	close(f.gate)
	f.gate = nil
}

func (f *freezer) wait() {
	f.mutex.Lock()
	gate := f.gate
	f.mutex.Unlock()
	if gate != nil {
		<-gate
	}
}

type frozenConn struct {
	net.Conn
	f *freezer
}

func (c *frozenConn) Write(b []byte) (int, error) {
	c.f.wait()
	return c.Conn.Write(b)
}

// A member is frozen between its look at the lease and its INSERT, long enough to
// be expelled. Another finishes its range; then the zombie inserts too.
func TestFault_ZombieInsert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var f freezer
	var once sync.Once
	reached := make(chan struct{})
	thawed := make(chan struct{})
	zombie := w.startWith(func(o *Options) {
		kafkaDial, groupDial, serverDial := o.Transport.Dial, o.Dialer.DialFunc, o.ClickHouse.DialContext
		o.Transport.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
			c, err := kafkaDial(ctx, n, a)
			return &frozenConn{c, &f}, err
		}
		o.Dialer.DialFunc = func(ctx context.Context, n, a string) (net.Conn, error) {
			c, err := groupDial(ctx, n, a)
			return &frozenConn{c, &f}, err
		}
		o.ClickHouse.DialContext = func(ctx context.Context, a string) (net.Conn, error) {
			c, err := serverDial(ctx, a)
			return &frozenConn{c, &f}, err
		}
	}, func(_ *member, step, _ string, _ int) {
		if step == "attempt" {
			once.Do(func() {
				f.freeze()
				close(reached)
				<-thawed
			})
		}
	}, nil)
	w.load()
	<-reached
	w.start(nil, nil)
	w.load()
	w.exactlyOnce() // by the other, after the session's timeout
	inserts := zombie.Stats().Inserts.Load()
	f.thaw()
	close(thawed)
	w.eventually("the zombie's insert", func() bool { return zombie.Stats().Inserts.Load() > inserts })
	w.load()
	w.exactlyOnce()
}
