package format

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

func TestCompile_Success(t *testing.T) {
	t.Parallel()
	f := func(text string, literals string, variables ...string) {
		t.Helper()
		tpl, err := Compile(text)
		if err != nil {
			t.Fatalf("cannot compile %q: %s", text, err)
		}
		var parts []string
		for _, l := range tpl.literals {
			parts = append(parts, string(l))
		}
		if got := strings.Join(parts, "~"); got != literals {
			t.Fatalf("%q: literals %q; want %q", text, got, literals)
		}
		if !slices.Equal(tpl.Variables(), variables) {
			t.Fatalf("%q: variables %q; want %q", text, tpl.Variables(), variables)
		}
		if tpl.String() != text {
			t.Fatalf("String() is %q; want %q", tpl.String(), text)
		}
	}
	f(`"%(id)s","%(domain)s"`, `"~","~"`, "id", "domain")
	f(`%(id)s`, `~`, "id")
	f(`%(id)s|%(domain)s`, `~|~`, "id", "domain")
	f(`100%% %(id)s%%`, `100% ~%`, "id")
	f(`%%(id)s %(id)s`, `%(id)s ~`, "id")
	f(`%(a)-20s,%(b)5d,%(c).3s,%(d)r,%(e)05d,%(f)#10.4s,%(g)ld,%(h)+d,%(i)a,%(j).2f`, `~,~,~,~,~,~,~,~,~,~`, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	f(`%(a(b)c)s`, `~`, "a(b)c")
	f("x\t%(id)s\ty\r\n\x00", "x\t~\ty", "id") // trailers are stripped from frames as well
	f("é%(id)sü", "é~ü", "id")
}

func TestCompile_Failure(t *testing.T) {
	t.Parallel()
	f := func(text string, words ...string) {
		t.Helper()
		_, err := Compile(text)
		if !errors.Is(err, ErrTemplate) {
			t.Fatalf("%q: error %v; want ErrTemplate", text, err)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Fatalf("%q: error %q does not hold %q", text, err, w)
			}
		}
	}
	f("", "empty")
	f(" default\n", "default", "explicit template")
	f("no variables", "no variable")
	f("100%% sure", "no variable")
	f(`x,%(id)s%(domain)s`, "column 9", `"id"`, `"domain"`)
	f(`%(id)s,%(domain)s,%(id)s`, "column 19", `"id"`, "twice")
	f(`ü%(id)s,%`, "column 9", "%%")
	f(`%(id)s,%(dom`, "column 8", "parenthesis", "%(dom")
	f(`%(id)s,%(domain)`, "column 8", "conversion", "%(domain)s")
	f(`%(id)s,%(domain)-20`, "column 8", "conversion")
	f(`%(id)x`, "column 1", `"x"`, "are read")
	f(`%(id)*s`, "column 1", `"*"`)
	f(`%(id)ä`, "column 1", `"ä"`)
	f(`%s`, "column 1", `"%s"`, "%%")
	f(`%()s`, "column 1", "name")
	f("%(a\x00)s", "column 1", "name")
	f("%(a)s\x00%(b)s", "NUL")
	f("%(a)s\xe9%(b)s", "UTF-8", `\xe9`)
	f("%(a)99999s", "width")
	f(strings.Repeat("%(a)s", 2), `"a" and "a"`)
	var many strings.Builder
	for i := range maxVariables + 1 {
		many.WriteString(",%(v" + strings.Repeat("x", i) + ")s")
	}
	f(many.String(), "128 variables")
}

func TestBuiltin(t *testing.T) {
	t.Parallel()
	want := map[string]int{"m1": 18, "s1": 10, "m2": 16, "s2": 11, "m3": 23, "s3": 11}
	for _, f := range Builtin() {
		if got := len(f.Template.Variables()); got != want[f.Name] {
			t.Errorf("%s has %d variables; want %d", f.Name, got, want[f.Name])
		}
		if unknown := f.Unknown(); len(unknown) > 0 {
			t.Errorf("%s: unknown variables %q", f.Name, unknown)
		}
	}
	newSet(t, Options{}) // and all of them fit on one listener
}

