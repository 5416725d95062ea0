package header

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// received is when the frames of the tests arrive unless a test says another time.
var received = time.Date(2021, 3, 9, 12, 0, 0, 0, time.UTC)

// describe shows a parsed frame on one line: what the pipeline would see of it.
func describe(frame string, at time.Time, loc *time.Location) string {
	var h Header
	rest := ParsePRI(StripTrailer([]byte(frame)), &h)
	body, ok := ParseRest(rest, &h, at.UnixMilli(), loc)
	var b strings.Builder
	switch h.PRI {
	case PRIPresent:
		fmt.Fprintf(&b, "pri=%d", int(h.Facility)<<3|int(h.Severity))
	case PRIMissing:
		fmt.Fprintf(&b, "nopri=%d", int(h.Facility)<<3|int(h.Severity))
	case PRIBad:
		b.WriteString("badpri")
	}
	if h.BOM {
		b.WriteString(" bom")
	}
	if !ok {
		if string(body) != string(rest) || h.Style != Bare || h.Host != nil || h.App != nil || h.HasTime || h.BadTime || h.StructuredData != nil {
			return fmt.Sprintf("not ok, and yet %+v %q", h, body)
		}
		return fmt.Sprintf("%s none %q", b.String(), body)
	}
	fmt.Fprintf(&b, " %s", h.Style)
	if h.HasTime {
		fmt.Fprintf(&b, " %s", time.UnixMilli(h.Millis).UTC().Format("2006-01-02T15:04:05.999Z"))
	}
	if h.BadTime {
		b.WriteString(" badtime")
	}
	for _, v := range []struct {
		name  string
		value []byte
	}{{"host", h.Host}, {"app", h.App}, {"pid", h.PID}, {"msgid", h.MsgID}, {"sd", h.StructuredData}} {
		if v.value != nil {
			fmt.Fprintf(&b, " %s=%s", v.name, v.value)
		}
	}
	fmt.Fprintf(&b, " %q", body)
	return b.String()
}

