package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/internal/kafkagroup"
)

// Term is the time in which this instance acts.
type Term struct {
	s      *Store
	number int64
	ctx    context.Context
	end    context.CancelFunc
}

// Number counts the terms of all instances.
func (t *Term) Number() int64 { return t.number }

// Context ends with the term: when the group says so, when another instance's term has
// begun, or when the store is closed. Work that has not heard of it yet is fenced: what it
// appends has no effect.
func (t *Term) Context() context.Context { return t.ctx }

// Append is that of the store, in the name of the term.
func (t *Term) Append(ctx context.Context, by By, changes ...Change) error {
	if t.ctx.Err() != nil {
		return ErrFenced
	}
	err := t.s.append(ctx, by, t.number, changes)
	if errors.Is(err, ErrFenced) {
		t.end()
	}
	return err
}

// Leader waits until this instance acts, and returns its term. All callers get the same
// one. The first call makes the store a member of the group.
func (s *Store) Leader(ctx context.Context) (*Term, error) {
	s.electing.Do(func() { s.work.Go(s.elect) })
	var term *Term
	err := s.until(ctx, func() bool {
		term = s.term
		return term != nil && term.ctx.Err() == nil
	})
	return term, err
}

// elect is a member of the group until the store is closed.
func (s *Store) elect() {
	for s.life.Err() == nil {
		if err := s.member(); err != nil && s.life.Err() == nil {
			s.o.Logger.Warn("leaving the group that elects the acting instance", "group", s.o.Group, "error", err)
		}
		pause(s.life, time.Second)
	}
}

// member joins the group and works through its generations, until one of them had a term
// that another instance has ended: who rejoins as it is may be given the same generation
// again.
func (s *Store) member() error {
	dialer := kafkagroup.NewDialer(s.o.Dialer)
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: s.o.Group, Brokers: s.o.Brokers, Dialer: dialer.Dialer, Topics: []string{s.o.Topic},
		SessionTimeout: s.o.SessionTimeout, RebalanceTimeout: s.o.RebalanceTimeout,
		HeartbeatInterval: s.o.HeartbeatInterval, JoinGroupBackoff: time.Second,
		Timeout: s.o.SessionTimeout, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("cannot join group %q: %w", s.o.Group, err)
	}
	defer dialer.Leave(group)
	for s.life.Err() == nil {
		gen, err := group.Next(s.life)
		if err != nil {
			if s.life.Err() == nil && !errors.Is(err, kafka.RebalanceInProgress) {
				s.o.Logger.Warn("cannot join the group that elects the acting instance, trying again", "group", s.o.Group, "error", err)
				pause(s.life, time.Second)
			}
			continue
		}
		result := make(chan error, 1)
		gen.Start(func(ended context.Context) { result <- s.generation(ended, gen) })
		if err := <-result; err != nil {
			return err
		}
	}
	return nil
}

// generation lasts until the next rebalance; with the partition it is a term.
func (s *Store) generation(ended context.Context, gen *kafka.Generation) error {
	ctx, cancel := context.WithCancel(ended)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	if len(gen.Assignments[s.o.Topic]) == 0 {
		<-ctx.Done()
		return nil
	}
	term, err := s.beginTerm(ctx, gen)
	if err != nil {
		if ended.Err() != nil {
			return nil
		}
		return err
	}
	defer term.end()
	s.o.Logger.Info("this instance acts", "term", term.number, "group", s.o.Group, "generation", gen.ID)
	defer func() { s.o.Logger.Info("this instance acts no more", "term", term.number) }()
	for {
		// What others have left without effect is put right; see repairs.
		if err := s.repair(term.ctx); err != nil && term.ctx.Err() == nil {
			s.o.Logger.Warn("cannot say again what holds after a change without effect", "error", err)
		}
		if err := s.until(term.ctx, func() bool { return len(s.machine.spoiled) > 0 }); err != nil {
			break
		}
		pause(term.ctx, s.o.HeartbeatInterval) // its author may be about to
	}
	if ended.Err() == nil && s.life.Err() == nil {
		return ErrFenced
	}
	return nil
}

// beginTerm appends the record that begins a term. Between reading the log and appending,
// the group is asked whether the generation still holds: then a record of a later one, if
// there is any, is behind what was read, and the condition gives way to it.
func (s *Store) beginTerm(ctx context.Context, gen *kafka.Generation) (*Term, error) {
	if err := s.CatchUp(ctx); err != nil {
		return nil, err
	}
	snap := s.Snapshot()
	last, _ := one[leaderState](snap, leaderKey)
	condition := Absent()
	if v, ok := snap.VersionOf(leaderKey); ok {
		condition = At(v)
	}
	if err := s.heartbeat(ctx, gen); err != nil {
		return nil, err
	}
	number := last.Term + 1
	t := &Term{s: s, number: number}
	t.ctx, t.end = context.WithCancel(ctx)
	err := s.append(ctx, By{Actor: "millrace", How: System}, number, []Change{{
		Key: leaderKey, Action: "begin", Value: leaderState{Term: number, Generation: gen.ID, Member: gen.MemberID}, If: condition,
	}})
	if err != nil {
		t.end()
		return nil, fmt.Errorf("cannot begin term %d: %w", number, err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.machine.term > number {
		t.end()
		return nil, fmt.Errorf("cannot begin term %d: %w", number, ErrFenced)
	}
	s.term = t
	s.tell()
	return t, nil
}

// heartbeat asks the group whether the generation still holds.
func (s *Store) heartbeat(ctx context.Context, gen *kafka.Generation) error {
	r, err := s.journal.client.Heartbeat(ctx, &kafka.HeartbeatRequest{GroupID: s.o.Group, GenerationID: gen.ID, MemberID: gen.MemberID})
	if err == nil {
		err = r.Error
	}
	if err != nil {
		return fmt.Errorf("cannot tell whether generation %d of group %q still holds: %w", gen.ID, s.o.Group, err)
	}
	return nil
}

// Snapshot is that of the store.
func (t *Term) Snapshot() *Snapshot { return t.s.Snapshot() }
