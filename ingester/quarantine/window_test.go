package quarantine

import (
	"testing"
	"time"

	"millrace/internal/config"
)

func TestDay(t *testing.T) {
	t.Parallel()
	f := func(zone, now string, ago int, from, to string) {
		t.Helper()
		loc, err := config.ParseTimeZone(zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		w := Day(at.In(loc), ago)
		if got := w.String(); got != from+" to "+to {
			t.Errorf("%s, %s, %d days ago:\n got %s\nwant %s to %s", zone, now, ago, got, from, to)
		}
		for _, c := range []struct {
			at   time.Time
			want bool
		}{{w.From.Add(-time.Second), false}, {w.From, true}, {w.To.Add(-time.Second), true}, {w.To, false}} {
			if w.Holds(c.at) != c.want {
				t.Errorf("%s holds %s: want %v", w, c.at, c.want)
			}
		}
		// What any server's SEARCH finds by days contains the window.
		since, before := w.days()
		for _, offset := range []int{-12, 0, 14} {
			server := time.FixedZone("", offset*3600)
			day := func(t time.Time) string { return t.In(server).Format(time.DateOnly) }
			if day(w.From) < since.Format(time.DateOnly) || day(w.To.Add(-1)) >= before.Format(time.DateOnly) {
				t.Errorf("%s at %+d: SINCE %s BEFORE %s leaves some out", w, offset, since, before)
			}
		}
	}
	f("UTC", "2026-11-25T12:00:00Z", 0, "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z")
	f("UTC", "2026-11-25T00:00:00Z", 1, "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z")
	f("UTC", "2026-11-24T23:59:59Z", 1, "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z")
	f("UTC", "2027-01-01T05:00:00Z", 1, "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z")
	f("UTC", "2028-03-01T05:00:00Z", 1, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z")
	// The zone decides which day it is.
	f("Europe/Amsterdam", "2026-11-24T23:30:00Z", 0, "2026-11-25T00:00:00+01:00", "2026-11-26T00:00:00+01:00")
	f("-08:00", "2026-11-25T07:59:59Z", 0, "2026-11-24T00:00:00-08:00", "2026-11-25T00:00:00-08:00")
	// Days of 23 and of 25 hours.
	f("Europe/Amsterdam", "2026-03-29T12:00:00Z", 0, "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00")
	f("Europe/Amsterdam", "2026-10-26T12:00:00Z", 1, "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")
	// Midnight is missing: the day begins at 01:00.
	f("America/Sao_Paulo", "2018-11-04T12:00:00Z", 0, "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00")
	f("America/Sao_Paulo", "2018-11-04T12:00:00Z", 1, "2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00")
	// The clock goes back at midnight: 23:00 to 24:00 is there twice, and belongs to the day before.
	f("America/Sao_Paulo", "2018-02-18T12:00:00Z", 1, "2018-02-17T00:00:00-02:00", "2018-02-18T00:00:00-03:00")
	// The clock goes back to midnight, which is there twice: the first is where the day begins.
	f("America/Havana", "2025-11-02T12:00:00Z", 0, "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00")
	f("America/Havana", "2025-11-03T12:00:00Z", 2, "2025-11-01T00:00:00-04:00", "2025-11-02T00:00:00-04:00")
	f("Asia/Beirut", "2022-03-27T12:00:00Z", 0, "2022-03-27T01:00:00+03:00", "2022-03-28T00:00:00+03:00")
}
