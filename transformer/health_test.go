package transformer

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What does not work from the start on is in the log, once, and not before it
// has had a moment.
func TestHealth_FailsFromTheStart(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var h health
	h.init(slog.New(slog.NewTextHandler(&log, nil)), "Kafka", errors.New("not tried yet"))
	lines := func(want int, last string) {
		t.Helper()
		if n := strings.Count(log.String(), "\n"); n != want || !strings.Contains(log.String(), last) {
			t.Errorf("the log has %d lines, want %d, the last with %q:\n%s", n, want, last, &log)
		}
	}
	h.set(errors.New("wrong password"))
	lines(0, "")
	h.since = h.since.Add(-patience)
	h.set(errors.New("wrong password"))
	h.set(errors.New("still the wrong password"))
	lines(1, `"wrong password"`)
	h.set(nil)
	lines(2, "Kafka works")
	h.set(errors.New("away"))
	h.since = time.Now().Add(-time.Hour)
	h.set(errors.New("away for an hour"))
	lines(3, "error=away")
}
