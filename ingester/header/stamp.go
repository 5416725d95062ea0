package header

import "time"

// The window in which the year of an RFC 3164 time is looked for.
const (
	dayMillis  = 24 * 60 * 60 * 1000
	yearPast   = 31 * dayMillis
	yearFuture = 1 * dayMillis
	// wholeYear leaves one year that fits: for lines of a file, which are as old as it is.
	wholeYear = 364 * dayMillis
)

func (p *Parser) past() int64 {
	if p.Stored {
		return wholeYear
	}
	return yearPast
}

// Years that a time may name: those of ClickHouse's DateTime64 from the epoch on.
const minYear, maxYear = 1970, 2299

// stamp reads "Mmm [d]d hh:mm:ss" or an ISO 8601 time at the front of b, which a space,
// a colon and a space, or the end must follow. It returns its length, or 0 if b does not
// begin with what has the shape of a time; the time in h is marked bad if it has only that.
func (p *Parser) stamp(b []byte, h *Header, receivedMillis int64, loc *time.Location) int {
	if p.last.is(b, receivedMillis, p.past(), loc) {
		h.Millis, h.HasTime = p.last.millis, true
		return stampLen
	}
	var n int
	var clock civil
	var whole bool
	if len(b) > 0 && isDigit(b[0]) {
		n, whole = clock.readISO(b)
	} else {
		n, whole = clock.readBSD(b)
	}
	if n == 0 {
		return 0
	}
	length := n
	if length < len(b) && b[length] == ':' {
		length++
	}
	if length < len(b) && b[length] != ' ' {
		return 0
	}
	if whole {
		switch {
		case clock.year == 0:
			h.Millis, h.HasTime = clock.nearest(receivedMillis, p.past(), loc)
			if n == stampLen && h.HasTime {
				p.last = reading{text: [stampLen]byte(b), loc: loc, millis: h.Millis}
			}
		case clock.zoned:
			h.Millis, h.HasTime = clock.utcMillis(), clock.valid()
		default:
			h.Millis, h.HasTime = clock.millisIn(clock.year, loc), clock.valid()
		}
	}
	if !h.HasTime {
		h.Millis, h.BadTime = 0, true
	}
	return length
}

// stampLen is the length of a time as RFC 3164 wants it.
const stampLen = len("Mmm dd hh:mm:ss")

// reading is a time of RFC 3164 and what it was found to say.
type reading struct {
	text   [stampLen]byte
	loc    *time.Location // nil: nothing was read yet
	millis int64
}

// is tells whether b begins with the same time, and says the same: the window has
// room for one year only, so a time that is still in it is the one to be found.
func (r *reading) is(b []byte, receivedMillis, past int64, loc *time.Location) bool {
	return len(b) > stampLen && b[stampLen] == ' ' && r.loc == loc && [stampLen]byte(b) == r.text && inWindow(r.millis, receivedMillis, past)
}

func inWindow(millis, receivedMillis, past int64) bool {
	return millis >= receivedMillis-past && millis <= receivedMillis+yearFuture
}

// civil is a time as its digits say it. In year 0 the year is not said.
type civil struct {
	year, month, day, hour, minute, second, milli int
	zoned                                         bool
	offset                                        int // minutes east of UTC
	fraction                                      int // number of digits
}

var monthNames = [12]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// readBSD reads "Mar  9 11:10:37", also with one space or "09", also with a fraction. n is
// 0 if b has not that shape, whole is false if it has but says no time.
func (c *civil) readBSD(b []byte) (n int, whole bool) {
	if len(b) < len("Mar 9 11:10:37") || b[3] != ' ' {
		return 0, false
	}
	for i, name := range monthNames {
		if string(b[:3]) == name {
			c.month = i + 1
		}
	}
	if c.month == 0 {
		return 0, false
	}
	i := 4
	if b[i] == ' ' {
		i++
	}
	var ok bool
	if c.day, ok = digits(b, i, 2); ok {
		i += 2
	} else if c.day, ok = digits(b, i, 1); ok {
		i++
	} else {
		return 0, false
	}
	if i >= len(b) || b[i] != ' ' {
		return 0, false
	}
	return c.readClock(b, i+1)
}

