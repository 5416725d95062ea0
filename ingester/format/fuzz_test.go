package format

import (
	"bytes"
	"slices"
	"testing"
	"unicode/utf8"

	"millrace/schema"
)

// FuzzDecode: whatever a frame and a template are, decoding ends in an event or a
// reject that keeps its promises.
func FuzzDecode(f *testing.F) {
	for _, b := range Builtin() {
		body := frame(f, b.Name)
		f.Add(body, b.Template.String(), []byte(nil), b.Kind == schema.Status, false)
		f.Add(body[:len(body)-3], "<%(id)-20s|%(helo)r|%(archive_id)s>", []byte("Nov 20 15:30:53 localhost "), false, false)
		f.Add(bytes.Replace(body, []byte(`","`), []byte(`","","`), 3), b.Template.String(), []byte(nil), b.Kind == schema.Status, true)
	}
	f.Add(frame(f, "m1", "subject_header", `a","b`, "helo", `x",`, "to_header", `"a@x","b@y"`), `%(id)s,%(sender_ip)s`, []byte(nil), false, false)
	f.Add(frame(f, "m1", "subject_header", "caf\xe9\x00", "timestamp", "2023-03-30 02:11:01", "id", "x"), `%(id)s,%(sender_ip)s`, []byte(nil), false, true)
	f.Add([]byte(`"1phfsb-0004M4-O4","filter1.exam offer, 50% off"`), textM1, []byte("Nov 20 15:30:53 localhost "), false, false)
	f.Add([]byte(`[a|'b\x00\ud800\xe9'|  5|2023-03-30 00:11:60|::1]`), `[%(id)s|%(helo)r|%(bandwidth)5d|%(timestamp)s|%(sender_ip)s]`, []byte(nil), false, false)
	f.Add([]byte(`log "a","h",x,9,"",1,2,"f","s"`), `log "%(id)s","%(helo)s",%(incoming_size)d,%(outgoing_size)d,"%(from_header)s","%(subject_header)s"`, []byte(nil), false, true)
	f.Add(frame(f, "m3", "subject_header", "%(subject_header)s"), "%%%(x)s", []byte{}, true, false)

	all, err := NewSet(Builtin(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, template string, relay []byte, status, csv bool) {
		c := Context{Received: testReceived, Relay: relay}
		var d Decoder
		check(t, &d, all, body, c)
		tpl, err := Compile(template)
		if err != nil {
			return
		}
		kind := schema.Message
		if status {
			kind = schema.Status
		}
		own := &Format{Name: "own", Kind: kind, Template: tpl, CSVQuoting: csv}
		alone, err := NewSet([]*Format{own}, Options{TimeZone: testZone, Nulls: []string{"None", "x"}, Direction: "incoming"})
		if err != nil {
			t.Fatalf("cannot make a set of %q alone: %s", template, err)
		}
		check(t, &d, alone, body, c)
		if beside, err := NewSet(append(Builtin(), own), Options{}); err == nil {
			check(t, &d, beside, body, c)
		}
	})
}

// check decodes body with a decoder that may have decoded before.
func check(t *testing.T, d *Decoder, s *Set, body []byte, c Context) {
	t.Helper()
	before := bytes.Clone(body)
	s.Matches(body)
	var e, again schema.Event
	v := d.Decode(s, body, &e, c)
	record := recordOf(t, v, body, &e)
	if !bytes.Equal(before, body) {
		t.Fatalf("the body was changed: %q, was %q", body, before)
	}
	// The record is the frame's alone: not of what was decoded before, nor of who did.
	d.Decode(s, []byte(`"1phfsb-0004M4-O4",X","Y"`), &again, c)
	w := new(Decoder).Decode(s, body, &again, c)
	if v != w || !bytes.Equal(record, recordOf(t, w, body, &again)) {
		t.Fatalf("%q is %+v and then %+v", body, v, w)
	}
	if len(d.spans) > maxPieces+maxVariables || cap(d.scratch) > keepScratch && cap(d.scratch) > 8*len(body) {
		t.Fatalf("%d bytes took %d pieces and %d bytes", len(body), len(d.spans), cap(d.scratch))
	}
	wantPieces(t, d, s, body)
}

