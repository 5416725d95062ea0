package header

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/influxdata/go-syslog/v3"
	"github.com/influxdata/go-syslog/v3/rfc3164"
	"github.com/influxdata/go-syslog/v3/rfc5424"
)

// go-syslog v3.0.0 is the oracle of the two fuzz tests: what it reads without an error
// we read alike. These are the cases in which it is wrong, or has an opinion that is
// not ours, and in which it is not asked:
//
//   - a body with NUL or LF: the text is lost, without an error;
//   - RFC 5424 given to the RFC 3164 parser, and the other way round, and headers that
//     end early: only the PRI is read, without an error;
//   - RFC 3164 without a host: the tag is read as the host;
//   - RFC 3164, tag without a colon: no tag. We take NAME[PID] for one;
//   - a tag or a host with characters that are none of ours, quotes and commas above
//     all: that is a body behind a relay's header;
//   - one space before a day below 10, or a leading zero; fractions and zones of ISO
//     times other than Z: refused;
//   - 29 February in a year that has none becomes 1 March, second 60 is refused;
//   - RFC 3164, a tag that turns out to be none, as "0[0" or "a:1": it stays in the
//     answer, or is lost, or another one is taken from further on (asItStands);
//   - RFC 3164, control bytes, blanks and quotes in a PID are taken;
//   - RFC 3164, a tag with nothing behind it: the message is a part of the tag;
//   - a partial answer that comes with an error, as for <192> and <014>: not to be trusted;
//   - RFC 5424 with a fraction of seven digits or second 60, or with a body that is not
//     UTF-8: refused;
//   - a byte order mark stays at the front of the message.

func FuzzRFC3164(f *testing.F) {
	for _, s := range []string{
		"<22>Mar  9 11:10:37 server spamdyke[29207]: x",
		"<22>Mar 10 11:10:37 2001:db8::1 postfix/smtpd[1]: a: b",
		"<22>Feb 28 11:10:37 fe80::1%eth0 no colon",
		"<22>2021-03-09T11:10:37Z server app: \"id\",\"x\"",
		"<22>Mar  9 11:10:37 relay1 \"id\",\"a@b\",\"Re: x\"",
		"<0>Jan  1 00:00:00 h t: \xFF",
		"<14>1 2021-03-09T11:10:37Z h a - - - x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		mine := parsed(t, frame)
		if bytes.ContainsAny(frame, "\x00\n\r") || mine.h.Style == RFC5424 {
			return
		}
		// A machine keeps nothing between frames, but its year is set when it is made.
		oracle := rfc3164.NewParser(rfc3164.WithRFC3339(), rfc3164.WithYear(rfc3164.Year{YYYY: received.Year()}))
		theirs, ok := ask(t, oracle, frame).(*rfc3164.SyslogMessage)
		if !ok || theirs == nil || theirs.Timestamp == nil || theirs.Hostname == nil || theirs.Message == nil {
			return
		}
		host := *theirs.Hostname
		if hostLen([]byte(host)) != len(host) || parsesAsTag(host) {
			return
		}
		if theirs.Appname != nil && (!isTag(*theirs.Appname) || theirs.ProcID != nil && !isPID(*theirs.ProcID)) {
			return
		}
		if !asItStands(frame, theirs) {
			return
		}
		if !mine.ok || mine.h.Style != RFC3164 {
			t.Fatalf("%q: not read, the oracle says %s", frame, show3164(theirs))
		}
		same(t, frame, "host", mine.h.Host, theirs.Hostname)
		if !theirs.Timestamp.IsZero() && mine.h.HasTime && time.UnixMilli(mine.h.Millis).UTC().Year() == theirs.Timestamp.Year() &&
			mine.h.Millis != theirs.Timestamp.UnixMilli() {
			t.Fatalf("%q: time %d, the oracle says %d", frame, mine.h.Millis, theirs.Timestamp.UnixMilli())
		}
		if theirs.Appname == nil && mine.h.App != nil {
			return // NAME[PID] without a colon, or a name longer than 32
		}
		same(t, frame, "app", mine.h.App, theirs.Appname)
		if theirs.ProcID == nil || *theirs.ProcID != "" {
			same(t, frame, "pid", mine.h.PID, theirs.ProcID)
		}
		if mine.pri() != int(*theirs.Priority) {
			t.Fatalf("%q: PRI %d, the oracle says %d", frame, mine.pri(), *theirs.Priority)
		}
		if len(bytes.TrimLeft(mine.body, " ")) == 0 {
			return
		}
		if !bytes.Equal(bytes.TrimLeft(mine.body, " "), bytes.TrimLeft([]byte(*theirs.Message), " ")) {
			t.Fatalf("%q: body %q, the oracle says %q", frame, mine.body, *theirs.Message)
		}
	})
}

