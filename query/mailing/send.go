package mailing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/query/state"
)

var system = state.By{Actor: "millrace", How: state.System}

// send claims a report, hands it to the relay and notes what came of it. It returns what the
// state says then; an error is logged already.
func (m *Mailer) send(ctx context.Context, log Log, j job, all map[who]counts) (state.Sent, error) {
	now := m.o.Now().UTC()
	t := tableOf(j.Schedule, all)
	text, err := compose(j.Schedule, j.period, t, m.o.Relay.From, now, m.o.Zone)
	if err != nil {
		return state.Sent{}, m.failed(j, err)
	}
	s := state.Sent{
		Claimed: now.Truncate(time.Millisecond), Attempts: j.before.Attempts + 1, Unsure: j.before.Unsure, Skipped: j.skipped,
		Recipient: j.Recipient, MessageID: messageID(j.Schedule, j.period, m.o.Relay.From), Rows: len(t.rows),
	}
	version, err := m.claim(ctx, log, j, s)
	if err != nil {
		return s, m.failed(j, err)
	}
	if j.skipped > 0 && !j.known {
		m.missed.WithLabelValues(j.Report, reasonSkipped).Add(float64(j.skipped))
		m.o.Logger.Warn("periods of a report were not sent, nobody was there", "report", j.Report, "domain", j.Domain, "user", j.User, "periods", j.skipped, "next", j.period.Name)
	}
	// What has begun is brought to its end, also when another instance begins to act or this
	// one is told to stop: only so can be noted what came of it.
	going := context.WithoutCancel(ctx)
	failure := m.o.Relay.deliver(going, j.Recipient, text)
	var open unsure
	again := j.before.Unsure > 0 && (failure == nil || errors.As(failure, &open))
	action := "failed"
	switch {
	case failure == nil:
		action = "sent"
		s.Sent = m.o.Now().UTC().Truncate(time.Millisecond)
	case errors.As(failure, &open):
		s.Unsure++
		fallthrough
	default:
		s.Error = clip(failure.Error())
	}
	m.account(j, s, failure, again)
	// Not in the name of the term: it is a fact, whoever acts now. The condition keeps it
	// from undoing what another one has noted since.
	err = m.o.Store.Append(going, system, state.Change{Key: j.key(), Value: s, Action: action, Reason: s.Error, If: state.At(version)})
	if err != nil {
		m.o.Logger.Warn("cannot note what became of a report", "report", j.Report, "domain", j.Domain, "user", j.User, "period", j.period.Name, "message_id", s.MessageID, "error", err)
	}
	if failure != nil {
		return s, failure
	}
	return s, err
}

func (j job) key() state.Key { return state.SentKey(j.Report, j.Domain, j.User, j.period.Name) }

// claim notes that the report is about to be sent. The version is that of the note.
func (m *Mailer) claim(ctx context.Context, log Log, j job, s state.Sent) (state.Version, error) {
	condition := state.Absent()
	if j.known {
		condition = state.At(j.version)
	}
	if err := log.Append(ctx, system, state.Change{Key: j.key(), Value: s, Action: "claim", If: condition}); err != nil {
		return 0, err
	}
	is, _ := log.Snapshot().Sent(j.Report, j.Domain, j.User, j.period.Name)
	if !is.Claimed.Equal(s.Claimed) || is.Attempts != s.Attempts || is.Recipient != s.Recipient {
		return 0, fmt.Errorf("cannot claim report %s of %s: %w", j.Report, j.period.Name, state.ErrConflict)
	}
	return is.Last.Version, nil
}

// failed logs why nothing was sent, other than that somebody else is at it.
func (m *Mailer) failed(j job, err error) error {
	if errors.Is(err, state.ErrFenced) || errors.Is(err, state.ErrConflict) {
		return err
	}
	m.errors.WithLabelValues(j.Report, "claim").Inc()
	m.o.Logger.Warn("cannot send a report, trying again", "report", j.Report, "domain", j.Domain, "user", j.User, "period", j.period.Name, "error", err)
	return err
}

// account counts and logs an attempt.
func (m *Mailer) account(j job, s state.Sent, failure error, again bool) {
	if again {
		m.resent.WithLabelValues(j.Report).Inc()
	}
	about := []any{"report", j.Report, "domain", j.Domain, "user", j.User, "period", j.period.Name, "recipient", j.Recipient,
		"rows", s.Rows, "message_id", s.MessageID, "attempt", s.Attempts}
	if failure != nil {
		m.errors.WithLabelValues(j.Report, "relay").Inc()
		m.o.Logger.Warn("cannot send a report, trying again", append(about, "next", s.Claimed.Add(backoff(s.Attempts)).Format(time.RFC3339), "error", failure)...)
		return
	}
	m.sent.WithLabelValues(j.Report).Inc()
	m.last.WithLabelValues(j.Report).Set(float64(s.Sent.Unix()))
	if again {
		m.o.Logger.Warn("a report was sent again, since nobody noted whether it was: it may be there twice, with one Message-ID", about...)
		return
	}
	m.o.Logger.Info("report sent", about...)
}

// clip bounds what a relay says.
func clip(s string) string {
	const most = 500
	s = oneLine(s)
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
