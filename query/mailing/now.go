package mailing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/query/state"
)

// SendNow sends the last period's report of a schedule, before its time or after a failure,
// whichever instance acts. What was sent, or may have been, is sent only with again, with the
// same Message-ID.
func (m *Mailer) SendNow(ctx context.Context, report, domain, username string, again bool) (state.Sent, error) {
	s, err := m.schedule(report, domain, username)
	if err != nil {
		return state.Sent{}, err
	}
	if m.o.Relay == nil {
		return state.Sent{}, errors.New("cannot send a report: there is no mail.relay")
	}
	now := m.o.Now()
	j := job{Schedule: s, period: m.lastPeriod(report, now)}
	if r, ok := m.o.Store.Snapshot().Sent(s.Report, s.Domain, s.User, j.period.Name); ok {
		j.known, j.version, j.skipped = true, r.Last.Version, r.Skipped
		j.before = state.Sent{Attempts: r.Attempts, Unsure: r.Unsure}
		switch {
		case isOpen(r) && now.Before(r.Claimed.Add(m.abandoned())):
			return r, fmt.Errorf("cannot send report %s of %s for %s: it is being sent", report, s.subject(), j.period.Name)
		case again:
			j.before.Unsure = 0 // somebody has looked
		case !r.Sent.IsZero():
			return r, fmt.Errorf("cannot send report %s of %s for %s: it was sent to %s at %s", report, s.subject(), j.period.Name, r.Recipient, r.Sent.Format(time.RFC3339))
		case isOpen(r) || r.Unsure > 0:
			return r, fmt.Errorf("cannot send report %s of %s for %s: it may have been sent to %s at %s", report, s.subject(), j.period.Name, r.Recipient, r.Claimed.Format(time.RFC3339))
		}
	}
	all, err := m.count(ctx, report, j.period, []string{s.Domain})
	if err != nil {
		return state.Sent{}, err
	}
	return m.send(ctx, m.o.Store, j, all)
}

// schedule is the one that somebody gets.
func (m *Mailer) schedule(report, domain, username string) (Schedule, error) {
	domain, user, err := normalise(report, domain, username)
	if err != nil {
		return Schedule{}, fmt.Errorf("cannot send a report: %w", err)
	}
	for _, s := range Schedules(m.o.Store.Snapshot(), m.o.Recipients) {
		if s.Report == report && s.Domain == domain && s.User == user && s.Recipient != "" {
			return s, nil
		}
	}
	return Schedule{}, fmt.Errorf("nobody gets report %s of %s/%s: millrace schedule set %[1]s %[2]s/%[3]s ADDRESS", report, domain, user)
}

func (m *Mailer) lastPeriod(report string, now time.Time) Period {
	return periodBefore(report, now.Add(-m.o.Delay), m.o.Zone)
}

// Table is the CSV of the last period, for whoever asks; nothing is sent or noted.
func (m *Mailer) Table(ctx context.Context, report, domain, username string) ([]byte, Period, error) {
	domain, user, err := normalise(report, domain, username)
	if err != nil {
		return nil, Period{}, fmt.Errorf("cannot count a report: %w", err)
	}
	period := m.lastPeriod(report, m.o.Now())
	all, err := m.count(ctx, report, period, []string{domain})
	if err != nil {
		return nil, period, err
	}
	return tableOf(Schedule{Report: report, Domain: domain, User: user}, all).csv(period.Name), period, nil
}
