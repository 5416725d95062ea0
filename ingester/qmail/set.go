package qmail

import (
	"fmt"
	"strings"
	"time"

	"millrace/schema"
)

// Logs are the names of the logs, as a listener's or a file's formats have them.
func Logs() []string { return []string{"smtp", "delivery", "spamdyke"} }

// Set decodes a source in which lines of several logs may stand: each has a decoder, and
// a line's own words tell whose it is.
type Set struct {
	smtp     *SMTP
	delivery *Delivery
	spamdyke *Spamdyke
}

// NewSet makes the decoder of a source with the named logs.
func NewSet(logs []string, o Options) (*Set, error) {
	s := new(Set)
	for _, name := range logs {
		switch name {
		case "smtp":
			s.smtp = NewSMTP(o)
		case "delivery":
			s.delivery = NewDelivery(o)
		case "spamdyke":
			s.spamdyke = NewSpamdyke(o)
		default:
			return nil, fmt.Errorf("cannot decode log %q: there are %s", name, strings.Join(Logs(), ", "))
		}
	}
	return s, nil
}

// Line implements Decoder.
func (s *Set) Line(l Line, emit Emit) (reason schema.Reason, detail string) {
	if isStamped(l.Bytes) && (s.smtp != nil || s.delivery != nil) {
		if s.smtp == nil || s.delivery != nil && isDeliveryKey(l.Bytes[stampSize:]) {
			return s.delivery.Line(l, emit)
		}
		return s.smtp.Line(l, emit)
	}
	reason, detail = schema.ReasonNoTemplate, "the line begins with no date, time and key"
	if s.smtp != nil {
		reason = schema.ReasonBadDate
	}
	if s.delivery != nil {
		if reason, detail = s.delivery.Line(l, emit); reason == "" {
			return "", ""
		}
	}
	if s.spamdyke != nil {
		reason, detail = s.spamdyke.Line(l, emit)
	}
	return reason, detail
}

// isStamped tells whether b begins like a line of an SMTP or delivery log.
func isStamped(b []byte) bool {
	return len(b) > stampSize && b[4] == '-' && b[7] == '-' && b[13] == ':' && b[16] == ':'
}

// Bare tells whether a line of an SMTP or delivery log begins here, with its own stamp,
// and so without a syslog header in front.
func Bare(b []byte) bool { return isStamped(b) && b[stampSize] == ',' || isTAI(b) }

// isDeliveryKey tells whether the key behind a stamp is one of the delivery log.
func isDeliveryKey(b []byte) bool {
	if len(b) < 6 || b[0] != ',' || b[1] != ' ' {
		return false
	}
	switch b = b[2:]; b[0] {
	case 'i':
		return hasKey(b, keyInit)
	case 't':
		return hasKey(b, keyTry)
	case 'r':
		return hasKey(b, keyResult)
	}
	return false
}

func hasKey(b, key []byte) bool {
	return len(b) > len(key) && b[len(key)] == ',' && string(b[:len(key)]) == string(key)
}

// each calls f for the decoders that there are.
func (s *Set) each(f func(Decoder)) {
	if s.smtp != nil {
		f(s.smtp)
	}
	if s.delivery != nil {
		f(s.delivery)
	}
	if s.spamdyke != nil {
		f(s.spamdyke)
	}
}

// Open implements Decoder.
func (s *Set) Open() (offset int64, ok bool) {
	s.each(func(d Decoder) {
		if o, open := d.Open(); open && (!ok || o < offset) {
			offset, ok = o, true
		}
	})
	return offset, ok
}

// Held implements Decoder.
func (s *Set) Held() (lines, bytes int) {
	if s.smtp != nil {
		lines, bytes = s.smtp.Held()
	}
	if s.delivery != nil {
		l, b := s.delivery.Held()
		lines, bytes = lines+l, bytes+b
	}
	return lines, bytes
}

// Expire implements Decoder.
func (s *Set) Expire(now int64, emit Emit) { s.each(func(d Decoder) { d.Expire(now, emit) }) }

// End implements Decoder.
func (s *Set) End(emit Emit) { s.each(func(d Decoder) { d.End(emit) }) }

// The logs of which something can be open, as Silent and EndLog name them. A line that
// splogger has cut is one of its own.
const (
	openSMTP     = "smtp"
	openDelivery = "delivery"
	openFold     = "fold"
)

// Silent names what is open and has waited for its other lines for longer than they take,
// when none has come for a time.
func (s *Set) Silent(silence time.Duration) (logs []string) {
	if s.smtp != nil && s.smtp.g.open && silence > s.smtp.o.Timeout {
		logs = append(logs, openSMTP)
	}
	if s.delivery != nil && s.delivery.fold.parts > 0 && silence > foldTimeout {
		logs = append(logs, openFold)
	}
	if s.delivery != nil && s.delivery.oldest != nil && silence > attemptTimeout {
		logs = append(logs, openDelivery)
	}
	return logs
}

// EndLog emits what is open of one of them.
func (s *Set) EndLog(log string, emit Emit) {
	switch {
	case log == openSMTP && s.smtp != nil:
		s.smtp.End(emit)
	case log == openFold && s.delivery != nil:
		s.delivery.release(emit)
	case log == openDelivery && s.delivery != nil:
		s.delivery.End(emit)
	}
}