func TestNewSet_Failure(t *testing.T) {
	t.Parallel()
	f := func(words []string, formats ...*Format) {
		t.Helper()
		_, err := NewSet(formats, Options{})
		if err == nil {
			t.Fatalf("no error; want one with %q", words)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Fatalf("error %q does not hold %q", err, w)
			}
		}
	}
	m := func(name, text string) *Format {
		return &Format{Name: name, Kind: schema.Message, Template: compiled(t, text)}
	}
	f([]string{"at least one"})
	f([]string{"lacks"}, &Format{Name: "x"})
	f([]string{`"m1"`, "twice"}, builtin(t, "m1"), builtin(t, "m1"))
	f([]string{`"a" and "b"`, "x 192.0.2.1|text y"}, m("a", "x %(sender_ip)s|%(helo)s y"), m("b", "x %(sender_host)s|%(subject_header)s y"))
	f([]string{`"a" and "b"`, "text,1680135061"}, m("a", "%(helo)s,%(timestamp)s"), m("b", "%(helo)s,%(incoming_size)s"))
	f([]string{`"m1" and "mine"`, testID}, builtin(t, "m1"), &Format{Name: "mine", Kind: schema.Message, Template: compiled(t, strings.Replace(textM1, "classification)", "extra_class)", 1))})
}

// Formats of equal length are told apart by types that exclude each other.
func TestNewSet_EqualLength(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{},
		&Format{Name: "a", Kind: schema.Message, Template: compiled(t, `"%(id)s","%(sender_ip)s","%(subject_header)s"`)},
		&Format{Name: "b", Kind: schema.Status, Template: compiled(t, `"%(id)s","%(delivery_port)s","%(delivery_data)s"`)})
	decode(t, s, []byte(`"1phfsb-0004M4-O4","192.0.2.1","x"`)).wantEvent(t, "a", "", "sender_ip", "192.0.2.1")
	decode(t, s, []byte(`"1phfsb-0004M4-O4","25","x"`)).wantEvent(t, "b", "", "delivery_port", "25")
	decode(t, s, []byte(`"1phfsb-0004M4-O4","","x"`)).wantEvent(t, "a", "ambiguous", "subject_header", "x")
	decode(t, s, []byte(`"1phfsb-0004M4-O4","25","x","y"`)).wantEvent(t, "b", "ambiguous", "delivery_data", `x","y`)
}

func TestConversions(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{}, &Format{Name: "w", Kind: schema.Message,
		Template: compiled(t, `%(helo)-8s|%(sender)8s|%(incoming_size)8d|%(outgoing_size)08d|%(subject_header)r|%(from_header)a|%(bandwidth)+d|%(timestamp).2f`)})
	f := func(body string, fields ...string) {
		t.Helper()
		decode(t, s, []byte(body)).wantEvent(t, "w", "", fields...)
	}
	f(`host    |   a@b.c|      25|00000025|'it'|'x'|+7|1680135062.25`, "helo", "host", "sender", "a@b.c", "incoming_size", "25", "outgoing_size", "25",
		"subject_header", "it", "from_header", "x", "bandwidth", "7", "timestamp", "2023-03-30 00:11:02.250")
	f(`longer host |  bounce  more|1|1|"it's"|u'x'|7|1`, "helo", "longer host ", "sender", "  bounce  more", "subject_header", "it's", "from_header", "x")
	f(`    |        |||'a\'b\\c\n\t\x41\u00e9\U0001F600\q'|''||`, "helo", "    ", "sender", "", "subject_header", "a'b\\c\n\tAé😀\\q")
	decode(t, s, []byte("x|y|||None|'z'||")).wantEvent(t, "w", "none_text", "subject_header", "")
	f(`x|y|||'\x4'|'open||`, "subject_header", `\x4`, "from_header", "'open")
	o := decode(t, s, []byte(`x|y|||'a\x00b\ud800'|z||`))
	o.wantEvent(t, "w", "nul_byte", "subject_header", "a\uFFFDb\uFFFD")
}

