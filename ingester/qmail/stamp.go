package qmail

import (
	"time"

	"millrace/schema"
)

// clock reads the stamps of one source, `2021-03-09 11:10:37`, which name no zone. In the
// hour that the end of summer time repeats a stamp has two meanings: the file's order
// decides, and the flag tz_repeated says that it had to.
type clock struct {
	zone *time.Location

	minute [16]byte // that first and second are of: "2021-03-09 11:10"
	first  int64    // ms since 1970
	second int64    // in a repeated hour, the later meaning; else as first
	flags  schema.Flag

	again bool  // the last stamp was of the second run of a repeated hour
	last  int64 // the last stamp read
}

const stampSize = len("2021-03-09 11:10:37")

// read reads the stamp that b begins with. ok is false when it is none.
func (c *clock) read(b []byte) (ms int64, flags schema.Flag, ok bool) {
	if len(b) < stampSize || b[16] != ':' {
		return 0, 0, false
	}
	if [16]byte(b) != c.minute && !c.setMinute([16]byte(b)) {
		return 0, 0, false
	}
	tens, ones := b[17]-'0', b[18]-'0'
	if tens > 6 || ones > 9 || tens == 6 && ones > 0 {
		return 0, 0, false
	}
	seconds, flags := int64(tens)*10+int64(ones), c.flags
	if seconds == 60 {
		seconds, flags = 59, flags|schema.FlagLeapSecond
	}
	ms = c.first + 1000*seconds
	// The file's order: what would lie well before the last line's is of the hour's second
	// run, and so is all that follows of it.
	if c.again = c.second != c.first && (c.again || ms < c.last-backwards); c.again {
		ms = c.second + 1000*seconds
	}
	c.last = ms
	return ms, flags, true
}

// backwards is by how much lines of several processes may stand out of their order.
const backwards = 10 * 60 * 1000

// setMinute works out what a minute means.
func (c *clock) setMinute(m [16]byte) bool {
	var digits [12]int
	n := 0
	for i, x := range m {
		switch i {
		case 4, 7:
			if x != '-' {
				return false
			}
		case 10:
			if x != ' ' && x != 'T' {
				return false
			}
		case 13:
			if x != ':' {
				return false
			}
		default:
			if x-'0' > 9 {
				return false
			}
			digits[n] = int(x - '0')
			n++
		}
	}
	two := func(i int) int { return 10*digits[i] + digits[i+1] }
	year, month, day, hour, minute := 100*two(0)+two(2), two(4), two(6), two(8), two(10)
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || year < 1970 || year > 2261 {
		return false
	}
	naive := time.Date(year, time.Month(month), day, hour, minute, 0, 0, time.UTC)
	if naive.Day() != day { // February 30
		return false
	}
	c.minute = m
	c.first, c.second, c.flags = meanings(naive, c.zone)
	return true
}

// meanings are the instants at which clocks of the zone show what naive shows in UTC. When
// they never do, the hour that summer time's begin leaves out, it is what they would show.
func meanings(naive time.Time, zone *time.Location) (first, second int64, flags schema.Flag) {
	if zone == nil || zone == time.UTC {
		ms := naive.UnixMilli()
		return ms, ms, 0
	}
	// A zone changes its offset once a day at most.
	_, before := naive.Add(-24 * time.Hour).In(zone).Zone()
	_, after := naive.Add(24 * time.Hour).In(zone).Zone()
	at := func(offset int) (int64, bool) {
		t := naive.Add(-time.Duration(offset) * time.Second)
		_, there := t.In(zone).Zone()
		return t.UnixMilli(), there == offset
	}
	early, isEarly := at(before)
	if before == after {
		return early, early, 0
	}
	late, isLate := at(after)
	switch {
	case isEarly && isLate:
		return min(early, late), max(early, late), schema.FlagTZRepeated
	case isLate:
		return late, late, 0
	case isEarly:
		return early, early, 0
	}
	return early, early, schema.FlagTZGap
}
