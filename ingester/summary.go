package ingester

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"millrace/schema"
)

const (
	// summaryInterval is the least time between two lines about one reason on one
	// listener: what a stranger can cause by the million must not fill the log.
	summaryInterval = 30 * time.Second
	// summaryTick is how soon the first one stands there.
	summaryTick = 250 * time.Millisecond
)

// summary writes what the ledgers count of rejects and drops into the log: one line a
// listener, reason and interval, with the number since the last line and a sample. The
// counts of all lines add up to the ledger's.
type summary struct {
	log   *slog.Logger
	in    *input
	lines []summaryLine
}

type summaryLine struct {
	reason schema.Reason
	reject bool
	sample *sample
	told   uint64
	at     time.Time
}

func newSummary(in *input, log *slog.Logger) *summary {
	s := &summary{log: log.With("listener", string(in.name)), in: in}
	for i, r := range rejectReasons {
		s.lines = append(s.lines, summaryLine{reason: r, reject: true, sample: &in.samples.rejects[i]})
	}
	for i, r := range dropReasons {
		s.lines = append(s.lines, summaryLine{reason: r, sample: &in.samples.drops[i]})
	}
	return s
}

// summarize writes the summaries of all listeners until it is told to end.
func (in *Ingester) summarize() (end func()) {
	every := in.every()
	all := make([]*summary, len(every))
	for i, input := range every {
		all[i] = newSummary(input, in.log)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(summaryTick)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				for _, s := range all {
					s.write(now, false)
				}
			}
		}
	})
	return func() {
		stop()
		running.Wait()
		for _, s := range all {
			s.write(time.Now(), true)
		}
	}
}

// write says what is due; at the end all that has not been said.
func (s *summary) write(now time.Time, end bool) {
	account := s.in.ledger.read()
	for i := range s.lines {
		l := &s.lines[i]
		count := account.Dropped[l.reason]
		if l.reject {
			count = account.Rejected[l.reason]
		}
		if count == l.told || !end && now.Sub(l.at) < summaryInterval {
			continue
		}
		attrs := []any{"reason", l.reason, "count", count - l.told}
		if !l.at.IsZero() {
			attrs = append(attrs, "in", now.Sub(l.at).Round(time.Second))
		}
		attrs = append(attrs, l.sample.attrs()...)
		l.told, l.at = count, now
		switch {
		case l.reject:
			s.log.Warn("frames were rejected; their bytes are in the table rejects", attrs...)
		case l.reason == schema.DropRejectLimit:
			limit := s.in.rejects.get()
			s.log.Warn("FRAMES ARE LOST: more were rejected than listeners[].reject_limit stores, and nothing of the others is kept. "+
				"If they are events, mend the template (millrace source check, millrace template test), and raise the limit until then (SIGHUP reloads it)",
				append(attrs, "limit_rows", limit.Rows, "limit_bytes", limit.Bytes, "limit_interval", limit.Interval)...)
		case l.reason == schema.DropNotAllowed:
			if peer := s.in.ledger.transport.Stranger(); peer.IsValid() {
				attrs = append(attrs, "peer", peer)
			}
			s.log.Warn("refused what came from addresses that listeners[].allow does not name, or without a client name that is permitted", attrs...)
		case l.reason == schema.DropEmpty:
			s.log.Info("frames with nothing in them were dropped", attrs...)
		default:
			s.log.Warn("frames were dropped; nothing of them is kept", attrs...)
		}
	}
}
