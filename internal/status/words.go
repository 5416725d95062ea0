package status

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// none stands for what is not known.
const none = "-"

var english = message.NewPrinter(language.English)

// count is 1,234,567.
func count(n uint64) string { return english.Sprintf("%d", n) }

// share is a percentage that is 0 and 100 only if it is.
func share(n, of uint64) string {
	switch p := 100 * float64(n) / float64(of); {
	case of == 0:
		return none
	case n == 0:
		return "0"
	case n == of:
		return "100%"
	case p < 0.01:
		return "<0.01%"
	case p < 1:
		return fmt.Sprintf("%.2f%%", p)
	default:
		return fmt.Sprintf("%.1f%%", math.Min(p, 99.9))
	}
}

// size is in binary units.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

func rate(r float64) string {
	switch {
	case r >= 100:
		return count(uint64(math.Round(r)))
	case r >= 0.05:
		return fmt.Sprintf("%.1f", r)
	case r >= 0.001:
		return fmt.Sprintf("%.3f", r)
	}
	return "0"
}

// span is a time in one or two units.
func span(d time.Duration) string {
	d = max(d, 0)
	const day = 24 * time.Hour
	two := func(big time.Duration, bigName string, small time.Duration, smallName string) string {
		return fmt.Sprintf("%d %s %d %s", d/big, bigName, d%big/small, smallName)
	}
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(time.Minute, "min", time.Second, "s")
	case d < day:
		return two(time.Hour, "h", time.Minute, "min")
	}
	return two(day, "d", time.Hour, "h")
}

// signed is a time in seconds with its sign.
func signed(seconds float64) string {
	sign := "+"
	switch {
	case math.Abs(seconds) < 0.05:
		sign = ""
	case seconds < 0:
		sign = "-"
	}
	// Beyond what a Duration holds it is no clock at all.
	d := time.Duration(math.Min(math.Abs(seconds), 9e9) * float64(time.Second))
	return sign + span(d)
}

func (p *page) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(p.now.Sub(t)) + " ago"
}

// nameMax is how much of a name is shown.
const nameMax = 120

// printable replaces what would move a terminal's cursor or hide text: names come from
// whoever sends.
func printable(s string) string {
	if len(s) > nameMax {
		s = s[:nameMax] + "..."
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
