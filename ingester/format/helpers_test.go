package format

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

const (
	testID       = "1phfsb-0004M4-O4"
	testIDTime   = 1680135061 // 2023-03-30 00:11:01 UTC
	testReceived = 1795217453_000
)

var testZone = time.FixedZone("x", -5*3600)

// messageValues are one value for each variable of the message templates.
func messageValues() map[string]string {
	return map[string]string{
		"id": testID, "filtering_host": "mx243.antispamcloud.com", "sender": "bounces+1@example.org", "recipient": "r@example.com",
		"domain": "Example.COM", "timestamp": "1680135062.25", "sender_host": "mail.example.net", "helo": "[192.0.2.1]", "sender_ip": "192.0.2.1",
		"sender_location": "NL", "incoming_size": "23533", "outgoing_size": "23540", "bandwidth": "47073", "status": "quarantined",
		"classification": "Combined score", "classification_details": "Combined (0.02)", "classification_code": "spam",
		"main_class": "Spam", "sub_class": "dnsbl", "extra_class": "10 / 1m / recipient", "auth_user": "10.0.0.1@smtp.example.com", "identity": "bob@example.com",
		"from_header": `"Doe, J" <j@x.org>`, "to_header": "r@example.com", "cc_header": "c@example.com", "subject_header": "Re: offer, 50% off",
	}
}

// statusValues are one value for each variable of the status templates.
func statusValues() map[string]string {
	return map[string]string{
		"id": testID, "filtering_host": "mx243.antispamcloud.com", "domain": "example.com", "recipient": "r@example.com", "status": "delivered",
		"delivery_date": "1680135070", "delivery_ip": "192.0.2.9", "delivery_port": "25", "delivery_fqdn": "mx.example.com", "delivery_interface": "198.51.100.7",
		"delivery_data": "SMTP error from remote mail server after end of data: 550 rbl-reject: Message rejected, \"so\" it is",
	}
}

func builtin(t testing.TB, name string) *Format {
	t.Helper()
	for _, f := range Builtin() {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no built-in format %q", name)
	return nil
}

// frame renders a frame of a built-in format with some values changed, given as
// name, value pairs.
func frame(t testing.TB, name string, changes ...string) []byte {
	t.Helper()
	f := builtin(t, name)
	values := messageValues()
	if f.Kind == schema.Status {
		values = statusValues()
	}
	for i := 0; i < len(changes); i += 2 {
		if _, ok := values[changes[i]]; !ok {
			t.Fatalf("no variable %q", changes[i])
		}
		values[changes[i]] = changes[i+1]
	}
	return f.Template.Append(nil, func(name string) []byte { return []byte(values[name]) })
}

func newSet(t testing.TB, o Options, names ...string) *Set {
	t.Helper()
	formats := Builtin()
	if len(names) > 0 {
		formats = formats[:0]
		for _, name := range names {
			formats = append(formats, builtin(t, name))
		}
	}
	s, err := NewSet(formats, o)
	if err != nil {
		t.Fatalf("cannot make the set: %s", err)
	}
	return s
}

func customSet(t testing.TB, o Options, formats ...*Format) *Set {
	t.Helper()
	s, err := NewSet(formats, o)
	if err != nil {
		t.Fatalf("cannot make the set: %s", err)
	}
	return s
}

func compiled(t testing.TB, text string) *Template {
	t.Helper()
	tpl, err := Compile(text)
	if err != nil {
		t.Fatalf("cannot compile %q: %s", text, err)
	}
	return tpl
}

// outcome is a decoded body in words: the format and the fields, or the reject.
type outcome struct {
	Verdict
	event schema.Event
}

func decodeWith(t testing.TB, s *Set, body []byte, c Context) *outcome {
	t.Helper()
	var d Decoder
	o := new(outcome)
	before := bytes.Clone(body)
	o.Verdict = d.Decode(s, body, &o.event, c)
	if !bytes.Equal(before, body) {
		t.Fatalf("the body was changed: %q, was %q", body, before)
	}
	if (o.Reason == "") != (o.Format != nil) || (o.Reason == "") != (o.Detail == "") {
		t.Fatalf("half a verdict: %+v", o.Verdict)
	}
	return o
}

func decode(t testing.TB, s *Set, body []byte) *outcome {
	t.Helper()
	return decodeWith(t, s, body, Context{Received: testReceived})
}

// get is a field as text.
func (o *outcome) get(name string) string {
	i := o.event.Kind.Index(name)
	if i < 0 {
		return "no field " + name
	}
	return Text(&o.event, i)
}

// flags are the flags and bad fields, in words.
func (o *outcome) flags() string {
	words := o.event.Flagged().Words()
	for i, f := range o.event.Kind.Fields {
		if o.event.Bad(i) {
			words = append(words, "!"+f.Name)
		}
	}
	return strings.Join(words, " ")
}

// wantEvent checks the format, the flags and some fields, given as name, value
// pairs.
func (o *outcome) wantEvent(t *testing.T, format, flags string, fields ...string) {
	t.Helper()
	if o.Reason != "" {
		t.Fatalf("rejected as %s: %s; want format %q", o.Reason, o.Detail, format)
	}
	if o.Format.Name != format || o.get("format") != format {
		t.Fatalf("format %q (field %q); want %q", o.Format.Name, o.get("format"), format)
	}
	if got := o.flags(); got != flags {
		t.Fatalf("flags %q; want %q", got, flags)
	}
	for i := 0; i < len(fields); i += 2 {
		if got := o.get(fields[i]); got != fields[i+1] {
			t.Fatalf("%s is %q; want %q", fields[i], got, fields[i+1])
		}
	}
}

// wantReject checks the reason and that the detail holds some words.
func (o *outcome) wantReject(t *testing.T, reason schema.Reason, words ...string) {
	t.Helper()
	if o.Reason != reason {
		t.Fatalf("reason %q (%s), format %v; want %q", o.Reason, o.Detail, o.Format, reason)
	}
	for _, w := range words {
		if !strings.Contains(o.Detail, w) {
			t.Fatalf("detail %q does not hold %q", o.Detail, w)
		}
	}
}

func columns(n int) []byte {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf("c%d", i+1))
	}
	return []byte(`"` + strings.Join(parts, `","`) + `"`)
}
