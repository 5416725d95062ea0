package publish

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// A trouble that comes and goes with each batch has its two lines, and not two thousand;
// one that lasts has its line, though nothing more happens.
func TestState_Flaps(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := &Publisher{o: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	p.state.told, p.state.ready = classStart, make(chan struct{})
	set := func(err error) {
		p.state.unreachable = err
		p.judge()
	}
	set(nil)
	for range 1000 {
		set(errors.New("gone"))
		if p.State() == nil {
			t.Fatal("the state is good")
		}
		set(nil)
		if p.State() != nil {
			t.Fatal("the state is bad")
		}
	}
	lines := func(text string) int { return strings.Count(log.String(), text) }
	if lines("takes records\"") != 1 || lines("does not take") != 1 || lines("again") != 1 {
		t.Errorf("the log:\n%s", &log)
	}
	set(errors.New("gone"))
	p.state.mu.Lock()
	waits := p.state.later != nil && p.state.later.Stop()
	p.state.troubleAt = p.state.troubleAt.Add(-stateInterval) // time goes by
	p.state.mu.Unlock()
	if !waits || lines("does not take") != 1 {
		t.Errorf("nothing waits for the time of the next line; the log:\n%s", &log)
	}
	p.judgeLater()
	if lines("does not take") != 2 {
		t.Errorf("the log:\n%s", &log)
	}
}
