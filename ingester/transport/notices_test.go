package transport

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestNotices: of ten thousand there are two lines, and their counts are all of them.
func TestNotices(t *testing.T) {
	t.Parallel()
	var n notices
	var said [4]uint64
	var all sync.WaitGroup
	for i := range said {
		all.Go(func() {
			for range 2500 {
				said[i] += n.due("closed a connection")
			}
		})
	}
	all.Wait()
	if got := said[0] + said[1] + said[2] + said[3]; got != 1 {
		t.Errorf("the first line tells of %d", got)
	}
	if got := n.due("something else"); got != 1 {
		t.Errorf("another thing waits: %d", got)
	}
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	now := time.Now()
	n.overdue(log, now)
	if b.Len() > 0 {
		t.Errorf("too early: %s", &b)
	}
	// Nothing more has to happen for the rest to be said.
	n.overdue(log, now.Add(noticeInterval+time.Minute))
	n.overdue(log, now.Add(noticeInterval+time.Minute))
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="closed a connection" count=9999`) {
		t.Errorf("once it is due: %s", got)
	}
	b.Reset()
	n.due("closed a connection")
	n.watch(log)()
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="closed a connection" count=1`) {
		t.Errorf("at the end: %s", got)
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	var s Stats
	first, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	s.Refuse(first)
	s.Refuse(second)
	if got := s.Stranger(); got != first {
		t.Errorf("%v", got)
	}
	if got := s.Stranger(); got.IsValid() {
		t.Errorf("nobody came since, but %v", got)
	}
	s.Refuse(second)
	if got := s.Stranger(); got != second || s.NotAllowed.Load() != 3 {
		t.Errorf("%v, %d refused", got, s.NotAllowed.Load())
	}
}