func TestUnknownVariable(t *testing.T) {
	t.Parallel()
	f := &Format{Name: "x", Kind: schema.Message, Template: compiled(t, `%(id)s;%(archive_id)s;%(raw)s;%(status_norm)s;%(subject_header)s`)}
	if got := f.Unknown(); !slices.Equal(got, []string{"archive_id", "raw", "status_norm"}) {
		t.Fatalf("Unknown() is %q", got)
	}
	o := decode(t, customSet(t, Options{}, f), []byte("1phfsb-0004M4-O4;a1;;Sent;hello"))
	o.wantEvent(t, "x", "", "id", testID, "subject_header", "hello", "raw", "", "status_norm", "")
	pairs := map[string]string{}
	for _, p := range o.event.Pairs() {
		if p.Field != schema.Extra {
			t.Fatalf("a pair in field %d", p.Field)
		}
		pairs[string(p.Key)] = string(p.Value)
	}
	if len(pairs) != 3 || pairs["archive_id"] != "a1" || pairs["status_norm"] != "Sent" {
		t.Fatalf("extra is %q", pairs)
	}
}

// Separators that differ: numbers without quotes, as a tidy template has them.
func TestMixedSeparators(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{}, &Format{Name: "mixed", Kind: schema.Message, Template: compiled(t, `log "%(id)s","%(helo)s",%(incoming_size)d,%(outgoing_size)d,"%(from_header)s","%(subject_header)s"`)})
	decode(t, s, []byte(`log "1phfsb-0004M4-O4","h",1,2,"f","s"`)).wantEvent(t, "mixed", "", "helo", "h", "incoming_size", "1", "outgoing_size", "2", "from_header", "f", "subject_header", "s")
	decode(t, s, []byte(`log "1phfsb-0004M4-O4","h",x,9,"",1,2,"f","s"`)).wantEvent(t, "mixed", "ambiguous", "helo", `h",x,9,"`, "incoming_size", "1", "outgoing_size", "2", "from_header", "f", "subject_header", "s")
	decode(t, s, []byte(`log "1phfsb-0004M4-O4","h",1,2,"f","s","t"`)).wantEvent(t, "mixed", "ambiguous", "from_header", "f", "subject_header", `s","t`)
	decode(t, s, []byte(`log "1phfsb-0004M4-O4","h",x,2,"f",7,","s"`)).wantEvent(t, "mixed", "bad_int !incoming_size", "helo", "h", "outgoing_size", "2", "from_header", `f",7,`, "subject_header", "s")
	decode(t, s, []byte(`log "1phfsb-0004M4-O4","h",1,2,"f"`)).wantReject(t, schema.ReasonColumnCount, "5 values")
	decode(t, s, []byte(`log "1phfsb-0004M4-O4","h",1,2,"f","s`)).wantReject(t, schema.ReasonShort)
	decode(t, s, []byte(`lag "1phfsb-0004M4-O4"`)).wantReject(t, schema.ReasonNoTemplate, `log "`)
}

func TestSeparatorsOfAnyLength(t *testing.T) {
	t.Parallel()
	for _, sep := range []string{"|", "\t", "::", " || ", `","`, "aaa", "é"} {
		s := customSet(t, Options{}, &Format{Name: "x", Kind: schema.Message, Template: compiled(t, "<<%(id)s"+sep+"%(helo)s"+sep+"%(subject_header)s>>")})
		decode(t, s, []byte("<<"+testID+sep+"h"+sep+"s>>")).wantEvent(t, "x", "", "id", testID, "helo", "h", "subject_header", "s")
		decode(t, s, []byte("<<"+testID+sep+"h"+sep+sep+">>")).wantEvent(t, "x", "ambiguous", "helo", "h", "subject_header", sep)
		decode(t, s, []byte("<<"+testID+sep+"h>>")).wantReject(t, schema.ReasonColumnCount, "2 values")
	}
}

func TestCSVQuoting(t *testing.T) {
	t.Parallel()
	csv := *builtin(t, "s1")
	csv.CSVQuoting = true
	s := customSet(t, Options{}, &csv, builtin(t, "s3"))
	f := func(data, want, flags string) {
		t.Helper()
		decode(t, s, frame(t, "s1", "delivery_data", data, "recipient", `""a,"",""b""@x`)).wantEvent(t, "s1", flags, "delivery_data", want, "recipient", `"a,","b"@x`, "delivery_port", "25")
	}
	f(`550 ""no""`, `550 "no"`, "")
	f(`a"",""b`, `a","b`, "")
	f(`""`, `"`, "")
	f(``, ``, "")
	f(`""""`, `""`, "")
	f(`he said "hi", ok`, `he said "hi", ok`, "")
	f(`5" pipe`, `5" pipe`, "ambiguous")
	decode(t, s, frame(t, "s3", "delivery_data", `550 ""no""`)).wantEvent(t, "s3", "", "delivery_data", `550 ""no""`)
	whole := frame(t, "s1")
	decode(t, s, whole[:len(whole)-1]).wantReject(t, schema.ReasonShort)
}

