package mailing

import (
	"fmt"
	"time"

	"millrace/internal/config"
)

// Report names, as in the configuration.
const (
	Daily      = config.DailyReport
	Identities = config.IdentitiesReport
)

// identitiesStep is the length of a period of Identities. Periods begin at even hours of UTC.
const identitiesStep = 2 * time.Hour

// Period is the time that one report is about: From belongs to it, To does not.
type Period struct {
	Name     string // in the state: sorts as time does
	From, To time.Time
}

// periodBefore is the last period of the report that ends at t or before.
func periodBefore(report string, t time.Time, zone *time.Location) Period {
	if report == Identities {
		to := t.UTC().Truncate(identitiesStep)
		from := to.Add(-identitiesStep)
		return Period{from.Format("2006-01-02T15:04Z"), from, to}
	}
	y, m, d := t.In(zone).Date()
	return Period{time.Date(y, m, d-1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), dayBegin(y, m, d-1, zone), dayBegin(y, m, d, zone)}
}

// dayBegin is where a day begins: where clocks are put forward at midnight, an hour later
// than at 0:00, which there is not.
func dayBegin(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	for day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Day(); t.Day() != day; {
		t = t.Add(15 * time.Minute)
	}
	return t
}

// text is the period for people.
func (p Period) text(report string, zone *time.Location) string {
	if report == Identities {
		return fmt.Sprintf("%s to %s UTC", p.From.Format("2006-01-02 15:04"), p.To.Format("15:04"))
	}
	return fmt.Sprintf("%s (%s)", p.Name, zone)
}

// maxSkipped bounds the counting of periods that were not sent.
const maxSkipped = 1000

// skippedBetween counts the periods that end before p begins and are after the one named
// last, or, where last is empty, were due after since.
func skippedBetween(report string, p Period, last string, since time.Time, delay time.Duration, zone *time.Location) int {
	n := 0
	for q := periodBefore(report, p.From, zone); n < maxSkipped; q = periodBefore(report, q.From, zone) {
		if last == "" && since.IsZero() || q.Name <= last || !since.IsZero() && !q.To.Add(delay).After(since) {
			break
		}
		n++
	}
	return n
}