func TestHeader(t *testing.T) {
	t.Parallel()
	f := func(frame, want string) {
		t.Helper()
		if have := describe(frame, received, nil); have != want {
			t.Errorf("%q\nhave %s\nwant %s", frame, have, want)
		}
	}

	// formats.md section 9, frames 15 to 18: what stands where the PRI belongs.
	f("\"id\",\"x\"\x00", `nopri=13 none "\"id\",\"x\""`)
	f(`<>x`, `badpri none "x"`)
	f(`<192>x`, `badpri none "x"`)
	f(`<999>x`, `badpri none "x"`)
	f(`<014>x`, `badpri none "x"`)
	f(`<-1>x`, `badpri none "x"`)
	f(`<14 "id","x"`, `badpri none "\"id\",\"x\""`)
	f(`<14"id","x"`, `badpri none "\"id\",\"x\""`)
	f(`<00>x`, `badpri none "x"`)
	f(`<99999999999999999999999>x`, `badpri none "x"`)
	f(`<191>x`, `pri=191 none "x"`)
	f(`<0>x`, `pri=0 none "x"`)
	f(`<user@example.com> x`, `nopri=13 none "<user@example.com> x"`)
	f(`<`, `nopri=13 none "<"`)
	f(`<-`, `nopri=13 none "<-"`)
	f(`<14`, `badpri none ""`)
	f(``, `nopri=13 none ""`)
	f("<14>\xEF\xBB\xBF\"id\"", `pri=14 bom none "\"id\""`)
	f("\xEF\xBB\xBF<14>\"id\"", `pri=14 bom none "\"id\""`)
	f("\xEF\xBB\xBF\"id\"", `nopri=13 bom none "\"id\""`)
	f("<14>x\r\n\x00\x00", `pri=14 none "x"`)

	// formats.md section 6.2, RFC 3164.
	const t0 = "2021-03-09T11:10:37Z"
	f(`<22>Mar  9 11:10:37 server spamdyke[29207]: x`, `pri=22 rfc3164 `+t0+` host=server app=spamdyke pid=29207 "x"`)
	f(`<22>Mar 9 11:10:37 server spamdyke[29207]: x`, `pri=22 rfc3164 `+t0+` host=server app=spamdyke pid=29207 "x"`)
	f(`<22>Mar 09 11:10:37 server spamdyke[29207]: x`, `pri=22 rfc3164 `+t0+` host=server app=spamdyke pid=29207 "x"`)
	f(`Mar  9 11:10:37 server spamdyke[29207]: x`, `nopri=13 rfc3164 `+t0+` host=server app=spamdyke pid=29207 "x"`)
	f(`<22>Mar  9 11:10:37 spamdyke[29207]: x`, `pri=22 rfc3164 `+t0+` app=spamdyke pid=29207 "x"`)
	f(`<22>Mar  9 11:10:37 spamdyke: x`, `pri=22 rfc3164 `+t0+` app=spamdyke "x"`)
	f(`<22>Mar  9 11:10:37 server spamdyke[29207] x`, `pri=22 rfc3164 `+t0+` host=server app=spamdyke pid=29207 "x"`)
	f(`<22>Mar  9 11:10:37 server no colon here`, `pri=22 rfc3164 `+t0+` host=server "no colon here"`)
	f(`<22>Mar  9 11:10:37 server postfix/smtpd[1]: a: b`, `pri=22 rfc3164 `+t0+` host=server app=postfix/smtpd pid=1 "a: b"`)
	f(`<22>Mar  9 11:10:37 server app:x`, `pri=22 rfc3164 `+t0+` host=server "app:x"`)
	f(`<22>Mar  9 11:10:37 server app:`, `pri=22 rfc3164 `+t0+` host=server app=app ""`)
	f(`<22>Mar  9 11:10:37 server`, `pri=22 rfc3164 `+t0+` host=server ""`)
	f(`<22>Mar  9 11:10:37`, `pri=22 rfc3164 `+t0+` ""`)
	f(`<22>Mar  9 11:10:37: server app: x`, `pri=22 rfc3164 `+t0+` host=server app=app "x"`)
	f(`<22>Mar  9 11:10:37.5 server app: x`, `pri=22 rfc3164 2021-03-09T11:10:37.5Z host=server app=app "x"`)
	f(`<22>2021-03-09T11:10:37Z server app: x`, `pri=22 rfc3164 `+t0+` host=server app=app "x"`)
	f(`<22>2021-03-09T11:10:37.123456+02:00 server app: x`, `pri=22 rfc3164 2021-03-09T09:10:37.123Z host=server app=app "x"`)
	f(`<22>2021-03-09T11:10:37.123456789-0130 server app: x`, `pri=22 rfc3164 2021-03-09T12:40:37.123Z host=server app=app "x"`)
	f(`<22>2021-03-09T11:10:37 server app: x`, `pri=22 rfc3164 `+t0+` host=server app=app "x"`)
	f(`<22>2021-02-29T11:10:37Z server app: x`, `pri=22 rfc3164 badtime host=server app=app "x"`)
	f(`<22>2021-03-09T11:10:60Z server app: x`, `pri=22 rfc3164 badtime host=server app=app "x"`)
	f(`<22>2021-03-09 12:43:51, from, `, `pri=22 none "2021-03-09 12:43:51, from, "`)
	f(`<22>Mar  9 11:10:60 server app: x`, `pri=22 rfc3164 badtime host=server app=app "x"`)
	f(`<22>Mar  9 25:10:37 server app: x`, `pri=22 rfc3164 badtime host=server app=app "x"`)
	f(`<22>Mar 32 11:10:37 server app: x`, `pri=22 rfc3164 badtime host=server app=app "x"`)
	f(`<22>Feb 29 11:10:37 server app: x`, `pri=22 rfc3164 badtime host=server app=app "x"`)
	f(`<22>Mär  9 11:10:37 server app: x`, `pri=22 none "Mär  9 11:10:37 server app: x"`)
	f(`<22>Mar  9 11:10:37 2001:db8::1 app: x`, `pri=22 rfc3164 `+t0+` host=2001:db8::1 app=app "x"`)
	f(`<22>Mar  9 11:10:37 fe80::1%eth0 app: x`, `pri=22 rfc3164 `+t0+` host=fe80::1%eth0 app=app "x"`)
	f(`<22>Mar  9 11:10:37 fe80:: app: x`, `pri=22 rfc3164 `+t0+` host=fe80:: app=app "x"`)
	f(`<22>Mar  9 11:10:37 192.0.2.1 app: x`, `pri=22 rfc3164 `+t0+` host=192.0.2.1 app=app "x"`)
	f(`<22>exim[77]: 2021-03-09 12:43:51 x`, `pri=22 rfc3164 app=exim pid=77 "2021-03-09 12:43:51 x"`)
	f(`<22>Mar  9 11:10:37 "id","f","x: y"`, `pri=22 rfc3164 `+t0+` "\"id\",\"f\",\"x: y\""`)

	// Frame 37, the header's half: what a relay puts in front goes, and nothing else does.
	f(`<22>Mar  9 11:10:37 localhost "1phfsb-0004M4-O4","filter1.exam offer, 50% off"`,
		`pri=22 rfc3164 `+t0+` host=localhost "\"1phfsb-0004M4-O4\",\"filter1.exam offer, 50% off\""`)
	f(`<22>Mar  9 11:10:37 relay1 "id","a@b","Re: x"`, `pri=22 rfc3164 `+t0+` host=relay1 "\"id\",\"a@b\",\"Re: x\""`)
	f(`<22>1 2021-03-09T11:10:37Z localhost "1phfsb-..","Re - - -  offer, 50% off"`,
		`pri=22 rfc5424 `+t0+` host=localhost "\"1phfsb-..\",\"Re - - -  offer, 50% off\""`)

	// Frame 38 and RFC 5424.
	f(`<14>1 2021-03-09T11:10:37.1Z host app - - [x a="q\"\]\\"] "id","x"`,
		`pri=14 rfc5424 2021-03-09T11:10:37.1Z host=host app=app sd=[x a="q\"\]\\"] "\"id\",\"x\""`)
	f(`<14>1 2021-03-09T11:10:60Z host app - - - "id"`, `pri=14 rfc5424 badtime host=host app=app "\"id\""`)
	f(`<14>1 2021-03-09T11:10:37.1234567Z host app - - - "id"`, `pri=14 rfc5424 badtime host=host app=app "\"id\""`)
	f(`<14>1 2021-03-09T11:10:37.123456-23:59 host app 7 ID47 - x`, `pri=14 rfc5424 2021-03-10T11:09:37.123Z host=host app=app pid=7 msgid=ID47 "x"`)
	f(`<14>1 2021-03-09T11:10:37 host app 7 ID47 - x`, `pri=14 rfc5424 badtime host=host app=app pid=7 msgid=ID47 "x"`)
	f(`<14>1 yesterday host app 7 ID47 - x`, `pri=14 rfc5424 badtime host=host app=app pid=7 msgid=ID47 "x"`)
	f(`<14>1 - - - - - -`, `pri=14 rfc5424 ""`)
	f(`<14>1 - - - - - - `, `pri=14 rfc5424 ""`)
	f("<14>1 - - - - - - \xEF\xBB\xBFtext", `pri=14 bom rfc5424 "text"`)
	f(`<14>1 - - - - - [a][b c="]"][d e="\\"] text`, `pri=14 rfc5424 sd=[a][b c="]"][d e="\\"] "text"`)
	f(`1 - - - - - - text`, `nopri=13 rfc5424 "text"`)
	f(`<14>1 - - - - - [a b="c" text`, `pri=14 none "1 - - - - - [a b=\"c\" text"`)
	f(`<14>1 - - - - - [a b="c"]text`, `pri=14 none "1 - - - - - [a b=\"c\"]text"`)
	f(`<14>1 - - - - text`, `pri=14 none "1 - - - - text"`)
	f(`<14>0 - - - - - - text`, `pri=14 none "0 - - - - - - text"`)
	f(`<14>1`, `pri=14 none "1"`)
	f(`<14>1 `, `pri=14 none "1 "`)
	f(`<14>1 2021-`, `pri=14 none "1 2021-"`)
}

