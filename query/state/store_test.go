package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/topics"
)

const topic = "millrace.state"

var root = By{Actor: "cli:root", How: CLI}

func TestMain(m *testing.M) {
	if instanceAsked() || brokerAsked() {
		return
	}
	os.Exit(embeddedtest.Main(m))
}

func broker(t *testing.T) *embedded.Broker {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func options(address string) Options {
	wanted := topics.Options{
		Brokers: []string{address}, Topics: []string{topic}, Create: true, Partitions: 1, Replication: 1, Compact: true, BatchBytes: topics.StateBatchBytes,
	}
	return Options{
		Brokers: []string{address}, Topic: topic, Group: "millrace.acting",
		SessionTimeout: 3 * time.Second, RebalanceTimeout: 2 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
		EnsureTopic: func(ctx context.Context) error { _, err := topics.Ensure(ctx, wanted); return err },
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lock(identity string, locked bool) Change {
	c := Change{Key: LockKey("example.com", "*", identity), Action: "lock", Value: Lock{Locked: locked}, Reason: "spam run"}
	if !locked {
		c.Action = "unlock"
	}
	return c
}

func TestStore_ReadsItsWrites(t *testing.T) {
	t.Parallel()
	b := broker(t)
	s := open(t, options(b.Addr))
	must(t, s.Append(within(t), root, lock("bob@example.com", true)))
	l, ok := s.Snapshot().Lock("example.com", "*", "bob@example.com")
	if !ok || !l.Locked || l.Last.Actor != "cli:root" || l.Last.Reason != "spam run" || l.Last.How != CLI || l.Identity != "bob@example.com" {
		t.Errorf("%v %+v", ok, l)
	}
	// Another instance, and this one after a restart, know the same.
	other := open(t, options(b.Addr))
	if got, _ := other.Snapshot().Lock("example.com", "*", "bob@example.com"); got != l {
		t.Errorf("the other one has %+v, want %+v", got, l)
	}
	if other.Snapshot().Epoch() != s.Snapshot().Epoch() || s.Snapshot().Epoch() == 0 {
		t.Error("they do not know the same log")
	}
	// What the other one does is here soon.
	must(t, other.Append(within(t), By{Actor: "api:joe", How: API}, lock("bob@example.com", false)))
	for snap := s.Snapshot(); l.Last.Action != "unlock"; {
		var err error
		if l, _ = snap.Lock("example.com", "*", "bob@example.com"); l.Locked {
			snap, err = s.Wait(within(t), snap.Version())
			must(t, err)
		}
	}
	if l.Last.Actor != "api:joe" || l.Last.Action != "unlock" {
		t.Errorf("%+v", l)
	}
}

func TestStore_Removal(t *testing.T) {
	t.Parallel()
	b := broker(t)
	s := open(t, options(b.Addr))
	key := TokenKey("abc")
	must(t, s.Append(within(t), root, Change{Key: key, Action: "add", Value: Token{User: "joe", Hash: "00"}, If: Absent()}))
	v, _ := s.Snapshot().VersionOf(key)
	must(t, s.Append(within(t), root, Change{Key: key, Action: "revoke", If: At(v)}))
	if _, ok := s.Snapshot().Token("abc"); ok || len(s.Snapshot().Tokens()) != 0 || len(s.Snapshot().Keys(KindToken)) != 0 {
		t.Error("it is still there")
	}
	if err := s.Append(within(t), root, Change{Key: key, Action: "set", Value: Token{}, If: At(v)}); !errors.Is(err, ErrConflict) {
		t.Errorf("a removed key was changed: %v", err)
	}
	must(t, s.Append(within(t), root, Change{Key: key, Action: "add", Value: Token{User: "jim"}, If: Absent()}))
	if got, _ := open(t, options(b.Addr)).Snapshot().Token("abc"); got.User != "jim" {
		t.Errorf("%+v", got)
	}
}

// Of those who change the same version at the same time one succeeds, and all see the same.
func TestStore_OneOfManyWins(t *testing.T) {
	t.Parallel()
	b := broker(t)
	var stores []*Store
	for range 4 {
		stores = append(stores, open(t, options(b.Addr)))
	}
	for round := range 5 {
		key := SentKey("daily", "example.com", AllUsers, fmt.Sprint(round))
		var mutex sync.Mutex
		var won []string
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() {
				name := fmt.Sprint("instance ", i)
				err := s.Append(within(t), By{Actor: name, How: System}, Change{Key: key, Action: "claim", Value: Sent{Recipient: name}, If: Absent()})
				if err == nil {
					mutex.Lock()
					won = append(won, name)
					mutex.Unlock()
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("won: %q", won)
		}
		for _, s := range append(stores, open(t, options(b.Addr))) {
			must(t, s.CatchUp(within(t)))
			if got, _ := s.Snapshot().Sent("daily", "example.com", AllUsers, fmt.Sprint(round)); got.Recipient != won[0] || got.Last.Actor != won[0] {
				t.Errorf("%+v, and %s won", got, won[0])
			}
		}
	}
}

func TestStore_Bulk(t *testing.T) {
	t.Parallel()
	b := broker(t)
	s := open(t, options(b.Addr))
	var changes []Change
	for i := range 5000 {
		changes = append(changes, lock(fmt.Sprintf("user%d@example.com", i), true))
	}
	must(t, s.Append(within(t), root, changes...))
	if n := len(s.Snapshot().Locks()); n != 5000 {
		t.Errorf("%d locks", n)
	}
	if n := len(open(t, options(b.Addr)).Snapshot().Locks()); n != 5000 {
		t.Errorf("%d locks after a restart", n)
	}
}

// The broker compacts the log: who opens it then knows what the others know.
func TestStore_OverCompaction(t *testing.T) {
	t.Parallel()
	b := broker(t)
	s := open(t, options(b.Addr))
	for i := range 40 {
		must(t, s.Append(within(t), root, lock(fmt.Sprint("user", i%4), i%3 > 0)))
	}
	must(t, s.Append(within(t), root, Change{Key: LockKey("example.com", "*", "user0"), Action: "remove"}))
	before := s.Snapshot().Locks()
	b.Cluster().Compact()
	if got := open(t, options(b.Addr)).Snapshot().Locks(); !slices.Equal(got, before) || len(got) != 3 {
		t.Errorf("%+v, want %+v", got, before)
	}
	// Who follows goes on over the gaps.
	must(t, s.Append(within(t), root, lock("user9", true)))
	if _, ok := s.Snapshot().Lock("example.com", "*", "user9"); !ok {
		t.Error("it is not there")
	}
}

// A broker that answers late, or that has written what it says it has not, doubles nothing.
func TestStore_SendsAgain(t *testing.T) {
	t.Parallel()
	b := broker(t)
	s := open(t, options(b.Addr))
	must(t, s.Append(within(t), root, lock("bob", true)))
	v, _ := s.Snapshot().VersionOf(LockKey("example.com", "*", "bob"))
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 2})
	c := lock("bob", false)
	c.If = At(v)
	must(t, s.Append(within(t), root, c))
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 2})
	must(t, s.Append(within(t), root, lock("bea", true)))
	other := open(t, options(b.Addr))
	must(t, s.CatchUp(within(t)))
	if got, want := other.Snapshot().Locks(), s.Snapshot().Locks(); !slices.Equal(got, want) || len(got) != 2 || got[0].Identity != "bea" || got[1].Locked {
		t.Errorf("%+v and %+v", got, want)
	}
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 1})
	if err := s.Append(within(t), root, lock("joe", true)); err == nil || errors.Is(err, ErrConflict) {
		t.Errorf("refused: %v", err)
	}
}

func TestOpen_Failure(t *testing.T) {
	t.Parallel()
	f := func(name string, o Options, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		s, err := Open(ctx, o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	o := options("127.0.0.1:1")
	f("no broker", o, "cannot reach Kafka at 127.0.0.1:1")
	o.EnsureTopic = nil
	f("no broker, and no check", o, "millrace.state")
	o.Brokers = nil
	f("none named", o, "kafka.brokers is empty")
}
