package mailing

import (
	"cmp"
	"context"
	"errors"
	"time"

	"millrace/query/state"
)

// job is a report of one period that is due.
type job struct {
	Schedule
	period  Period
	before  state.Sent // the record of the period, as far as it counts; see known
	known   bool
	version state.Version // of the record; with known
	skipped int           // periods before this one that nobody has sent
}

// closing is a record that is brought to its end, or forgotten.
type closing struct {
	sent   state.Sent
	over   string // why it is not tried any more; empty: it is forgotten
	reason string // in metrics
}

type due struct {
	groups [][]job // of one report and period each, the domains in order
	over   []closing
}

// Reasons why a report was not sent: labels of a metric.
const (
	reasonSkipped = "skipped" // nobody was there in its period
	reasonFailed  = "failed"  // the relay did not take it within its period
	reasonUnsure  = "unsure"  // it may have been sent, twice at most; nobody knows
)

// keptPeriods is how many records of a schedule stay in the state; the trail has all.
const keptPeriods = 2

// abandoned is how long a claim is left alone: by then whoever made it has ended, or noted
// what came of it.
func (m *Mailer) abandoned() time.Duration {
	return 2*cmp.Or(m.o.Relay.Timeout, time.Minute) + 30*time.Second
}

// backoff is the pause after so many attempts.
func backoff(attempts int) time.Duration {
	if attempts > 6 {
		return time.Hour
	}
	return time.Minute << max(0, attempts-1)
}

// isOpen tells that nobody has noted what came of the last attempt.
func isOpen(s state.Sent) bool { return s.Sent.IsZero() && s.Over == "" && s.Error == "" }

// due finds what is to be sent, and what is over.
func (m *Mailer) due(snap *state.Snapshot, now time.Time) due {
	type name struct{ report, domain, user string }
	records := map[name][]state.Sent{} // by period, since their keys are in order
	for _, s := range snap.AllSent() {
		n := name{s.Report, s.Domain, s.User}
		records[n] = append(records[n], s)
	}
	var d due
	groups := map[string][]job{}
	for _, s := range Schedules(snap, m.o.Recipients) {
		period := m.lastPeriod(s.Report, now)
		j, ready := m.look(s, period, records[name{s.Report, s.Domain, s.User}], now, &d)
		if !ready || s.Recipient == "" {
			continue
		}
		groups[s.Report] = append(groups[s.Report], j)
	}
	for _, report := range []string{Daily, Identities} {
		if g := groups[report]; len(g) > 0 {
			d.groups = append(d.groups, g)
		}
	}
	return d
}

// look finds what is to be done for one schedule.
func (m *Mailer) look(s Schedule, period Period, records []state.Sent, now time.Time, d *due) (j job, ready bool) {
	j = job{Schedule: s, period: period}
	last := ""
	for i, r := range records {
		switch {
		case r.Period == period.Name:
			j.before, j.known, j.version = r, true, r.Last.Version
			continue
		case r.Period > period.Name: // a clock that went back
			return j, false
		}
		last = r.Period
		stays := r.Sent.IsZero() && r.Over == ""
		switch {
		case stays && isOpen(r) && now.Before(r.Claimed.Add(m.abandoned())): // it may still be on its way
		case stays && (isOpen(r) || r.Unsure > 0):
			d.over = append(d.over, closing{r, "nobody knows whether it arrived, and its period is over", reasonUnsure})
		case stays:
			d.over = append(d.over, closing{r, "not sent within its period: " + r.Error, reasonFailed})
		case i < len(records)-keptPeriods:
			d.over = append(d.over, closing{sent: r})
		}
	}
	if !j.known {
		if s.Set.After(period.To.Add(m.o.Delay)) {
			return j, false // it begins with the period that is due next
		}
		j.skipped = skippedBetween(s.Report, period, last, s.Set, m.o.Delay, m.o.Zone)
		return j, true
	}
	r := j.before
	switch {
	case !r.Sent.IsZero() || r.Over != "":
		return j, false
	case isOpen(r) && now.Before(r.Claimed.Add(m.abandoned())):
		return j, false
	case r.Recipient != s.Recipient: // what became of the other's mail does not matter to this one
		j.skipped = r.Skipped
		j.before = state.Sent{Skipped: r.Skipped}
		return j, true
	case isOpen(r):
		j.before.Unsure++ // whoever claimed it has ended
	case now.Before(r.Claimed.Add(backoff(r.Attempts))):
		return j, false
	}
	j.skipped = r.Skipped
	if j.before.Unsure > 1 {
		d.over = append(d.over, closing{j.before, "nobody knows whether it arrived, after two attempts", reasonUnsure})
		return j, false
	}
	return j, true
}

// finish notes that reports are not sent any more, and forgets old records.
func (m *Mailer) finish(ctx context.Context, log Log, list []closing) {
	for _, c := range list {
		change := state.Change{Key: state.SentKey(c.sent.Report, c.sent.Domain, c.sent.User, c.sent.Period), Action: "forget", If: state.At(c.sent.Last.Version)}
		if c.over != "" {
			s := c.sent
			s.Over = c.over
			change.Action, change.Value, change.Reason = "give-up", s, c.over
		}
		switch err := log.Append(ctx, system, change); {
		case errors.Is(err, state.ErrFenced), ctx.Err() != nil:
			return
		case errors.Is(err, state.ErrConflict):
		case err != nil:
			m.o.Logger.Warn("cannot note what became of a report, trying again", "report", c.sent.Report, "domain", c.sent.Domain, "period", c.sent.Period, "error", err)
		case c.over != "":
			m.missed.WithLabelValues(c.sent.Report, c.reason).Inc()
			m.o.Logger.Error("a report is not tried any more", "report", c.sent.Report, "domain", c.sent.Domain, "user", c.sent.User,
				"period", c.sent.Period, "recipient", c.sent.Recipient, "message_id", c.sent.MessageID, "attempts", c.sent.Attempts, "reason", c.over)
		}
	}
}