func FuzzRFC5424(f *testing.F) {
	for _, s := range []string{
		`<14>1 2021-03-09T11:10:37.1Z host app - - [x a="q\"\]\\"] "id","x"`,
		`<191>999 2021-03-09T11:10:37.123456+23:59 host app 7 ID47 [a b="c"][d] text`,
		`<0>1 - - - - - -`,
		`<14>1 - - - - - - ` + "\xEF\xBB\xBFtext",
		`<14>1 2021-03-09T11:10:60Z host app - - - x`,
		`<14>1 2021-03-09T11:10:37.1234567Z host app - - - x`,
		`<14>1 - - - - - [a b="c" text`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		mine := parsed(t, frame)
		if mine.h.StructuredData != nil {
			// Whatever stands there, reading it must end well; the order must be fixed.
			var once, twice []byte
			err1 := EachParam(mine.h.StructuredData, func(k, v []byte) { once = append(append(once, k...), v...) })
			err2 := EachParam(mine.h.StructuredData, func(k, v []byte) { twice = append(append(twice, k...), v...) })
			if !bytes.Equal(once, twice) || (err1 == nil) != (err2 == nil) {
				t.Fatalf("structured data %q is read in two ways", mine.h.StructuredData)
			}
		}
		if bytes.ContainsAny(frame, "\x00\n\r") {
			return
		}
		theirs, ok := ask(t, rfc5424.NewParser(), frame).(*rfc5424.SyslogMessage)
		if !ok || theirs == nil || bytes.Count(frame, []byte(" ")) < 6 {
			return
		}
		if theirs.Appname != nil && (*theirs.Appname)[0] == '"' {
			return
		}
		if !mine.ok || mine.h.Style != RFC5424 {
			t.Fatalf("%q: not read, the oracle says %+v", frame, theirs)
		}
		if theirs.Timestamp != nil && theirs.Timestamp.Year() > minYear && theirs.Timestamp.Year() < maxYear {
			if !mine.h.HasTime || mine.h.Millis != theirs.Timestamp.UnixMilli() {
				t.Fatalf("%q: time %d, the oracle says %d", frame, mine.h.Millis, theirs.Timestamp.UnixMilli())
			}
		}
		same(t, frame, "host", mine.h.Host, theirs.Hostname)
		same(t, frame, "app", mine.h.App, theirs.Appname)
		same(t, frame, "pid", mine.h.PID, theirs.ProcID)
		same(t, frame, "msgid", mine.h.MsgID, theirs.MsgID)
		if mine.pri() != int(*theirs.Priority) {
			t.Fatalf("%q: PRI %d, the oracle says %d", frame, mine.pri(), *theirs.Priority)
		}
		var text []byte
		if theirs.Message != nil {
			text = bytes.TrimPrefix([]byte(*theirs.Message), bom)
		}
		if !bytes.Equal(mine.body, text) {
			t.Fatalf("%q: body %q, the oracle says %q", frame, mine.body, text)
		}
		if (theirs.StructuredData != nil) != (mine.h.StructuredData != nil) {
			t.Fatalf("%q: structured data %q, the oracle says %v", frame, mine.h.StructuredData, theirs.StructuredData)
		}
		if theirs.StructuredData != nil {
			if err := EachParam(mine.h.StructuredData, func(_, _ []byte) {}); err != nil {
				t.Fatalf("%q: %v", frame, err)
			}
		}
	})
}

