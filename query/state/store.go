package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Store is one instance's view of the log.
type Store struct {
	o       Options
	journal *journal
	life    context.Context
	end     context.CancelFunc
	work    sync.WaitGroup

	mutex    sync.Mutex
	machine  *machine
	restarts int           // of reading
	told     Version       // what changed was closed for last
	changed  chan struct{} // closed, and another made, when something was read
	waiting  map[string]chan Effect
	problem  error
	term     *Term
	electing sync.Once
}

// Open makes the topic if need be, reads it to its end, and then follows it until Close.
// ctx bounds the opening alone.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.EnsureTopic != nil {
		if err := o.EnsureTopic(ctx); err != nil {
			return nil, err
		}
	}
	s := &Store{o: o, machine: newMachine(), changed: make(chan struct{}), waiting: map[string]chan Effect{}}
	s.journal = newJournal(&s.o)
	s.life, s.end = context.WithCancel(context.Background())
	s.work.Go(func() { s.journal.follow(s.life, s) })
	if err := s.begin(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// begin reads to the end, and gives a new log its origin.
func (s *Store) begin(ctx context.Context) error {
	if err := s.CatchUp(ctx); err != nil {
		return err
	}
	for s.Snapshot().Epoch() == 0 {
		now := time.Now()
		err := s.Append(ctx, By{Actor: "millrace", How: System}, Change{
			Key: originKey, Action: "begin", Value: originState{Epoch: uint64(now.UnixMilli())}, If: Absent(),
		})
		if err != nil && !errors.Is(err, ErrConflict) { // another one was first
			return err
		}
	}
	return nil
}

// Close ends the following, and the term if this instance has one.
func (s *Store) Close() {
	s.end()
	s.work.Wait()
	s.o.Transport.CloseIdleConnections()
}

// CatchUp waits until everything is read that is in the log at the call.
func (s *Store) CatchUp(ctx context.Context) error {
	var end int64
	var err error
	for n := 1; ; n++ {
		if _, end, err = s.journal.bounds(ctx); err == nil {
			break
		}
		if !pause(ctx, min(time.Duration(n)*100*time.Millisecond, 2*time.Second)) {
			return err
		}
	}
	return s.until(ctx, func() bool { return s.restarts > 0 && s.machine.next >= Version(end) })
}

// until waits for something that is read under the mutex. Who asks with a context that has
// ended hears that, whatever holds: loops end by it.
func (s *Store) until(ctx context.Context, done func() bool) error {
	for {
		s.mutex.Lock()
		ok, changed, problem := done(), s.changed, s.problem
		s.mutex.Unlock()
		if ok && ctx.Err() == nil && s.life.Err() == nil {
			return nil
		}
		select {
		case <-changed:
		case <-s.life.Done():
			return errors.New("cannot read the state: it is closed")
		case <-ctx.Done():
			if problem != nil {
				return fmt.Errorf("cannot read the state: %w: %w", ctx.Err(), problem)
			}
			return fmt.Errorf("cannot read the state: %w", ctx.Err())
		}
	}
}

// Snapshot is the state as far as the log is read.
func (s *Store) Snapshot() *Snapshot {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.machine.snapshot()
}

// Wait returns the first snapshot that is not of version seen.
func (s *Store) Wait(ctx context.Context, seen Version) (*Snapshot, error) {
	if err := s.until(ctx, func() bool { return s.machine.next != seen }); err != nil {
		return nil, err
	}
	return s.Snapshot(), nil
}

// State says why the log is not followed at the moment; nil: it is.
func (s *Store) State() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.problem
}

// The reader's side.

func (s *Store) restart() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.restarts > 0 {
		s.machine = newMachine()
	}
	s.restarts++
	s.told = -1
}

func (s *Store) record(offset int64, key, value []byte) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	r := s.machine.apply(offset, key, value)
	if w := s.waiting[r.ID]; w != nil && r.Effect != Duplicate {
		delete(s.waiting, r.ID)
		w <- r.Effect
	}
	if s.term != nil && s.machine.term > s.term.number {
		s.term.end()
	}
}

func (s *Store) reached(next int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.machine.next = max(s.machine.next, Version(next)) // compaction leaves gaps
	if s.told != s.machine.next {
		s.told = s.machine.next
		s.tell()
	}
}

// tell wakes those who wait in until; the caller has the mutex.
func (s *Store) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) trouble(err error) {
	s.mutex.Lock()
	was := s.problem
	s.problem = err
	s.mutex.Unlock()
	switch {
	case err != nil && was == nil:
		s.o.Logger.Warn("cannot follow the state, trying again", "topic", s.o.Topic, "brokers", strings.Join(s.o.Brokers, ","), "error", err)
	case err == nil && was != nil:
		s.o.Logger.Info("following the state again", "topic", s.o.Topic)
	}
}

// Follow reads the log once more, from its beginning, and tells f of its records, those of
// one answer of Kafka at a time and none when there are none; next is the place behind
// them. It ends with f's error, or when ctx ends.
func (s *Store) Follow(ctx context.Context, f func(records []Record, next Version) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errClosed) })()
	s.journal.follow(ctx, &follower{machine: newMachine(), tell: f, stop: cancel})
	return context.Cause(ctx)
}

var (
	errClosed  = errors.New("the state is closed")
	errRestart = errors.New("the log of state was cut or made anew")
)

// follower reads for Follow.
type follower struct {
	machine *machine
	started bool
	records []Record
	tell    func([]Record, Version) error
	stop    context.CancelCauseFunc
}

func (f *follower) restart() {
	if f.started {
		f.stop(errRestart)
	}
	f.started = true
}

func (f *follower) record(offset int64, key, value []byte) {
	f.records = append(f.records, f.machine.apply(offset, key, value))
}

func (f *follower) reached(next int64) {
	if err := f.tell(f.records, Version(next)); err != nil {
		f.stop(err)
	}
	f.records = f.records[:0]
}

func (f *follower) trouble(error) {} // the store says it
