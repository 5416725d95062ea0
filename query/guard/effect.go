package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/config"
	"millrace/query/state"
)

// Event is a change of a lock or block, as effects are told.
type Event struct {
	ID       string    `json:"id"`     // the same however often it is told
	Action   string    `json:"action"` // lock, unlock, block, unblock, response-code
	Object   string    `json:"object"` // identity, user, sender
	Domain   string    `json:"domain"`
	User     string    `json:"user"` // * is all of the domain
	Identity string    `json:"identity,omitempty"`
	Sender   string    `json:"sender,omitempty"`
	Locked   bool      `json:"locked"` // or blocked
	Until    time.Time `json:"until,omitzero"`
	Code     string    `json:"code,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Actor    string    `json:"actor"`
	How      string    `json:"how"`
	At       time.Time `json:"at"`

	next state.Version
}

// eventOf is the event of a record that changes a lock or a block.
func eventOf(r state.Record) (Event, bool) {
	kind, parts, ok := r.Key.Split()
	if !ok || r.Effect != state.Applied || len(parts) < 3 || kind != state.KindLock && kind != state.KindBlock {
		return Event{}, false
	}
	e := Event{
		ID: r.ID, Action: r.Mark.Action, Object: parts[0], Domain: parts[1], User: parts[2], Reason: r.Mark.Reason,
		Actor: r.Mark.Actor, How: r.Mark.How, At: r.Mark.At, next: state.Version(r.Offset + 1),
	}
	_, after := r.States()
	if kind == state.KindBlock && len(parts) == 4 {
		e.Sender = parts[3]
		var b state.Block
		if len(after) > 0 && json.Unmarshal(after, &b) != nil {
			return Event{}, false
		}
		e.Locked, e.Rule = b.Blocked, b.Rule
		return e, true
	}
	if len(parts) == 4 {
		e.Identity = parts[3]
	}
	var l state.Lock
	if len(after) > 0 && json.Unmarshal(after, &l) != nil {
		return Event{}, false
	}
	e.Locked, e.Until, e.Code, e.Rule = l.Locked, l.Until, l.Code, l.Rule
	return e, true
}

// Text is the event in words, in a line.
func (e Event) Text() string {
	what := map[string]string{"identity": "identity " + e.Identity, "user": "outgoing user", "sender": "sender " + e.Sender}[e.Object]
	done := map[string]string{"lock": "locked", "unlock": "unlocked", "block": "blocked", "unblock": "unblocked"}[e.Action]
	if done == "" {
		done = e.Action
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprintf("%s %s of %s/%s", done, what, e.Domain, e.User))
}

// errSkip is that an event is not for the effect.
var errSkip = errors.New("not for this effect")

// effect runs one effect of the configuration.
type effect struct {
	config.Effect
	run func(context.Context, Event) error

	mutex   sync.Mutex
	queue   []Event
	reached state.Version // what is before it and is not in the queue is done
	more    chan struct{}
}

func newEffect(c *config.Effect, o *Options) (*effect, error) {
	e := &effect{Effect: *c, more: make(chan struct{}, 1)}
	switch c.Kind {
	case config.EffectWebhook:
		run, err := newWebhook(c, o.Now)
		if err != nil {
			return nil, err
		}
		e.run = run
	case config.EffectCommand:
		e.run = newCommand(c)
	case config.EffectMail:
		e.run = newMail(c, o.Mailer)
	case config.EffectVendor:
		e.run = newVendor(o.Vendor)
	default:
		return nil, fmt.Errorf("cannot use effect %q: unknown kind %q (effects[].kind)", c.Name, c.Kind)
	}
	return e, nil
}

// wants tells whether an event is for the effect.
func (e *effect) wants(ev Event, rules []Rule) bool {
	if e.Kind == config.EffectVendor && ev.How == state.Import {
		return false
	}
	name, byRule := strings.CutPrefix(ev.Actor, "rule:")
	if !byRule || ev.How != state.Rule {
		return e.Manual
	}
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.Name == name && slices.Contains(r.Effects, e.Name) })
}

func (e *effect) put(ev Event) int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.queue = append(e.queue, ev)
	select {
	case e.more <- struct{}{}:
	default:
	}
	return len(e.queue)
}

// take waits for the next event, which stays in the queue until it is dropped.
func (e *effect) take(ctx context.Context) (Event, bool) {
	for {
		e.mutex.Lock()
		if len(e.queue) > 0 {
			ev := e.queue[0]
			e.mutex.Unlock()
			return ev, true
		}
		e.mutex.Unlock()
		select {
		case <-ctx.Done():
			return Event{}, false
		case <-e.more:
		}
	}
}

func (e *effect) drop() int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.queue = e.queue[1:]
	return len(e.queue)
}

func (e *effect) clear() {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.queue, e.reached = nil, 0
}

func (e *effect) reach(v state.Version) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.reached = v
}

// done is the place in the log before which the effect is done.
func (e *effect) done() state.Version {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if len(e.queue) > 0 {
		return e.queue[0].next - 1
	}
	return e.reached
}

var bySystem = state.By{Actor: "millrace", How: state.System}

// runEffects tells all effects of all changes that they have not run for.
func (g *Guard) runEffects(ctx context.Context, term *state.Term) {
	from := map[string]state.Version{}
	for _, e := range g.effects {
		for {
			is, known := term.Snapshot().Effect(e.Name)
			if known {
				from[e.Name] = is.Next
				break
			}
			// A new one begins with what comes: old locks are not new ones.
			first := state.EffectState{Next: term.Snapshot().Version(), At: g.o.Now().UTC()}
			err := term.Append(ctx, bySystem, state.Change{Key: state.EffectKey(e.Name), Action: "begin", Value: first, If: state.Absent()})
			if err == nil {
				from[e.Name] = first.Next
				break
			}
			if !g.retry(ctx, err, "cannot note where an effect begins", e.Name) {
				return
			}
		}
	}
	var work sync.WaitGroup
	for _, e := range g.effects {
		e.clear()
		work.Go(func() { g.runEffect(ctx, term, e) })
	}
	for ctx.Err() == nil {
		err := g.o.Store.Follow(ctx, func(records []state.Record, next state.Version) error {
			for _, r := range records {
				ev, ok := eventOf(r)
				if !ok {
					continue
				}
				for _, e := range g.effects {
					if r.Offset < int64(from[e.Name]) {
						continue
					}
					from[e.Name] = ev.next
					g.counts.waiting.WithLabelValues(e.Name).Set(float64(e.put(ev)))
				}
			}
			for _, e := range g.effects {
				e.reach(next)
			}
			return nil
		})
		if !g.retry(ctx, err, "cannot read what effects are for", "") {
			break
		}
	}
	work.Wait()
}

// retry says what is wrong and pauses; false: it is over.
func (g *Guard) retry(ctx context.Context, err error, what, name string) bool {
	if ctx.Err() != nil || errors.Is(err, state.ErrFenced) {
		return false
	}
	g.o.Logger.Warn(what+", trying again", "effect", name, "error", err)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(g.o.Pause):
		return true
	}
}

// runEffect runs one effect for the events of its queue, in order, until the term is over.
func (g *Guard) runEffect(ctx context.Context, term *state.Term, e *effect) {
	for {
		ev, ok := e.take(ctx)
		if !ok {
			return
		}
		err := errSkip
		if e.wants(ev, g.o.Rules) {
			err = g.attempt(ctx, e, ev)
		}
		if ctx.Err() != nil {
			return // who acts next runs it, with the same key
		}
		for !errors.Is(err, errSkip) {
			noted := g.note(ctx, term, e, ev, err)
			if noted == nil {
				break
			}
			if !g.retry(ctx, noted, "cannot note how far an effect is", e.Name) {
				return
			}
		}
		result := "done"
		switch {
		case errors.Is(err, errSkip):
			result = "skipped"
		case err != nil:
			result = "given_up"
			g.o.Logger.Error("an effect is given up for a change", "effect", e.Name, "change", ev.Text(), "id", ev.ID, "attempts", e.Attempts, "error", err)
		}
		g.counts.runs.WithLabelValues(e.Name, result).Inc()
		g.counts.waiting.WithLabelValues(e.Name).Set(float64(e.drop()))
	}
}

// attempt runs an effect until it succeeds or is given up.
func (g *Guard) attempt(ctx context.Context, e *effect, ev Event) error {
	pause := g.o.Pause
	for n := 1; ; n++ {
		once, cancel := context.WithTimeout(ctx, e.Timeout)
		err := e.run(once, ev)
		cancel()
		if err == nil || errors.Is(err, errSkip) || n >= e.Attempts || ctx.Err() != nil {
			return err
		}
		g.counts.runs.WithLabelValues(e.Name, "failed").Inc()
		g.o.Logger.Warn("an effect has failed, trying again", "effect", e.Name, "change", ev.Text(), "id", ev.ID, "attempt", n, "pause", pause, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// note writes how far the effect is.
func (g *Guard) note(ctx context.Context, term *state.Term, e *effect, ev Event, failed error) error {
	is, _ := term.Snapshot().Effect(e.Name)
	is.Next, is.At, is.Record, is.Error = ev.next, g.o.Now().UTC(), ev.ID, ""
	action := "run"
	if failed != nil {
		action, is.Error = "give-up", failed.Error()
		is.GivenUp++
	}
	return term.Append(ctx, bySystem, state.Change{Key: state.EffectKey(e.Name), Action: action, Value: is})
}