func TestMatches(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	if !s.Matches(frame(t, "m1")) || !s.Matches(frame(t, "s3")) || !s.Matches([]byte(` "x`)) {
		t.Error("a body that begins as a format does not match")
	}
	for _, rest := range []string{"", "Nov 20 15:30:53 relay1 \"id\"", "1 2026-11-20T15:30:53Z h a - - - \"id\"", "garbage"} {
		if s.Matches([]byte(rest)) {
			t.Errorf("%q matches", rest)
		}
	}
	bare := customSet(t, Options{}, &Format{Name: "bare", Kind: schema.Message, Template: compiled(t, "%(id)s|%(subject_header)s")})
	if !bare.Matches([]byte("1phfsb-0004M4-O4|a b")) || bare.Matches([]byte("Nov 20 15:30:53 relay1 1phfsb-0004M4-O4|a b")) || bare.Matches([]byte("no separator")) {
		t.Error("a format that begins with a variable is not told from a header")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{Nulls: []string{"n/a"}, Direction: "outgoing", TimeZone: time.FixedZone("x", 7200)}, "m1", "s1")
	decode(t, s, frame(t, "m1", "sender_ip", "n/a", "cc_header", "None", "incoming_size", "")).wantEvent(t, "m1", "", "sender_ip", "", "cc_header", "None", "incoming_size", "", "direction", "outgoing")
	decode(t, s, frame(t, "m1", "sender_ip", "None")).wantEvent(t, "m1", "bad_ip !sender_ip")
	decode(t, s, frame(t, "m1", "timestamp", "2023-03-30 02:11:01")).wantEvent(t, "m1", "", "timestamp", "2023-03-30 00:11:01.000")
	decode(t, s, frame(t, "m1", "id", "", "timestamp", "2023-03-30 02:11:01")).wantEvent(t, "m1", "", "timestamp", "2023-03-30 00:11:01.000", "id_time", "2023-03-30 00:11:01")
	// Released three hours later and received at once: the zone holds.
	late := Context{Received: (testIDTime + 3*3600 + 2) * 1000}
	decodeWith(t, s, frame(t, "s1", "delivery_date", "2023-03-30 05:11:01"), late).wantEvent(t, "s1", "", "delivery_date", "2023-03-30 03:11:01.000")
	utc := newSet(t, Options{})
	decodeWith(t, utc, frame(t, "s1", "delivery_date", "2023-03-30 03:11:01"), late).wantEvent(t, "s1", "tz_guess", "delivery_date", "2023-03-30 03:11:01.000")
	decode(t, utc, frame(t, "s1", "id", "", "delivery_date", "2023-03-30 03:11:01")).wantEvent(t, "s1", "tz_guess", "delivery_date", "2023-03-30 03:11:01.000")
}

func TestEventTimeSource(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	f := func(c Context, source, at, id string, changes ...string) {
		t.Helper()
		c.Received = testReceived
		decodeWith(t, s, frame(t, "m1", changes...), c).wantEvent(t, "m1", "", "event_time_source", source, "event_time", at, "id_time", id)
	}
	f(Context{Header: 1e12}, "event", "2023-03-30 00:11:02.250", "2023-03-30 00:11:01")
	f(Context{Header: 1e12}, "id", "2023-03-30 00:11:01.000", "2023-03-30 00:11:01", "timestamp", "")
	f(Context{Header: 1e12}, "header", "2001-09-09 01:46:40.000", "2001-09-09 01:46:40", "timestamp", "", "id", "")
	f(Context{}, "received", "2026-11-20 23:30:53.000", "2026-11-20 23:30:53", "timestamp", "", "id", "")
	f(Context{}, "event", "2200-01-01 00:00:00.000", "2106-02-07 06:28:15", "timestamp", "2200-01-01T00:00:00Z", "id", "") // DateTime ends in 2106
}
