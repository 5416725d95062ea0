package format

import (
	"testing"
	"time"

	"millrace/schema"
)

// A time without a zone at the end of the range stays in it, wherever its zone
// is: a record out of range would be refused by its reader.
func TestTimeAtTheEndOfItsRange(t *testing.T) {
	t.Parallel()
	for _, hours := range []int{-12, 0, 14} {
		s := newSet(t, Options{TimeZone: time.FixedZone("x", hours*3600)}, "m1")
		for text, far := range map[string]bool{"2262-04-11 23:47:00": true, "1970-01-01 00:00:01": false} {
			o := decode(t, s, frame(t, "m1", "id", "", "timestamp", text))
			at := o.event.Millis(schema.Message.Index("timestamp"))
			if at < 0 || at > schema.MaxMillis || far && at < schema.MaxMillis-15*3600*1000 {
				t.Errorf("%q at %+d hours is %d", text, hours, at)
			}
			var e schema.Event
			if err := (schema.Reader{}).Read(schema.Message, schema.AppendRecord(nil, &o.event), &e); err != nil {
				t.Errorf("%q at %+d hours: cannot read the record: %s", text, hours, err)
			}
		}
	}
}

func TestRepr(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{}, &Format{Name: "r", Kind: schema.Message, Template: compiled(t, `%(subject_header)r|%(from_header)a`)})
	f := func(text, subject, from string) {
		t.Helper()
		decode(t, s, []byte(text+"|"+text)).wantEvent(t, "r", "", "subject_header", subject, "from_header", from)
	}
	f(`'plain'`, "plain", "plain")
	f(`'caf\xc3\xa9'`, "café", "cafÃ©") // bytes for r, characters for a
	f(`'caf\xe9'`, "café", "café")
	f(`u'caf\xc3\xa9'`, "cafÃ©", "cafÃ©")
	f(`b'caf\xc3\xa9'`, "café", "cafÃ©")
	f(`'é\xa0'`, "é\u00a0", "é\u00a0") // Python 3 writes what it can print
	f(`'a\U0001F600\u00e9'`, "a😀é", "a😀é")
	f(`'\x'`, `\x`, `\x`)
	f(`'\U00110000'`, `\U00110000`, `\U00110000`)
	f(`'\`, `'\`, `'\`)
	f(`'`, `'`, `'`)
	f(`"it's"`, "it's", "it's")
	f(`'a\\'`, `a\`, `a\`)
}

// The width counts characters, or bytes as Python 2 has it.
func TestWidth(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{}, &Format{Name: "w", Kind: schema.Message, Template: compiled(t, `%(helo)6s|%(sender)-6s|%(incoming_size)6d`)})
	f := func(body string, fields ...string) {
		t.Helper()
		decode(t, s, []byte(body)).wantEvent(t, "w", "", fields...)
	}
	f("  café|café  |    25", "helo", "café", "sender", "café", "incoming_size", "25")
	f(" café|café |25", "helo", "café", "sender", "café", "incoming_size", "25")
	f("longer  |  longer|1234567", "helo", "longer  ", "sender", "  longer", "incoming_size", "1234567")
}

func TestNewSet_QuotingAloneTellsNothing(t *testing.T) {
	t.Parallel()
	csv := *builtin(t, "s1")
	csv.Name, csv.CSVQuoting = "s1csv", true
	if _, err := NewSet([]*Format{builtin(t, "s1"), &csv}, Options{}); err == nil {
		t.Error("two formats that differ in their quoting alone make a set")
	}
}

func TestMatches_LiteralThatBeginsWithABlank(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{}, &Format{Name: "x", Kind: schema.Message, Template: compiled(t, ` log %(id)s`)})
	if !s.Matches([]byte(" log x")) || s.Matches([]byte("log x")) {
		t.Error("a literal that begins with a blank is not found, or without it")
	}
	decode(t, s, []byte(" log "+testID)).wantEvent(t, "x", "", "id", testID)
}

// What a decoder read before is not in what it reads now.
func TestDecoderForgets(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	var d Decoder
	var e schema.Event
	empty := []byte(`"","","","","","","","","","","","","","","","","",""`)
	var want []byte
	for _, body := range [][]byte{empty, frame(t, "m3", "status", "A B"), empty, frame(t, "s1"), empty, frame(t, "m1", "id", "x", "sender_ip", "x", "subject_header", `a","b`), empty, []byte("x"), empty} {
		d.Decode(s, body, &e, Context{Received: testReceived})
		if string(body) != string(empty) {
			continue
		}
		record := schema.AppendRecord(nil, &e)
		if want == nil {
			want = record
		}
		if string(record) != string(want) {
			t.Fatalf("the record is %q; it was %q", record, want)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	f := &Format{Name: "x", Kind: schema.Message, Template: compiled(t, `%(id)s;%(archive_id)s;%(sender_ip)s;%(subject_header)s`)}
	s := customSet(t, Options{}, append(Builtin(), f)...)
	var d Decoder
	got := d.Explain(s, []byte(" 1phfsb;a1;192.0.2.300;None"), Context{Received: testReceived})
	if len(got) != 7 || got[0].Format.Name != "m1" || got[6].Format.Name != "x" {
		t.Fatalf("attempts %+v", got)
	}
	for i, a := range got {
		if a.Chosen != (i == 6) || (a.Reason == "") != (i == 6) || (a.Detail == "") != (i == 6) {
			t.Errorf("%s: %+v", a.Format.Name, a)
		}
	}
	want := []Value{
		{"id", "id", " 1phfsb", " 1phfsb", "not an Exim message id"},
		{"archive_id", "extra", "a1", "a1", "unknown variable"},
		{"sender_ip", "sender_ip", "192.0.2.300", "", "not an IP address"},
		{"subject_header", "subject_header", "None", "", "no value"},
	}
	for i, v := range got[6].Values {
		if v != want[i] {
			t.Errorf("value %d is %+v; want %+v", i, v, want[i])
		}
	}
	// Both could be: the one that is taken says so, the other why not.
	for _, a := range d.Explain(newSet(t, Options{}), append([]byte("  "), frame(t, "m2", "subject_header", `a","b`)...), Context{Received: testReceived}) {
		if a.Chosen != (a.Format.Name == "m2") || a.Chosen && (len(a.Values) != 16 || a.Values[15].Value != `a","b` || a.Flags[0] != "ambiguous") {
			t.Errorf("%s: %+v", a.Format.Name, a)
		}
	}
}
