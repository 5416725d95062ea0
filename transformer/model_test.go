package transformer

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/schema"
	"millrace/transformer/model"
)

// recorder notes the steps of all members, partition by partition.
type recorder struct {
	mutex  sync.Mutex
	traces map[topicPartition][]model.Event
	dead   map[string]bool
}

func newRecorder() *recorder {
	return &recorder{traces: map[topicPartition][]model.Event{}, dead: map[string]bool{}}
}

// record is a step function of the member with that name; each process has its own
// name until it is dead. What a dead one still does nobody sees.
func (r *recorder) record(name string, then func(*member, string, string, int)) func(*member, string, string, int) {
	r.mutex.Lock()
	delete(r.dead, name)
	r.mutex.Unlock()
	return func(m *member, step, topic string, partition int) {
		r.mutex.Lock()
		if !r.dead[name] {
			key := topicPartition{topic, partition}
			r.traces[key] = append(r.traces[key], model.Event{Member: name, Step: step})
		}
		r.mutex.Unlock()
		if then != nil {
			then(m, step, topic, partition)
		}
	}
}

// killed notes that the member is dead, in every partition in which it did anything.
func (r *recorder) killed(name string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.dead[name] {
		return
	}
	r.dead[name] = true
	for key, trace := range r.traces {
		for _, e := range slices.Backward(trace) {
			if e.Member == name {
				if e.Step != "killed" {
					r.traces[key] = append(trace, model.Event{Member: name, Step: "killed"})
				}
				break
			}
		}
	}
}

// killAt kills the member at the step, and notes that: not before, because other
// partitions may have got on until then.
func (r *recorder) killAt(name, step string) (func(*member, string, string, int), <-chan struct{}) {
	kill, killed := killAt(step, 0)
	return r.record(name, func(m *member, s, topic string, partition int) {
		kill(m, s, topic, partition)
		if s == step {
			r.killed(name)
		}
	}), killed
}

// replay fails unless each trace is a course of the model. It returns how many were
// compared: those of topics whose blocks go to one table, and have few enough.
func (r *recorder) replay(t *testing.T) (n int) {
	t.Helper()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for key, trace := range r.traces {
		blocks, kills := 0, 0
		for _, e := range trace {
			switch e.Step {
			case "sealed":
				blocks++
			case "killed":
				kills++
			}
		}
		if blocks == 0 || blocks > model.MaxRecords || strings.HasSuffix(key.topic, ".message") {
			continue
		}
		n++
		c := model.Config{Rules: model.Protocol(), World: model.Assumed(), Bounds: model.Bounds{
			Records: blocks, Parts: 1, Kinds: model.Crash | model.Rebalance | model.LostAnswer | model.LostCommit,
		}}
		err := model.Legal(trace, c)
		// Kafka may have taken the last commit of each that was killed. Courses with
		// less of that are found sooner.
		for ; err != nil && c.Bounds.Faults <= kills; err = model.Legal(trace, c) {
			c.Bounds.Faults++
		}
		if err != nil {
			t.Errorf("%s/%d: %v\n%s", key.topic, key.partition, err, steps(trace))
		}
	}
	return n
}

func steps(trace []model.Event) string {
	var b strings.Builder
	for _, e := range trace {
		b.WriteString(" " + e.Member + ":" + e.Step)
	}
	return b.String()
}

// few produces a block's worth for each partition, of kinds without bad records.
func (w *world) few() {
	w.produce(schema.Status, 9)
	w.produce(schema.Reject, 9)
}

// What members do that are killed at the steps of the protocol is what the model
// allows, and nothing else.
func TestModel_TracesAreLegal(t *testing.T) {
	t.Parallel()
	for _, kills := range [][]string{
		{"looked"}, {"announced"}, {"confirmed"}, {"announced", "reannounced"}, {"inserted", "redone"},
	} {
		t.Run(strings.Join(kills, ", "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := newRecorder()
			w.few()
			for _, s := range kills {
				step, killed := r.killAt("A", s)
				m := w.start(nil, step)
				select {
				case <-killed:
				case <-time.After(time.Minute):
					t.Fatalf("step %q was not reached", s)
				}
				m.wait()
			}
			m := w.start(nil, r.record("B", nil))
			w.few()
			w.exactlyOnce()
			m.stop()
			if n := r.replay(t); n < partitions {
				t.Errorf("only %d traces were replayed", n)
			}
		})
	}
}

// A trace in which a block is sent before it is announced is none of the model.
func TestModel_TamperedTraceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRecorder()
	w.few()
	m := w.start(nil, r.record("A", nil))
	w.exactlyOnce()
	m.stop()
	if n := r.replay(t); n < partitions {
		t.Fatalf("only %d traces were replayed", n)
	}
	c := model.Config{Rules: model.Protocol(), World: model.Assumed(), Bounds: model.Bounds{
		Records: model.MaxRecords, Faults: 1, Kinds: model.Rebalance, Parts: 1,
	}}
	n := 0
	for key, trace := range r.traces {
		announced := slices.IndexFunc(trace, func(e model.Event) bool { return e.Step == "announced" })
		attempt := slices.IndexFunc(trace, func(e model.Event) bool { return e.Step == "attempt" })
		if announced < 0 || attempt < announced {
			continue
		}
		n++
		trace[announced], trace[attempt] = trace[attempt], trace[announced]
		if err := model.Legal(trace, c); err == nil {
			t.Errorf("%s/%d: an INSERT before its announcement is legal:\n%s", key.topic, key.partition, steps(trace))
		}
	}
	if n == 0 {
		t.Error("no block was announced")
	}
}
