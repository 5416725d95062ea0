package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// By is who makes changes, and how.
type By struct {
	Actor string // such as cli:root, api:NAME, rule:NAME
	How   string // CLI, API, ...
}

// Change is the whole new state of a key.
type Change struct {
	Key    Key
	Value  any    // a state of the key's kind; nil: the key is removed
	Action string // what was done, in a word: lock, unlock, set, remove
	Reason string
	If     Condition
}

// Condition says when a change has effect. The zero value: always.
type Condition struct {
	kind    conditionKind
	version Version
}

type conditionKind uint8

const (
	always conditionKind = iota
	atVersion
	absent
)

// At is the condition that the key's last change is the one at v.
func At(v Version) Condition { return Condition{atVersion, v} }

// Absent is the condition that the key is not there.
func Absent() Condition { return Condition{kind: absent} }

// Errors of Append.
var (
	// ErrConflict: a condition did not hold. The error is a *ConflictError.
	ErrConflict = errors.New("it was changed by somebody else")
	// ErrFenced: the term is over; another instance acts.
	ErrFenced = errors.New("another instance acts now")
)

// ConflictError names the keys whose changes have had no effect; the others have.
type ConflictError struct{ Keys []Key }

func (e *ConflictError) Error() string {
	var b strings.Builder
	for i, k := range e.Keys {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == 10 {
			fmt.Fprintf(&b, "and %d more", len(e.Keys)-i)
			break
		}
		fmt.Fprintf(&b, "%q", k)
	}
	return fmt.Sprintf("cannot change %s: %s", &b, ErrConflict)
}

// Is makes it an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Append makes the changes and returns when they are acknowledged and in the snapshot. An
// error other than ErrConflict and ErrFenced means that they may have been made, or be
// made later, unless it says that they were refused by Kafka.
func (s *Store) Append(ctx context.Context, by By, changes ...Change) error {
	return s.append(ctx, by, 0, changes)
}

// pending is a change on its way.
type pending struct {
	key    Key
	id     string
	effect chan Effect
}

func (s *Store) append(ctx context.Context, by By, term int64, changes []Change) error {
	if len(changes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.AppendTimeout)
	defer cancel()
	states, err := encodeStates(changes)
	if err != nil {
		return err
	}
	groups := s.repairs()
	var wait []pending
	var lost []Key
	s.mutex.Lock()
	for i := range changes {
		c := &changes[i]
		env := &envelope{
			V: envelopeVersion, ID: uuid.NewString(), At: time.Now().UTC().Truncate(time.Millisecond),
			By: by.Actor, How: by.How, Action: c.Action, Why: c.Reason, State: states[i], Term: term, Removed: c.Value == nil,
		}
		if c.If.kind != always {
			// What holds now holds until a record says otherwise: the log's order decides.
			if !s.machine.holds(c.Key, c.If) {
				lost = append(lost, c.Key)
				continue
			}
			env.Since = new(s.machine.next)
		}
		group, err := env.group(c.Key)
		if err != nil {
			s.mutex.Unlock()
			return err
		}
		p := pending{c.Key, env.ID, make(chan Effect, 1)}
		s.waiting[p.id] = p.effect
		wait, groups = append(wait, p), append(groups, group)
	}
	s.mutex.Unlock()
	defer func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		for _, p := range wait {
			delete(s.waiting, p.id)
		}
	}()
	if len(wait) == 0 {
		return &ConflictError{lost}
	}
	if err := s.send(ctx, groups, wait[len(wait)-1]); err != nil {
		return err
	}
	fenced := false
	for _, p := range wait {
		select {
		case effect := <-p.effect:
			switch effect {
			case Conflict:
				lost = append(lost, p.key)
			case Fenced:
				fenced = true
			}
		case <-ctx.Done():
			return fmt.Errorf("cannot tell whether the change of %q has had effect: %w", p.key, ctx.Err())
		case <-s.life.Done():
			return fmt.Errorf("cannot tell whether the change of %q has had effect: the state is closed", p.key)
		}
	}
	if fenced || len(lost) > 0 {
		if err := s.repair(ctx); err != nil { // the next who appends does it
			s.o.Logger.Warn("cannot say again what holds after a change without effect", "error", err)
		}
	}
	switch {
	case fenced:
		return ErrFenced
	case len(lost) > 0:
		return &ConflictError{lost}
	}
	return nil
}

func encodeStates(changes []Change) ([]json.RawMessage, error) {
	states := make([]json.RawMessage, len(changes))
	for i, c := range changes {
		if _, _, ok := c.Key.Split(); !ok {
			return nil, fmt.Errorf("cannot change %q: it is no key", c.Key)
		}
		if c.Value == nil {
			continue
		}
		text, err := json.Marshal(c.Value)
		if err != nil {
			return nil, fmt.Errorf("cannot write the state of %q: %w", c.Key, err)
		}
		states[i] = text
	}
	return states, nil
}

// group is the record and, after a removal, its tombstone, which follows in the same batch.
func (e *envelope) group(key Key) ([]outgoing, error) {
	value, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("cannot write a record about %q: %w", key, err)
	}
	group := []outgoing{{key, value}}
	if e.Removed {
		group = append(group, outgoing{key, nil})
	}
	return group, nil
}

// holds tells whether a condition holds now.
func (m *machine) holds(key Key, c Condition) bool {
	name, _, _ := key.Split()
	e := m.entries[name][key]
	there := e != nil && !e.env.Removed
	if c.kind == absent {
		return !there
	}
	return there && e.version == c.version
}

// send appends batch after batch, each until it is acknowledged. A batch whose outcome is
// unknown is sent again: the second copy of a record has no effect.
func (s *Store) send(ctx context.Context, groups [][]outgoing, last pending) error {
	for _, batch := range batches(groups) {
		for n := 1; ; n++ {
			err := s.journal.produce(ctx, batch)
			if err == nil {
				break
			}
			if errors.Is(err, errRefused) {
				return err
			}
			if !pause(ctx, min(time.Duration(n)*50*time.Millisecond, time.Second)) {
				return fmt.Errorf("cannot tell whether the change of %q will be made: %w", last.key, err)
			}
		}
	}
	return nil
}

// repairs are records that say again what holds for keys whose last record had no effect:
// compaction would keep that one.
func (s *Store) repairs() [][]outgoing {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var groups [][]outgoing
	for key := range s.machine.spoiled {
		name, _, _ := key.Split()
		env := envelope{V: envelopeVersion, At: time.Now().UTC().Truncate(time.Millisecond), By: "millrace", How: System, Action: "remove", Removed: true}
		if e := s.machine.entries[name][key]; e != nil {
			env = *e.env
		}
		env.ID, env.Repair, env.Term, env.Since = uuid.NewString(), true, 0, new(s.machine.next)
		group, err := env.group(key)
		if err != nil {
			continue // it was read from JSON: it can be written
		}
		groups = append(groups, group)
	}
	return groups
}

// repair appends the repairs, if there are any.
func (s *Store) repair(ctx context.Context) error {
	for _, batch := range batches(s.repairs()) {
		if err := s.journal.produce(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}
