package quarantine

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"millrace/internal/config"
	"millrace/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

func decoder(t testing.TB) *Decoder {
	t.Helper()
	d, err := NewDecoder(&config.Default().Quarantine.Columns)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// describe is all that Decode said, without what is empty.
func (m *Message) describe() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, value)
		}
	}
	for i, v := range m.Columns {
		line(Headings[i+1], v)
	}
	line("subject", m.Subject)
	line("message id", m.MessageID)
	line("exim id", m.EximID)
	line("domain", m.Domain)
	if m.Bounce {
		line("bounce", "yes")
	}
	line("flags", strings.Join(m.Flags.Words(), " "))
	return b.String()
}

// TestDecode: each file of testdata/mail, as outgoing mail, and what it gives.
func TestDecode(t *testing.T) {
	t.Parallel()
	d := decoder(t)
	files, err := filepath.Glob("testdata/mail/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var b strings.Builder
	for _, path := range files {
		header, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		d.Decode(&m, header, false, Outgoing)
		fmt.Fprintf(&b, "%s\n%s", filepath.Base(path), m.describe())
	}
	const golden = "testdata/mail.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("not as %s: got\n%s", golden, &b)
	}
}

func TestDecode_Domain(t *testing.T) {
	t.Parallel()
	d := decoder(t)
	f := func(direction, header, want string) {
		t.Helper()
		var m Message
		d.Decode(&m, []byte(header), false, direction)
		if m.Domain != want {
			t.Errorf("%s of %q: %q, want %q", direction, header, m.Domain, want)
		}
	}
	f(Incoming, "From: a@from.example\nTo: b@To.Example", "to.example")
	f(Incoming, "From: a@from.example\nTo: \"b@quoted.example\" <c@to.example>, d@other.example", "to.example")
	f(Incoming, "From: a@from.example\nTo: =?utf-8?q?x=40hidden=2Eexample=2C?= <c@to.example>", "to.example")
	f(Incoming, "From: a@from.example", "")
	f(Incoming, "To: undisclosed-recipients:;", "")
	f(Incoming, "To: b@to.example.", "to.example")
	f(Incoming, "To: b@[192.0.2.1]", "")
	f(Incoming, "To: b@"+strings.Repeat("long.", 60)+"example", "")
	f(Incoming, "To: broken <<b@to.example> x", "to.example")
	f(Outgoing, "From: a@from.example\nTo: b@to.example", "from.example")
	f(Outgoing, "From: a@from.example\nX-AuthUser: u@auth.example", "auth.example")
	f(Outgoing, "From: a@from.example\nX-AuthUser: u", "from.example")
	f(Outgoing, "From: a@from.example\nX-AuthUser: u@auth.example\nX-Authenticated-Sender: h: s@sender.example", "sender.example")
	f(Outgoing, "From: a@b\xff.example", "b")
}

// A value is bounded, and is cut between characters.
func TestDecode_Long(t *testing.T) {
	t.Parallel()
	var m Message
	decoder(t).Decode(&m, []byte("To: "+strings.Repeat("ü", 3000)+"\nX-Filter-Evidence: "+strings.Repeat("folded\n ", 20_000)+"end\n"), false, Outgoing)
	if len(m.Columns[toColumn]) != maxValue || !utf8.ValidString(m.Columns[toColumn]) {
		t.Error(len(m.Columns[toColumn]))
	}
	if got := m.Flags.Words(); len(got) != 1 || got[0] != "incomplete" {
		t.Error(got)
	}
}

func TestDecode_Configured(t *testing.T) {
	t.Parallel()
	columns := config.Default().Quarantine.Columns
	columns.Evidence = []string{"X-Nothing", `X-Why ~ score=\d+`, "Subject"}
	columns.PHPScript = nil
	d, err := NewDecoder(&columns)
	if err != nil {
		t.Fatal(err)
	}
	f := func(header, want string) {
		t.Helper()
		var m Message
		d.Decode(&m, []byte(header), false, Outgoing)
		if m.Columns[6] != want || m.Columns[7] != "" {
			t.Errorf("%q: %q", header, m.Columns)
		}
	}
	f("x-why: a\nX-WHY: rule score=12 b\nSubject: s\nX-PHP-Script: p", "score=12")
	f("X-Why: a\nSubject: s", "s")
	columns.To = []string{"bad name"}
	if _, err := NewDecoder(&columns); err == nil {
		t.Error("a bad name was taken")
	}
}