type result struct {
	h    Header
	body []byte
	ok   bool
}

func (r result) pri() int { return int(r.h.Facility)<<3 | int(r.h.Severity) }

// parsed reads a frame and checks what holds for any.
func parsed(t *testing.T, frame []byte) (r result) {
	before := bytes.Clone(frame)
	rest := ParsePRI(StripTrailer(frame), &r.h)
	var p Parser
	remembered := r.h
	p.ParseRest(rest, &remembered, received.UnixMilli(), time.UTC)
	remembered.onlyPRI()
	p.ParseRest(rest, &remembered, received.UnixMilli(), time.UTC)
	r.body, r.ok = ParseRest(rest, &r.h, received.UnixMilli(), time.UTC)
	if !reflect.DeepEqual(remembered, r.h) {
		t.Fatalf("%q is %+v, and %+v when it was read before", frame, r.h, remembered)
	}
	if !bytes.Equal(before, frame) {
		t.Fatalf("%q was changed to %q", before, frame)
	}
	if !bytes.HasSuffix(StripTrailer(frame), r.body) {
		t.Fatalf("the body %q is not the end of %q", r.body, frame)
	}
	if r.h.Facility > 23 || r.h.Severity > 7 {
		t.Fatalf("%q: facility %d, severity %d", frame, r.h.Facility, r.h.Severity)
	}
	if r.h.HasTime && r.h.BadTime || !r.h.HasTime && r.h.Millis != 0 {
		t.Fatalf("%q: %+v", frame, r.h)
	}
	return r
}

// ask gives the frame to the oracle, without a byte order mark before the PRI. It
// returns nil where the oracle refuses.
func ask(t *testing.T, oracle syslog.Machine, frame []byte) (m syslog.Message) {
	m, err := oracle.Parse(bytes.Clone(frame))
	if err != nil {
		return nil
	}
	return m
}

func same(t *testing.T, frame []byte, name string, mine []byte, theirs *string) {
	t.Helper()
	switch {
	case theirs == nil && mine != nil:
		t.Fatalf("%q: %s %q, the oracle sees none", frame, name, mine)
	case theirs != nil && string(mine) != *theirs:
		t.Fatalf("%q: %s %q, the oracle says %q", frame, name, mine, *theirs)
	}
}

// asItStands tells whether the oracle's answer, written down, is the frame again.
// Where it is not, the oracle has lost or skipped something.
func asItStands(frame []byte, m *rfc3164.SyslogMessage) bool {
	text := *m.Hostname + " "
	if m.Appname != nil {
		text += *m.Appname
		if m.ProcID != nil {
			text += "[" + *m.ProcID + "]"
		}
		text += ": "
	}
	before, ok := bytes.CutSuffix(frame, []byte(text+*m.Message))
	_, stamp, found := bytes.Cut(before, []byte(">"))
	return ok && found && (len(stamp) == len("Mar  9 11:10:37 ") || len(stamp) == len("2021-03-09T11:10:37Z "))
}

func parsesAsTag(host string) bool {
	var h Header
	_, ok := parseTag([]byte(host+" "), &h)
	return ok
}

func isTag(s string) bool {
	var h Header
	_, ok := parseTag([]byte(s+": "), &h)
	return ok && string(h.App) == s
}

func isPID(s string) bool {
	var h Header
	_, ok := parseTag([]byte("x["+s+"]: "), &h)
	return ok && string(h.PID) == s // a bracket in it would end it
}

func show3164(m *rfc3164.SyslogMessage) string {
	return *m.Hostname + " " + *m.Message
}
