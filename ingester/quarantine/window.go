package quarantine

import (
	"fmt"
	"time"
)

// Window is a time: From belongs to it, To does not.
type Window struct{ From, To time.Time }

// Holds tells whether t is in the window.
func (w Window) Holds(t time.Time) bool { return !t.Before(w.From) && t.Before(w.To) }

// String is the window in its zone.
func (w Window) String() string {
	return fmt.Sprintf("%s to %s", w.From.Format(time.RFC3339), w.To.Format(time.RFC3339))
}

// Day is the whole day of t's zone that lies so many days before t's own: 0 is today. A day
// on which the clocks change has 23 or 25 hours.
func Day(t time.Time, ago int) Window {
	year, month, day := t.Date()
	return Window{startOfDay(year, month, day-ago, t.Location()), startOfDay(year, month, day-ago+1, t.Location())}
}

// startOfDay is the first moment of a day, also where the clocks change at midnight: it
// may then be missing (01:00 is first), or be there twice (the earlier is first).
func startOfDay(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	noon := time.Date(year, month, day, 12, 0, 0, 0, zone)
	if t.Day() != noon.Day() { // midnight is missing: t is an hour early
		_, t = t.ZoneBounds()
		return t
	}
	if t.Hour() != 0 { // missing as well: t is an hour late
		t, _ = t.ZoneBounds()
		return t
	}
	since, _ := t.ZoneBounds()
	if since.IsZero() {
		return t
	}
	before := since.Add(-time.Nanosecond)
	_, was := before.Zone()
	_, is := t.Zone()
	if first := t.Add(time.Duration(is-was) * time.Second); first.Before(since) && first.Hour() == 0 && first.Day() == noon.Day() {
		return first
	}
	return t
}

// days are what SEARCH is asked for: SINCE and BEFORE compare days alone, of a zone that
// the client cannot know, between UTC-12 and UTC+14.
func (w Window) days() (since, before time.Time) {
	return w.From.UTC().AddDate(0, 0, -1), w.To.UTC().AddDate(0, 0, 2)
}