// The year of an RFC 3164 time is the one nearest to when it came.
func TestYear(t *testing.T) {
	t.Parallel()
	helsinki := time.FixedZone("EET", 2*60*60)
	f := func(stamp, at string, loc *time.Location, want string) {
		t.Helper()
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		have := describe("<14>"+stamp+" host app: x", when, loc)
		if have != "pri=14 rfc3164 "+want+` host=host app=app "x"` {
			t.Errorf("%s at %s: have %s, want %s", stamp, at, have, want)
		}
	}
	f("Mar  9 11:10:37", "2021-03-09T11:10:38Z", nil, "2021-03-09T11:10:37Z")
	f("Dec 31 23:59:59", "2022-01-01T00:00:01Z", nil, "2021-12-31T23:59:59Z")
	f("Jan  1 00:00:01", "2021-12-31T23:59:59Z", nil, "2022-01-01T00:00:01Z")
	f("Jan  1 01:00:00", "2021-12-31T23:00:00Z", helsinki, "2021-12-31T23:00:00Z")
	f("Feb 29 12:00:00", "2024-02-29T12:00:01Z", nil, "2024-02-29T12:00:00Z")
	f("Feb 29 12:00:00", "2024-03-20T12:00:01Z", nil, "2024-02-29T12:00:00Z")
	f("Feb 29 12:00:00", "2023-03-01T12:00:01Z", nil, "badtime")
	f("Feb  9 12:00:00", "2021-03-12T12:00:00Z", nil, "2021-02-09T12:00:00Z")
	f("Feb  9 11:59:59", "2021-03-12T12:00:00Z", nil, "badtime")
	f("Mar 13 12:00:00", "2021-03-12T12:00:00Z", nil, "2021-03-13T12:00:00Z")
	f("Mar 13 12:00:01", "2021-03-12T12:00:00Z", nil, "badtime")
	f("Sep  9 12:00:00", "2021-03-12T12:00:00Z", nil, "badtime")
	f("2021-03-09T11:10:37", "2021-03-09T12:00:00Z", helsinki, "2021-03-09T09:10:37Z")
	f("1999-03-09T11:10:37Z", "2021-03-09T12:00:00Z", helsinki, "1999-03-09T11:10:37Z")
}