func TestNameMatches(t *testing.T) {
	t.Parallel()
	f := func(pattern, name string, want bool) {
		t.Helper()
		if nameMatches(pattern, name) != want {
			t.Errorf("%q and %q: want %v", pattern, name, want)
		}
	}
	f("from", "from", true)
	f("from", "from-x", false)
	f("x-*-evidence", "x-spamexperts-evidence", true)
	f("x-*-evidence", "x-spamexperts-outgoing-evidence", true)
	f("x-*-evidence", "x-evidence", false)
	f("x-*-evidence", "x--evidence", true)
	f("*", "", true)
	f("*a", "a", true)
	f("a*b*c", "abc", true)
	f("a*b*c", "a-bb-cc", true)
	f("a*b*c", "acb", false)
	f("a*a", "a", false)
}

// TestEvent: what a message becomes in the pipeline.
func TestEvent(t *testing.T) {
	t.Parallel()
	header, err := os.ReadFile("testdata/mail/01-php-script.eml")
	if err != nil {
		t.Fatal(err)
	}
	d := decoder(t)
	var m Message
	d.Decode(&m, header, false, Outgoing)
	now := noon.Add(time.Hour)
	at := Place{Server: "quarantine.example.com", Account: "global", Folder: Folder{Name: "Caught (Outgoing)", Validity: 7}, Direction: Outgoing}
	var e, read schema.Event
	event := func(raw string, flags schema.Flag) *schema.Event {
		t.Helper()
		m.Flags = flags
		m.Event(&e, at, Found{UID: 42, Millis: noon.UnixMilli(), Size: 1234}, header, raw, now)
		var reader schema.Reader
		if err := reader.Read(schema.Quarantine, schema.AppendRecord(nil, &e), &read); err != nil {
			t.Fatal(err)
		}
		return &read
	}
	got := event("flagged", 0)
	for name, want := range map[string]string{
		"event_time_source": "event", "listener": "quarantine", "transport": "imap", "format": "quarantine", "direction": "outgoing", "raw": "",
		"domain": "customer.example.com", "from_header": "Web shop <shop@customer.example.com>", "qmail_uid": "33", "client": "web4",
		"id": "1xW1PL-0054Kv-F9", "folder": "Caught (Outgoing)", "server": "quarantine.example.com", "account": "global",
	} {
		if v := string(got.Text(schema.Quarantine.Index(name))); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	if got.Millis(schema.ReceivedAt) != now.UnixMilli() || got.Millis(schema.EventTime) != noon.UnixMilli() || got.Uint(schema.IDTime) != 1795568567 ||
		got.Uint(uidField) != 42 || got.Uint(validityField) != 7 || got.Uint(sizeField) != 1234 {
		t.Error(got.Millis(schema.ReceivedAt), got.Millis(schema.EventTime), got.Uint(schema.IDTime), got.Uint(uidField), got.Uint(validityField), got.Uint(sizeField))
	}
	for _, c := range []struct {
		raw   string
		flags schema.Flag
		kept  bool
	}{{"always", 0, true}, {"flagged", schema.FlagBadHeader, true}, {"never", schema.FlagBadHeader, false}} {
		if kept := len(event(c.raw, c.flags).Text(schema.Raw)) == len(header); kept != c.kept {
			t.Errorf("raw %s with flags %d: kept %v", c.raw, c.flags, kept)
		}
	}
}

// FuzzDecode: any bytes are a header.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/mail/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		header, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(header, false)
	}
	d := decoder(f)
	f.Fuzz(func(t *testing.T, header []byte, cut bool) {
		before := string(header)
		var m, again Message
		d.Decode(&m, header, cut, Outgoing)
		if string(header) != before {
			t.Fatal("the header was changed")
		}
		for i, v := range append(m.Columns[:], m.Subject, m.MessageID, m.EximID, m.Domain) {
			if len(v) > maxValue || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }) {
				t.Errorf("value %d: %q", i, v)
			}
		}
		if cut && m.Flags&schema.FlagIncomplete == 0 {
			t.Error("a cut header is not flagged")
		}
		d.Decode(&again, header, cut, Outgoing)
		if m != again {
			t.Errorf("the second time it is another: %+v, %+v", m, again)
		}
		var e schema.Event
		m.Event(&e, Place{Direction: Outgoing}, Found{UID: 1, Millis: 1 << 62, Size: -1}, header, "always", noon)
		var reader schema.Reader
		if err := reader.Read(schema.Quarantine, schema.AppendRecord(nil, &e), new(schema.Event)); err != nil {
			t.Error(err)
		}
	})
}
