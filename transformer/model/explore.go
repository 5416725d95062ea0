package model

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
)

// Step is one step of a course.
type Step struct {
	Member string // A, B, or "" for Kafka, ClickHouse and the time
	// Event is what the program calls it (the transformer's step function), "" when
	// it says nothing.
	Event string

	text    string
	a, b, c int
	problem string
}

// overflow as an Event: the arrays of State are too small for the bounds.
const overflow = "overflow"

func (s Step) of(event, text string, numbers ...int) Step {
	s.Event, s.text = event, text
	for i, n := range numbers {
		switch i {
		case 0:
			s.a = n
		case 1:
			s.b = n
		case 2:
			s.c = n
		}
	}
	return s
}

func (s Step) String() string {
	numbers := []any{s.a, s.b, s.c}
	text := fmt.Sprintf(s.text, numbers[:strings.Count(s.text, "%d")]...)
	if s.Member != "" {
		return s.Member + " " + text
	}
	return text
}

func name(who int) string { return [...]string{"A", "B"}[who] }

// Result is what Explore found.
type Result struct {
	States  int
	Steps   int // transitions
	Quiet   int // states in which all has come to rest
	Problem string
	Course  []Step // to the problem; the shortest there is
}

// String is the course as a numbered list.
func (r *Result) String() string {
	if r.Problem == "" {
		return fmt.Sprintf("nothing is lost and nothing doubled in %d states\n", r.States)
	}
	var b strings.Builder
	for i, s := range r.Course {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, s)
	}
	fmt.Fprintf(&b, "     %s\n", r.Problem)
	return b.String()
}

// ErrTooMany: the states are more than Bounds.States.
var ErrTooMany = errors.New("cannot explore all states: there are more than the bounds allow")

// table finds states that have been seen.
type table struct {
	seed   maphash.Seed
	slots  []uint32 // 1 + number of the state
	states []State
}

func (t *table) add(s *State) (number uint32, added bool) {
	if 2*len(t.states) >= len(t.slots) {
		t.slots = make([]uint32, max(1<<12, 4*len(t.slots)))
		for i := range t.states {
			t.slots[t.slot(&t.states[i])] = uint32(i + 1)
		}
	}
	i := t.slot(s)
	if n := t.slots[i]; n > 0 {
		return n - 1, false
	}
	t.states = append(t.states, *s)
	t.slots[i] = uint32(len(t.states))
	return uint32(len(t.states) - 1), true
}

// slot is where the state is, or belongs.
func (t *table) slot(s *State) int {
	i := int(maphash.Comparable(t.seed, *s)) & (len(t.slots) - 1)
	for t.slots[i] > 0 && t.states[t.slots[i]-1] != *s {
		i = (i + 1) & (len(t.slots) - 1)
	}
	return i
}

// Explore visits every state, nearest first, until one is wrong.
func Explore(c Config) (*Result, error) {
	switch {
	case c.Bounds.Records < 1 || c.Bounds.Records > MaxRecords:
		return nil, fmt.Errorf("cannot explore %d records: 1 to %d are possible", c.Bounds.Records, MaxRecords)
	case c.Bounds.Faults < 0 || c.Bounds.Faults > 100:
		return nil, fmt.Errorf("cannot explore %d faults: 0 to 100 are possible", c.Bounds.Faults)
	}
	var (
		seen    = table{seed: maphash.MakeSeed()}
		r       = new(Result)
		parents []uint32
		from    []uint32 // a step's states, by number
		to      []uint32
		quiet   []bool
		failure error
	)
	first := initial(c.Bounds)
	seen.add(&first)
	parents = append(parents, 0)
	for i := uint32(0); int(i) < len(seen.states) && r.Problem == "" && failure == nil; i++ {
		s := seen.states[i]
		rest := s.quiet(&c)
		quiet = append(quiet, rest)
		if rest {
			r.Quiet++
			if r.Problem = s.missing(); r.Problem != "" {
				r.Course = course(&c, &seen, parents, i)
				break
			}
		}
		each(&c, &s, func(step Step, next State) {
			if r.Problem != "" || failure != nil {
				return
			}
			if step.Event == overflow {
				failure = fmt.Errorf("cannot explore: the bounds are too wide for a state: %s", step)
				return
			}
			if step.problem != "" {
				r.Problem = step.problem
				r.Course = append(course(&c, &seen, parents, i), step)
				return
			}
			n, added := seen.add(&next)
			if added {
				parents = append(parents, i)
			}
			from, to = append(from, i), append(to, n)
		})
		if c.Bounds.States > 0 && len(seen.states) > c.Bounds.States {
			failure = ErrTooMany
		}
	}
	r.States, r.Steps = len(seen.states), len(from)
	if failure == nil && r.Problem == "" {
		if i := stuck(from, to, quiet); i >= 0 {
			r.Problem = "from here nothing comes to rest any more"
			r.Course = course(&c, &seen, parents, uint32(i))
		}
	}
	return r, failure
}

// course is the way to a state, by its parents.
func course(c *Config, seen *table, parents []uint32, i uint32) (steps []Step) {
	for ; i != 0; i = parents[i] {
		want, found := &seen.states[i], false
		each(c, &seen.states[parents[i]], func(step Step, next State) {
			if !found && next == *want {
				found = true
				steps = append(steps, step)
			}
		})
	}
	for i, j := 0, len(steps)-1; i < j; i, j = i+1, j-1 {
		steps[i], steps[j] = steps[j], steps[i]
	}
	return steps
}

// stuck is the first state from which no quiet one is reached, or -1.
func stuck(from, to []uint32, quiet []bool) int {
	// The steps by where they lead.
	starts := make([]uint32, len(quiet)+1)
	for _, n := range to {
		starts[n+1]++
	}
	for i := range quiet {
		starts[i+1] += starts[i]
	}
	into := make([]uint32, len(to))
	at := append([]uint32(nil), starts...)
	for i, n := range to {
		into[at[n]] = from[i]
		at[n]++
	}
	good := append([]bool(nil), quiet...)
	var work []uint32
	for i, q := range quiet {
		if q {
			work = append(work, uint32(i))
		}
	}
	for len(work) > 0 {
		n := work[len(work)-1]
		work = work[:len(work)-1]
		for _, i := range into[starts[n]:starts[n+1]] {
			if !good[i] {
				good[i] = true
				work = append(work, i)
			}
		}
	}
	for i, g := range good {
		if !g {
			return i
		}
	}
	return -1
}

// quiet: an owner has confirmed the whole log, and nothing is under way.
func (s *State) quiet(c *Config) bool {
	if s.owner == 0 || s.late.used || s.flights[0].used || int(s.end) < c.Bounds.Records {
		return false
	}
	m, other := &s.m[s.owner-1], &s.m[2-s.owner]
	return other.pc == idle && m.pc == consuming && m.gen == s.gen && (m.log == s.log || !c.World.NoticedRemake) &&
		m.inserted == s.end && !m.unconfirmed
}

// missing says what a quiet state lacks.
func (s *State) missing() string {
	for o := s.first; o < s.end; o++ {
		if !s.has(o, s.version[o]) {
			return fmt.Sprintf("the record of offset %d has no row", o)
		}
	}
	if silent := s.due &^ s.counted; silent != 0 {
		for o := range MaxRecords {
			if silent&(1<<o) != 0 && s.first > uint8(o) {
				return fmt.Sprintf("the record of offset %d has no row and was not counted as lost", o)
			}
		}
	}
	return ""
}