// recordOf checks a verdict, and the event's record as the pipeline writes it.
func recordOf(t *testing.T, v Verdict, body []byte, e *schema.Event) []byte {
	t.Helper()
	if v.Reason != "" {
		if v.Format != nil || v.Detail == "" || !utf8.ValidString(v.Detail) || !slices.ContainsFunc(schema.RejectReasons(), func(r schema.ReasonDoc) bool { return r.Reason == v.Reason }) {
			t.Fatalf("%q: half a reject: %+v", body, v)
		}
		return nil
	}
	if v.Format == nil || v.Detail != "" || e.Kind != v.Format.Kind || string(e.Text(schema.Format)) != v.Format.Name {
		t.Fatalf("%q: half an event: %+v", body, v)
	}
	e.Clean = utf8.Valid(body) && bytes.IndexByte(body, 0) < 0
	record := schema.AppendRecord(nil, e)
	var r schema.Reader
	var back schema.Event
	if err := r.Read(e.Kind, record, &back); err != nil {
		t.Fatalf("%q: the record cannot be read: %s", body, err)
	}
	text := func(what string, v []byte) {
		if !utf8.Valid(v) || bytes.IndexByte(v, 0) >= 0 {
			t.Fatalf("%q: %s in the record is %q", body, what, v)
		}
	}
	for i, f := range e.Kind.Fields {
		if e.Has(i) != back.Has(i) {
			t.Fatalf("%q: %s is in the event: %v, in the record: %v", body, f.Name, e.Has(i), back.Has(i))
		}
		if f.Type == schema.Text || f.Type == schema.Word {
			text(f.Name, back.Text(i))
		}
	}
	for _, p := range back.Pairs() {
		text("a key", p.Key)
		text("a value", p.Value)
	}
	return record
}

// FuzzCompile: a template is refused, or what is rendered with it is decoded.
func FuzzCompile(f *testing.F) {
	for _, b := range Builtin() {
		f.Add(b.Template.String())
	}
	for _, text := range []string{"", "default", "%", "%%", "%%(id)s %(id)s", "%(id", "%(id)", "%(id)s%(a)s", "%(id)s,%(id)s", "%(a(b)c)s", "%()s", "%s", "%(id)*d",
		"%(id)-20.3s\x00\r\n", "%(a)#0- +99999999999999999999s", "%(id)x", "é%(helo)r|%(timestamp).2f|\xe9", "\t%(helo)5d\t%(sender_ip)ld v", "a%(helo)saa%(sender)sa"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := Compile(text)
		if err != nil {
			return
		}
		if again, err := Compile(tpl.String()); err != nil || !slices.Equal(again.Variables(), tpl.Variables()) {
			t.Fatalf("%q compiles otherwise the second time: %v", text, err)
		}
		if n := len(tpl.Variables()); n == 0 || n > maxVariables || len(tpl.literals) != n+1 {
			t.Fatalf("%q has %d variables and %d literals", text, n, len(tpl.literals))
		}
		own := &Format{Name: "own", Kind: schema.Message, Template: tpl}
		own.Unknown()
		s, err := NewSet([]*Format{own}, Options{})
		if err != nil {
			t.Fatalf("cannot make a set of %q: %s", text, err)
		}
		body := tpl.Append(nil, func(string) []byte { return []byte("v") })
		var e schema.Event
		var d Decoder
		v := d.Decode(s, body, &e, Context{Received: testReceived})
		// Padding and the text of literals may look like separators too many, or like
		// a variable; too few there never are.
		if v.Format != own && v.Reason != schema.ReasonColumnCount && v.Reason != schema.ReasonTemplateUnexpanded {
			t.Fatalf("%q renders %q, which is %+v", text, body, v)
		}
		check(t, &d, s, body, Context{})
	})
}
