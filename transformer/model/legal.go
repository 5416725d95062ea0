package model

import "fmt"

// Event is a step that a real member took: the name is the one that the transformer
// gives its step function, or "killed".
type Event struct {
	Member string // A or B
	Step   string
}

// silent are steps of the transformer that the model has no step for: they are
// between two that it has.
var silent = map[string]bool{
	"insert": true, "half": true, "settled": true, "found": true, "reread": true, "between": true, "draining": true, "drained": true, "ending": true,
}

// Legal tells whether there is a course of the model with exactly these events of
// its members, whatever Kafka, ClickHouse and the time do between them. The
// bounds' faults are those that the trace does not show; what it shows (killed,
// failed) is added. The error names the first event that no course has.
func Legal(trace []Event, c Config) error {
	for _, e := range trace {
		if e.Step == "killed" || e.Step == "failed" {
			c.Bounds.Faults++
		}
	}
	if c.Bounds.Records < 1 || c.Bounds.Records > MaxRecords || c.Bounds.Faults > 100 {
		return fmt.Errorf("cannot replay a trace of %d events with %d records and %d faults", len(trace), c.Bounds.Records, c.Bounds.Faults)
	}
	states := map[State]bool{initial(c.Bounds): true}
	for i, e := range trace {
		if silent[e.Step] {
			continue
		}
		next := map[State]bool{}
		var failure error
		for s := range closure(&c, states) {
			each(&c, &s, func(step Step, n State) {
				switch {
				case step.Event == overflow:
					failure = fmt.Errorf("cannot replay event %d: %s", i+1, step)
				case step.problem != "":
					failure = fmt.Errorf("cannot replay event %d: %s: %s", i+1, step, step.problem)
				case step.Event == e.Step && step.Member == e.Member:
					next[n] = true
				}
			})
		}
		if failure != nil {
			return failure
		}
		if len(next) == 0 {
			return fmt.Errorf("cannot replay event %d, %q of %s: no course of the model has it after%s", i+1, e.Step, e.Member, tail(trace[:i]))
		}
		states = next
	}
	return nil
}

// tail are the last events, to be read in an error.
func tail(trace []Event) (text string) {
	if len(trace) == 0 {
		return " the beginning"
	}
	for _, e := range trace[max(0, len(trace)-6):] {
		text += " " + e.Member + ":" + e.Step
	}
	return text
}

// closure are the states that are reached by steps of which a trace shows nothing.
func closure(c *Config, states map[State]bool) map[State]bool {
	all := map[State]bool{}
	var work []State
	add := func(s State) {
		if !all[s] {
			all[s] = true
			work = append(work, s)
		}
	}
	for s := range states {
		add(s)
	}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		each(c, &s, func(step Step, n State) {
			if step.Event == "" && step.problem == "" {
				add(n)
			}
		})
	}
	return all
}
