package service

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
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
