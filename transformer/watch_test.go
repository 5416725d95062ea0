package transformer

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/schema"
)

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mutex sync.Mutex
	b     bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.b.String()
}

// A partition that inserts nothing although records are there is counted and named
// in the log with what it is about, and so is its going on.
func TestStalledPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log logBuffer
	held := make(chan struct{})
	var release sync.Once
	free := func() { release.Do(func() { close(held) }) }
	defer free()
	m := w.start(func(o *Options) {
		o.StallAfter = time.Second // it may not have come as far as the INSERT by then: the log tells of that later
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, func(_ *member, step, topic string, partition int) {
		if step == "attempt" && topic == w.topic(schema.Message) && partition == 1 {
			<-held
		}
	})
	w.produce(schema.Message, 30)
	// Others may be slow on a busy machine, and be named as well.
	w.eventually("a line about the partition and what it waits for", func() bool {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "a partition does not get on") && strings.Contains(line, "topic="+w.topic(schema.Message)+" partition=1") &&
				strings.Contains(line, doingPlace) {
				return m.stats.StalledParts.Load() > 0
			}
		}
		return false
	})
	// More comes to the partition that reads nothing, and its lag tells.
	w.produce(schema.Message, 30)
	w.eventually("the lag of both", func() bool {
		for _, l := range m.stats.Lags() {
			if l.Topic == w.topic(schema.Message) && l.Partition == 1 {
				return l.Records == 20
			}
		}
		return false
	})
	free()
	w.exactlyOnce()
	w.eventually("no stalled partition", func() bool { return m.stats.StalledParts.Load() == 0 })
	w.eventually("a line about it", func() bool { return strings.Contains(log.String(), "a partition gets on again") })
	m.stop()
}
