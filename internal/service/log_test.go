package service

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a logger without times, and what it wrote.
func lines() (*slog.Logger, func() []string) {
	var b bytes.Buffer
	h := slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(h), func() []string {
		s := strings.TrimSuffix(b.String(), "\n")
		b.Reset()
		if s == "" {
			return nil
		}
		return strings.Split(s, "\n")
	}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("logged\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	log, written := lines()
	now := time.Unix(1000, 0)
	th := NewThrottle(log, time.Minute)
	th.now = func() time.Time { return now }
	for range 5 {
		th.Log(slog.LevelWarn, "a", "frame too big", slog.String("peer", "192.0.2.1"))
	}
	th.Log(slog.LevelWarn, "b", "other")
	th.Log(slog.LevelDebug, "c", "below the level")
	want(t, written(), `level=WARN msg="frame too big" peer=192.0.2.1`, `level=WARN msg=other`)
	now = now.Add(time.Minute)
	th.Log(slog.LevelWarn, "a", "frame too big", slog.String("peer", "192.0.2.1"))
	th.Log(slog.LevelWarn, "a", "frame too big", slog.String("peer", "192.0.2.1"))
	want(t, written(), `level=WARN msg="frame too big" peer=192.0.2.1 suppressed=4`)
}

// Keys may come from outside: their number is bounded, and what was suppressed
// is still told.
func TestThrottleManyKeys(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	th := NewThrottle(slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)), time.Minute)
	th.now = func() time.Time { return now }
	logged := 0
	for i := range 10 * maxThrottled {
		if th.Log(slog.LevelWarn, fmt.Sprint(i), "x") {
			logged++
		}
	}
	if len(th.keys) > maxThrottled+1 || logged > maxThrottled+1 {
		t.Errorf("%d keys, %d lines", len(th.keys), logged)
	}
	now = now.Add(time.Hour)
	if !th.Log(slog.LevelWarn, "new", "x") || len(th.keys) > 2 {
		t.Errorf("%d keys after an hour", len(th.keys))
	}
}

func TestThrottleConcurrently(t *testing.T) {
	t.Parallel()
	th := NewThrottle(nil, time.Hour)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				th.admit(fmt.Sprint(i % 7))
			}
		})
	}
	wg.Wait()
	if got, _ := th.admit("3"); got != 0 {
		t.Error("admitted within the interval")
	}
}

func TestConditionsLogChangesOnly(t *testing.T) {
	t.Parallel()
	log, written := lines()
	c := NewConditions(log, "kafka")
	c.Set("kafka", nil)
	c.Set("kafka", nil)
	want(t, written())
	c.Set("kafka", errors.New("refused"))
	c.Set("kafka", errors.New("timed out"))
	want(t, written(), `level=WARN msg="not ready: kafka" reason=refused`)
	if err := c.Ready(); err == nil || err.Error() != "kafka: timed out" {
		t.Errorf("Ready() = %v", err)
	}
	c.Set("kafka", nil)
	want(t, written(), `level=INFO msg="ready again: kafka"`)
	if err := c.Ready(); err != nil {
		t.Errorf("Ready() = %v", err)
	}
}

func TestNewLogger(t *testing.T) {
	t.Parallel()
	for format, part := range map[string]string{"text": "msg=hello", "json": `"msg":"hello"`} {
		var b bytes.Buffer
		l, err := NewLogger(&b, slog.LevelInfo, format)
		if err != nil {
			t.Fatal(err)
		}
		l.Debug("hidden")
		l.Info("hello")
		if !strings.Contains(b.String(), part) || strings.Contains(b.String(), "hidden") {
			t.Errorf("%s: %s", format, b.String())
		}
	}
	if _, err := NewLogger(nil, slog.LevelInfo, "xml"); err == nil {
		t.Error("format xml taken")
	}
}