// readISO reads "2021-03-09T11:10:37" with any fraction, and "Z", "+02:00", "+0200" or
// no zone.
func (c *civil) readISO(b []byte) (n int, whole bool) {
	var y, m, d bool
	c.year, y = digits(b, 0, 4)
	c.month, m = digits(b, 5, 2)
	c.day, d = digits(b, 8, 2)
	if !y || !m || !d || b[4] != '-' || b[7] != '-' || len(b) == 10 || b[10] != 'T' {
		return 0, false
	}
	i, whole := c.readClock(b, 11)
	if i == 0 {
		return 0, false
	}
	if i < len(b) {
		switch b[i] {
		case 'Z':
			c.zoned = true
			i++
		case '+', '-':
			hours, ok := digits(b, i+1, 2)
			at := i + 3
			if ok && at < len(b) && b[at] == ':' {
				at++
			}
			minutes, also := digits(b, at, 2)
			if !ok || !also {
				return 0, false
			}
			c.zoned = true
			c.offset = hours*60 + minutes
			if b[i] == '-' {
				c.offset = -c.offset
			}
			whole = whole && hours < 24 && minutes < 60
			i = at + 2
		}
	}
	// Year 0 says elsewhere that there is none.
	return i, whole && c.year >= minYear && c.year <= maxYear
}

// readClock reads "11:10:37" and a fraction at b[i:]. Second 60 is not whole: what it
// stands for depends on the sender.
func (c *civil) readClock(b []byte, i int) (n int, whole bool) {
	var hour, minute, second bool
	c.hour, hour = digits(b, i, 2)
	c.minute, minute = digits(b, i+3, 2)
	c.second, second = digits(b, i+6, 2)
	if !hour || !minute || !second || b[i+2] != ':' || b[i+5] != ':' {
		return 0, false
	}
	whole = c.hour < 24 && c.minute < 60 && c.second < 60
	i += 8
	if i+1 < len(b) && b[i] == '.' && isDigit(b[i+1]) {
		i++
		for scale := 100; i < len(b) && isDigit(b[i]); i++ {
			c.milli += int(b[i]-'0') * scale
			scale /= 10
			c.fraction++
		}
	}
	return i, whole
}

// digits reads exactly n digits at b[i:].
func digits(b []byte, i, n int) (value int, ok bool) {
	if i+n > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+n] {
		if !isDigit(c) {
			return 0, false
		}
		value = value*10 + int(c-'0')
	}
	return value, true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

func (c *civil) validIn(year int) bool {
	return c.month >= 1 && c.month <= 12 && c.day >= 1 && c.day <= daysIn(year, c.month)
}

func (c *civil) valid() bool { return c.validIn(c.year) }

// utcMillis reads the digits as of c.offset. Days are counted in years that begin in
// March, so that the leap day is the last.
func (c *civil) utcMillis() int64 {
	y, m := c.year, c.month
	if m <= 2 {
		y--
		m += 12
	}
	days := 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + c.day - 1 - 719468
	minutes := int64(days)*24*60 + int64(c.hour*60+c.minute-c.offset)
	return (minutes*60+int64(c.second))*1000 + int64(c.milli)
}

func (c *civil) millisIn(year int, loc *time.Location) int64 {
	if loc == time.UTC {
		in := *c
		in.year, in.offset = year, 0
		return in.utcMillis()
	}
	return time.Date(year, time.Month(c.month), c.day, c.hour, c.minute, c.second, c.milli*1e6, loc).UnixMilli()
}

// nearest gives the time the year that puts it into the window around receivedMillis.
// The 29th of February needs a year that has one.
func (c *civil) nearest(receivedMillis, past int64, loc *time.Location) (int64, bool) {
	year := time.UnixMilli(receivedMillis).UTC().Year()
	for _, y := range [3]int{year, year - 1, year + 1} {
		if !c.validIn(y) {
			continue
		}
		if t := c.millisIn(y, loc); inWindow(t, receivedMillis, past) {
			return t, true
		}
	}
	return 0, false
}
