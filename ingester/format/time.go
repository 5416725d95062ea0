package format

import (
	"time"

	"millrace/schema"
)

// instant is a time as a source wrote it.
type instant struct {
	millis int64 // since 1970 UTC; as if it were UTC when zoned is false
	zoned  bool
	leap   bool // second 60, read as 59
}

// parseTime reads what the sources are known or likely to write: seconds since
// 1970 with or without a fraction (milliseconds when they have 13 digits), and
// YYYY-MM-DD HH:MM[:SS[.fraction]] with a blank or a T between, with or without
// Z, UTC or an offset behind.
func parseTime(v []byte) (t instant, ok bool) {
	if millis, ok := epoch(v); ok {
		return instant{millis: millis, zoned: true}, true
	}
	return parseTimeSlow(v)
}

func parseTimeSlow(v []byte) (t instant, ok bool) {
	if len(v) > maxTyped {
		return t, false
	}
	digits := 0
	for digits < len(v) && isDigit(v[digits]) {
		digits++
	}
	if digits == 4 && len(v) > 4 && v[4] == '-' {
		return parseDate(v)
	}
	if digits == 0 || digits > 13 {
		return t, false
	}
	n, _ := parseUint(v[:digits], 1<<63-1)
	millis := int64(n)
	rest := v[digits:]
	if digits < 13 {
		millis *= 1000
		var fraction int64
		if fraction, rest, ok = parseFraction(rest); !ok {
			return t, false
		}
		millis += fraction
	}
	if len(rest) > 0 || millis > schema.MaxMillis {
		return t, false
	}
	return instant{millis: millis, zoned: true}, true
}

// parseFraction reads an optional fraction of a second, down to milliseconds.
func parseFraction(v []byte) (millis int64, rest []byte, ok bool) {
	if len(v) == 0 || v[0] != '.' && v[0] != ',' {
		return 0, v, true
	}
	i, unit := 1, int64(100)
	for ; i < len(v) && isDigit(v[i]); i++ {
		millis += int64(v[i]-'0') * unit
		unit /= 10
	}
	return millis, v[i:], i > 1
}

func parseDate(v []byte) (t instant, ok bool) {
	// YYYY-MM-DD HH:MM
	if len(v) < 16 || v[4] != '-' || v[7] != '-' || v[10] != ' ' && v[10] != 'T' && v[10] != 't' || v[13] != ':' {
		return t, false
	}
	year, ok1 := two(v[0:], 99)
	rest, ok2 := two(v[2:], 99)
	month, ok3 := two(v[5:], 12)
	day, ok4 := two(v[8:], 31)
	hour, ok5 := two(v[11:], 23)
	minute, ok6 := two(v[14:], 59)
	year = year*100 + rest
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || month == 0 || day == 0 || day > daysIn(year, month) || year < 1970 || year > 2299 {
		return t, false
	}
	v = v[16:]
	second := int64(0)
	var fraction int64
	if len(v) >= 3 && v[0] == ':' {
		if second, ok = two(v[1:], 60); !ok {
			return t, false
		}
		if fraction, v, ok = parseFraction(v[3:]); !ok {
			return t, false
		}
		if second == 60 {
			second, t.leap = 59, true
		}
	}
	t.millis = (daysSince1970(year, month, day)*86400+hour*3600+minute*60+second)*1000 + fraction
	offset, zoned, ok := parseOffset(v)
	t.zoned = zoned
	t.millis -= offset
	return t, ok && t.millis >= 0 && t.millis <= schema.MaxMillis
}

// parseOffset reads nothing, Z, UTC, GMT or +HH[[:]MM], after an optional blank.
func parseOffset(v []byte) (millis int64, zoned, ok bool) {
	if len(v) == 0 {
		return 0, false, true
	}
	if v[0] == ' ' {
		v = v[1:]
	}
	switch string(v) {
	case "Z", "z", "UTC", "GMT":
		return 0, true, true
	}
	if len(v) < 3 || v[0] != '+' && v[0] != '-' {
		return 0, false, false
	}
	hours, ok := two(v[1:], 15)
	if !ok {
		return 0, false, false
	}
	var minutes int64
	if m := v[3:]; len(m) > 0 {
		if m[0] == ':' {
			m = m[1:]
		}
		if len(m) != 2 {
			return 0, false, false
		}
		if minutes, ok = two(m, 59); !ok {
			return 0, false, false
		}
	}
	millis = (hours*60 + minutes) * 60_000
	if v[0] == '-' {
		millis = -millis
	}
	return millis, true, true
}

// two reads two digits, up to max.
func two(v []byte, max int64) (int64, bool) {
	if len(v) < 2 || !isDigit(v[0]) || !isDigit(v[1]) {
		return 0, false
	}
	n := int64(v[0]-'0')*10 + int64(v[1]-'0')
	return n, n <= max
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSince1970 counts from March, so that the leap day ends a year.
func daysSince1970(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468
}

const (
	quarter   = 15 * 60 * 1000
	maxOffset = 14 * 3600 * 1000 // no zone is farther from UTC
)

// offsetFrom is the offset, in quarters of an hour, at which a local time would
// be the reference instant.
func offsetFrom(local, reference int64) (millis int64, ok bool) {
	d := local - reference + quarter/2
	d -= ((d % quarter) + quarter) % quarter
	return d, reference > 0 && d >= -maxOffset && d <= maxOffset
}

// place finds the instant of a local time without a zone. Events are logged near
// the time in their message id or, when they come late (a delivery after hours in
// a queue), near the time they are received. So the listener's zone is right if
// it agrees with either; else the id's time says the offset; without an id,
// nothing but the listener's zone is known. sure is true if that zone was
// configured and used.
func (s *Set) place(local, idMillis, received int64) (millis int64, sure bool) {
	zone := s.offset(local)
	byID, hasID := offsetFrom(local, idMillis)
	byReceipt, near := offsetFrom(local, received)
	if !hasID || byID == zone || near && byReceipt == zone {
		return clampMillis(local - zone), s.zone != nil
	}
	return clampMillis(local - byID), false
}

// clampMillis keeps an instant in range that an offset may have moved out of it.
func clampMillis(ms int64) int64 { return min(max(ms, 0), schema.MaxMillis) }

// offset is the listener's offset from UTC at a local time.
func (s *Set) offset(local int64) int64 {
	if s.zone == nil || s.zone == time.UTC {
		return 0
	}
	_, seconds := time.UnixMilli(local).In(s.zone).Zone()
	_, seconds = time.UnixMilli(local - int64(seconds)*1000).In(s.zone).Zone()
	return int64(seconds) * 1000
}
