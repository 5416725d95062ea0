package retrieve

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/ingester/quarantine"
	"millrace/internal/config"
)

// Asked is the time that somebody asks for; without any of it, yesterday.
type Asked struct {
	Today    bool
	Since    string // a time, or how long ago
	From, To string // times; a day as To is meant whole
}

// openEnd is how far beyond now a window without an end reaches: the server's clock may be
// ahead.
const openEnd = 24 * time.Hour

// Window is that time. Days and times without a zone are those of now's.
func (a Asked) Window(now time.Time) (w quarantine.Window, err error) {
	given := 0
	for _, is := range []bool{a.Today, a.Since != "", a.From != "" || a.To != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		return w, errors.New("--today, --since, and --from with --to are three ways to say which time: one of them")
	}
	switch {
	case a.Today:
		return quarantine.Day(now, 0), nil
	case a.Since != "":
		if ago, err := config.ParseDuration(a.Since); err == nil {
			return quarantine.Window{From: now.Add(-ago), To: now.Add(openEnd)}, nil
		}
		w.From, _, err = parseTime(a.Since, now.Location())
		if err != nil {
			return w, fmt.Errorf("--since %q: allowed how long ago, as 1h or 2d, or a time, as 2026-11-25 or 2026-11-25T14:00", a.Since)
		}
		w.To = now.Add(openEnd)
	case a.From != "" || a.To != "":
		if a.From == "" {
			return w, errors.New("--to without --from: since when?")
		}
		if w.From, _, err = parseTime(a.From, now.Location()); err != nil {
			return w, fmt.Errorf("--from %q: %w", a.From, err)
		}
		w.To = now.Add(openEnd)
		if a.To != "" {
			var day bool
			if w.To, day, err = parseTime(a.To, now.Location()); err != nil {
				return w, fmt.Errorf("--to %q: %w", a.To, err)
			}
			if day {
				w.To = quarantine.Day(w.To, -1).From
			}
		}
	default:
		return quarantine.Day(now, 1), nil
	}
	if !w.From.Before(w.To) {
		return w, fmt.Errorf("the time ends before it begins: %s", w)
	}
	return w, nil
}

// parseTime reads a day, a time in a zone, or a time of its own zone.
func parseTime(s string, zone *time.Location) (t time.Time, day bool, err error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		year, month, d := t.Date()
		return quarantine.Day(time.Date(year, month, d, 12, 0, 0, 0, zone), 0).From, true, nil
	}
	s = strings.Replace(s, " ", "T", 1)
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, false, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.In(zone), false, nil
	}
	return t, false, errors.New("allowed: a day as 2026-11-25, or a time as 2026-11-25T14:00 or 2026-11-25T14:00:00Z")
}

// FileName is what a list is called for which nobody gives a name: quarantine-outgoing-2026-11-25.csv,
// or with both ends of the time.
func FileName(directions []string, a Asked, w quarantine.Window) string {
	const stamp = "20060102T150405"
	name := "quarantine-" + strings.Join(directions, "-") + "-"
	day := quarantine.Day(w.From, 0)
	switch {
	case w.From.Equal(day.From) && w.To.Equal(day.To):
		return name + w.From.Format(time.DateOnly) + ".csv"
	case a.To == "":
		return name + w.From.Format(stamp) + ".csv"
	}
	return name + w.From.Format(stamp) + "-" + w.To.Format(stamp) + ".csv"
}