func TestUTCMillis(t *testing.T) {
	t.Parallel()
	for day := time.Date(1970, 1, 1, 13, 14, 15, 0, time.UTC); day.Year() <= maxYear; day = day.AddDate(0, 0, 13) {
		c := civil{year: day.Year(), month: int(day.Month()), day: day.Day(), hour: 13, minute: 14, second: 15}
		if c.utcMillis() != day.UnixMilli() || !c.valid() {
			t.Fatalf("%s: %d, want %d", day, c.utcMillis(), day.UnixMilli())
		}
	}
}

func TestEachParam(t *testing.T) {
	t.Parallel()
	f := func(sd, want string) {
		t.Helper()
		var have strings.Builder
		err := EachParam([]byte(sd), func(key, value []byte) { fmt.Fprintf(&have, "%s=%s;", key, value) })
		if err != nil {
			have.WriteString("error")
			if !strings.HasPrefix(err.Error(), "cannot read structured data \"") {
				t.Errorf("%s: %v", sd, err)
			}
		}
		if have.String() != want {
			t.Errorf("%s: have %s, want %s", sd, have.String(), want)
		}
	}
	f(``, ``)
	f(`[x a="q\"\]\\"]`, `x.a=q"]\;`)
	f(`[b@1 z="1" a="2"][a c="ü"]`, `a.c=ü;b@1.a=2;b@1.z=1;`)
	f(`[empty]`, `empty=;`)
	f(`[a b="1"][a c="2"]`, `a.b=1;error`)
	f(`[a b="1" c=2]`, `a.b=1;error`)
}

