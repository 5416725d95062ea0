package service

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// ErrStarting is the state of a condition that nothing has been said about.
var ErrStarting = errors.New("starting")

// Conditions are what must hold for a daemon to be ready, each with a name. All
// methods may be called by any goroutine.
type Conditions struct {
	log *slog.Logger

	mu       sync.Mutex
	list     []condition
	draining string
}

type condition struct {
	name  string
	err   error
	probe func() error
	held  bool // has been met since the start
}

// NewConditions starts with the named conditions unmet ("starting"), so that a
// part that has not come up yet cannot be forgotten. log gets one line for each
// change, nil for none.
func NewConditions(log *slog.Logger, names ...string) *Conditions {
	c := &Conditions{log: orDiscard(log)}
	for _, name := range names {
		c.list = append(c.list, condition{name: name, err: ErrStarting})
	}
	return c
}

// Set says that a condition holds (nil), or why it does not. A new name is a
// new condition.
func (c *Conditions) Set(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.at(name)
	before := now.err
	now.err, now.probe = err, nil
	c.changed(now, before, err)
}

// Probe asks f whenever somebody asks whether the daemon is ready. f must be
// quick and must not call c.
func (c *Conditions) Probe(name string, f func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at(name).probe = f
}

// Drain makes the daemon not ready for good: it hands over what it has and
// takes nothing new.
func (c *Conditions) Drain(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = reason
}

func (c *Conditions) at(name string) *condition {
	for i := range c.list {
		if c.list[i].name == name {
			return &c.list[i]
		}
	}
	c.list = append(c.list, condition{name: name, err: ErrStarting})
	return &c.list[len(c.list)-1]
}

// changed logs a condition's loss and return, not its start: a daemon says
// itself that it has started. The reason may vary while the state does not.
func (c *Conditions) changed(k *condition, before, now error) {
	switch {
	case now != nil && before == nil:
		c.log.Warn("not ready: "+k.name, "reason", now)
	case now == nil && before != nil && k.held:
		c.log.Info("ready again: " + k.name)
	}
	k.held = k.held || now == nil
}

// Unmet is one condition that does not hold.
type Unmet struct {
	Name string
	Err  error
}

func (u Unmet) String() string { return u.Name + ": " + u.Err.Error() }

// Unmet lists what is in the way of being ready; empty: nothing.
func (c *Conditions) Unmet() []Unmet {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Unmet
	if c.draining != "" {
		all = append(all, Unmet{"draining", errors.New(c.draining)})
	}
	for i := range c.list {
		k := &c.list[i]
		if k.probe != nil {
			before := k.err
			k.err = k.probe()
			c.changed(k, before, k.err)
		}
		if k.err != nil {
			all = append(all, Unmet{k.name, k.err})
		}
	}
	return all
}

// Ready is nil, or an error with all the reasons.
func (c *Conditions) Ready() error {
	unmet := c.Unmet()
	if len(unmet) == 0 {
		return nil
	}
	errs := make([]error, len(unmet))
	for i, u := range unmet {
		errs[i] = fmt.Errorf("%s: %w", u.Name, u.Err)
	}
	return errors.Join(errs...)
}