func TestParsingDoesNotAllocate(t *testing.T) {
	paris := time.FixedZone("CET", 3600)
	for _, frame := range []string{
		"<14>\"id\",\"x\"\x00",
		"<22>Mar  9 11:10:37 server spamdyke[29207]: x",
		"<22>2021-03-09T11:10:37.123456 server app: x",
		`<14>1 2021-03-09T11:10:37.1Z host app - - [x a="q\"\]\\"] "id","x"`,
	} {
		b := []byte(frame)
		var h Header
		if n := testing.AllocsPerRun(100, func() {
			ParseRest(ParsePRI(StripTrailer(b), &h), &h, received.UnixMilli(), paris)
		}); n != 0 {
			t.Errorf("%q: %v allocations", frame, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, frame string }{
		{"bare", `<14>"1phfsb-0004M4-O4","filter1.example.net"`},
		{"rfc3164", `<22>Mar  9 11:10:37 server spamdyke[29207]: "1phfsb-0004M4-O4","filter1.example.net"`},
		{"rfc5424", `<14>1 2021-03-09T11:10:37.1Z host app - - [x a="q\"\]\\"] "1phfsb-0004M4-O4"`},
	} {
		b.Run("style="+c.name, func(b *testing.B) {
			frame := []byte(c.frame)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			var h Header
			for b.Loop() {
				ParseRest(ParsePRI(frame, &h), &h, received.UnixMilli(), nil)
			}
		})
	}
}

// TestParser_Remembers: a time that was read before means what it would without the
// memory, in another zone, and when the window around the time of receipt has moved.
func TestParser_Remembers(t *testing.T) {
	t.Parallel()
	var p Parser
	east := time.FixedZone("east", 3*3600)
	for _, at := range []time.Time{received, received.AddDate(0, 0, 30), received.AddDate(0, 2, 0), received.AddDate(1, 0, 0), received.AddDate(0, 0, -2)} {
		for _, loc := range []*time.Location{time.UTC, east, nil} {
			for _, stamp := range []string{"Mar  9 11:10:37", "Mar  9 11:10:37", "Mar  9 11:10:38", "Feb 29 11:10:37", "Mar  9 11:10:37.5", "Mar 09 11:10:37:"} {
				rest := []byte(stamp + " server app[1]: x")
				var have, want Header
				p.ParseRest(rest, &have, at.UnixMilli(), loc)
				ParseRest(rest, &want, at.UnixMilli(), loc)
				if have.Millis != want.Millis || have.HasTime != want.HasTime || have.BadTime != want.BadTime || string(have.App) != string(want.App) {
					t.Errorf("%s at %s in %v: %+v, without a memory %+v", stamp, at, loc, have, want)
				}
			}
		}
	}
}

// What is stored is up to a year old: the latest year that fits, leap days too.
func TestParser_Stored(t *testing.T) {
	t.Parallel()
	f := func(stamp, stored, want string) {
		t.Helper()
		at, err := time.Parse(time.DateTime, stored)
		if err != nil {
			t.Fatal(err)
		}
		var h Header
		p := Parser{Stored: true}
		if _, ok := p.ParseRest([]byte(stamp+" server spamdyke[1]: x"), &h, at.UnixMilli(), nil); !ok {
			t.Fatalf("%q is no header", stamp)
		}
		got := ""
		if h.HasTime {
			got = time.UnixMilli(h.Millis).UTC().Format(time.DateTime)
		}
		if got != want {
			t.Errorf("%s, stored %s: %q, want %q", stamp, stored, got, want)
		}
	}
	f("Mar  9 11:10:37", "2021-03-10 00:00:00", "2021-03-09 11:10:37")
	f("Mar 9 11:10:37", "2021-03-08 12:00:00", "2021-03-09 11:10:37")
	f("Mar 11 11:10:37", "2021-03-09 00:00:00", "2020-03-11 11:10:37")
	f("Dec 31 23:59:59", "2021-01-01 00:00:01", "2020-12-31 23:59:59")
	f("Jan  1 00:00:00", "2020-12-31 23:59:59", "2021-01-01 00:00:00")
	f("Feb 29 12:00:00", "2020-03-10 00:00:00", "2020-02-29 12:00:00")
	f("Feb 29 12:00:00", "2020-12-31 00:00:00", "2020-02-29 12:00:00")
	f("Feb 29 12:00:00", "2021-02-20 00:00:00", "2020-02-29 12:00:00")
	f("Feb 29 12:00:00", "2021-03-10 00:00:00", "")
}
