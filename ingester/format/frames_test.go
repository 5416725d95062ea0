package format

import (
	"bytes"
	"strings"
	"testing"

	"millrace/schema"
)

// The frames of the design's list of forty nasty frames, by their numbers, as far
// as they are about decoding: framing and headers have their own packages.

// rest are the fields that no surplus may shift.
var pinnedM1 = []string{"id", testID, "sender_ip", "192.0.2.1", "incoming_size", "23533", "outgoing_size", "23540", "status", "quarantined"}

func TestFrame01_Plain(t *testing.T) {
	t.Parallel()
	decode(t, newSet(t, Options{}), frame(t, "m1")).wantEvent(t, "m1", "",
		"id", testID, "filtering_host", "mx243.antispamcloud.com", "sender", "bounces+1@example.org", "recipient", "r@example.com", "domain", "example.com",
		"timestamp", "2023-03-30 00:11:02.250", "sender_host", "mail.example.net", "helo", "[192.0.2.1]", "sender_ip", "192.0.2.1",
		"incoming_size", "23533", "outgoing_size", "23540", "status", "quarantined", "status_norm", "quarantined",
		"classification", "Combined score", "classification_details", "Combined (0.02)",
		"from_header", `"Doe, J" <j@x.org>`, "to_header", "r@example.com", "cc_header", "c@example.com", "subject_header", "Re: offer, 50% off",
		"event_time", "2023-03-30 00:11:02.250", "event_time_source", "event", "id_time", "2023-03-30 00:11:01")
}

func TestFrame06_LFInSubject(t *testing.T) {
	t.Parallel()
	decode(t, newSet(t, Options{}), frame(t, "m1", "subject_header", "one\ntwo")).wantEvent(t, "m1", "", "subject_header", "one\ntwo")
}

func TestFrame19to23_QuotesAndSeparators(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	f := func(name, flags string, changes ...string) {
		t.Helper()
		o := decode(t, s, frame(t, name, changes...))
		o.wantEvent(t, name, flags, changes...)
		if name == "m1" {
			o.wantEvent(t, name, flags, pinnedM1...)
		}
	}
	f("m1", "", "subject_header", `He said "hi", ok`)
	f("m1", "ambiguous", "subject_header", `a","b`)
	f("m1", "ambiguous", "to_header", `"a@x","b@y"`)
	f("m1", "ambiguous", "to_header", `"a@x","b@y","c@z"`)
	f("m1", "ambiguous", "cc_header", `"A","B" <b@y>`, "subject_header", `x","y","z`)
	f("m3", "ambiguous", "to_header", `"a@x","b@y"`)
	f("m3", "ambiguous", "subject_header", `a","b`)
	f("m1", "", "subject_header", `a "quoted"`)
	f("m1", "ambiguous", "subject_header", `","`)
	f("m1", "ambiguous", "subject_header", `a","sx-end","b`)
	f("m3", "ambiguous", "subject_header", `a","sx-end`)
	f("s1", "ambiguous", "delivery_data", `SMTP error: 550 "a","b"`)
	f("s3", "ambiguous", "delivery_data", `SMTP error: 550 "a","b"`)
}

func TestFrame24_NULSplitsOnTCP(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	whole := frame(t, "m1", "subject_header", "before\x00after, it")
	// UDP: one frame; the record has U+FFFD.
	o := decode(t, s, whole)
	o.wantEvent(t, "m1", "", "subject_header", "before\x00after, it")
	var e schema.Event
	var r schema.Reader
	if err := r.Read(schema.Message, schema.AppendRecord(nil, &o.event), &e); err != nil {
		t.Fatalf("cannot read the record: %s", err)
	}
	if got := string(e.Text(schema.Message.Index("subject_header"))); got != "before\uFFFDafter, it" {
		t.Fatalf("subject_header in the record is %q", got)
	}
	// TCP: two.
	first, second, _ := bytes.Cut(whole, []byte{0})
	decode(t, s, first).wantReject(t, schema.ReasonShort, "18 values")
	decode(t, s, second).wantReject(t, schema.ReasonNoTemplate, "after, it")
}

func TestFrame25_Latin1(t *testing.T) {
	t.Parallel()
	o := decode(t, newSet(t, Options{}), frame(t, "m1", "subject_header", "caf\xe9"))
	o.wantEvent(t, "m1", "", "subject_header", "caf\xe9")
	if record := schema.AppendRecord(nil, &o.event); !bytes.Contains(record, []byte("caf\uFFFD")) || !bytes.Contains(record, []byte("bad_utf8")) {
		t.Fatalf("the record %q has no U+FFFD or no flag", record)
	}
}

func TestFrame26to27_Null(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	for _, null := range []string{"", "None", "-"} {
		decode(t, s, frame(t, "m1", "sender_ip", null, "incoming_size", null, "outgoing_size", null, "timestamp", null)).wantEvent(t, "m1", "",
			"sender_ip", "", "incoming_size", "", "timestamp", "", "event_time_source", "id", "event_time", "2023-03-30 00:11:01.000")
	}
	decode(t, s, frame(t, "m1", "sender", "")).wantEvent(t, "m1", "", "sender", "")
	decode(t, s, frame(t, "m1", "cc_header", "None")).wantEvent(t, "m1", "none_text", "cc_header", "")
	decode(t, s, frame(t, "m1", "subject_header", "-", "cc_header", "none")).wantEvent(t, "m1", "", "subject_header", "-", "cc_header", "none")
	decode(t, s, frame(t, "m3", "auth_user", "None", "identity", "-")).wantEvent(t, "m3", "", "auth_user", "", "identity", "")
}

func TestFrame28_Numbers(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	for _, bad := range []string{"-1", "9e99", strings.Repeat("9", 30), "18446744073709551616", "12.5", "1,000", "x"} {
		decode(t, s, frame(t, "m1", "incoming_size", bad)).wantEvent(t, "m1", "bad_int !incoming_size", "incoming_size", "", "outgoing_size", "23540", "subject_header", "Re: offer, 50% off")
	}
	decode(t, s, frame(t, "m1", "incoming_size", "12.0", "outgoing_size", "18446744073709551615")).wantEvent(t, "m1", "", "incoming_size", "12", "outgoing_size", "18446744073709551615")
	decode(t, s, frame(t, "s1", "delivery_port", "65536")).wantEvent(t, "s1", "bad_int !delivery_port", "delivery_port", "")
}

func TestFrame29_Addresses(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	for text, want := range map[string]string{"2001:db8::1": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1", "[192.0.2.1]": "192.0.2.1", "[2001:DB8::1]": "2001:db8::1"} {
		decode(t, s, frame(t, "m1", "sender_ip", text)).wantEvent(t, "m1", "", "sender_ip", want)
	}
	for _, bad := range []string{"192.0.2.1:25", "unknown", "192.0.2", "192.0.2.256", "fe80::1%eth0", ":::", "1::2::3"} {
		decode(t, s, frame(t, "m1", "sender_ip", bad)).wantEvent(t, "m1", "bad_ip !sender_ip", "sender_ip", "", "incoming_size", "23533")
	}
}

func TestFrame30to31_Times(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	f := func(text, want, flags string) {
		t.Helper()
		o := decode(t, s, frame(t, "m1", "timestamp", text))
		o.wantEvent(t, "m1", flags, "timestamp", want, "id_time", "2023-03-30 00:11:01")
		if want == "" {
			o.wantEvent(t, "m1", flags, "event_time", "2023-03-30 00:11:01.000", "event_time_source", "id")
		} else {
			o.wantEvent(t, "m1", flags, "event_time", want, "event_time_source", "event")
		}
	}
	const same = "2023-03-30 00:11:01.000"
	f("1680135061", same, "")
	f("1680135062.25", "2023-03-30 00:11:02.250", "")
	f("2023-03-30 02:11:01", same, "tz_guess")
	f("2023-03-29 19:11:01", same, "tz_guess")
	f("2023-03-30 05:41:01", same, "tz_guess") // +05:30
	f("2023-03-30 00:11:01", same, "tz_guess")
	f("2023-03-30T00:11:01Z", same, "")
	f("2023-03-30T02:11:01+02:00", same, "")
	f("2023-03-30T02:11:01+0200", same, "")
	f("2023-03-30 00:11:01.123456+00:00", "2023-03-30 00:11:01.123", "")
	f("2016-12-31 23:59:60", "2016-12-31 23:59:59.000", "tz_guess leap_second")
	f("2016-12-31T23:59:60Z", "2016-12-31 23:59:59.000", "leap_second")
	f("", "", "")
	f("None", "", "")
	for _, bad := range []string{"2021-02-29 10:00:00", "2023-13-01 10:00:00", "2023-00-01 10:00:00", "2023-04-31 10:00:00", "2023-03-30 24:00:00", "2023-03-30 10:61:00",
		"2023-03-30", "yesterday", "-5", "1680135062.", "99999999999", "99999999999999", "2023-03-30 10:00:00 CET", "2023-03-30 10:00:00+2", "1e9"} {
		f(bad, "", "bad_time !timestamp")
	}
}

func TestFrame32to33_IDs(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	decode(t, s, frame(t, "m1", "id", "1tnyvV-000000064WS-3314")).wantEvent(t, "m1", "", "id", "1tnyvV-000000064WS-3314", "id_time", "2025-02-28 11:53:09")
	for _, bad := range []string{"not-an-id", "1phfsb-0004M4\x07O4", "1phfsb_0004M4_O4", "1phfsb-0004M4-O", "zzzzzz-0004M4-O4"} {
		decode(t, s, frame(t, "m1", "id", bad)).wantEvent(t, "m1", "bad_id", "id", bad, "id_time", "2023-03-30 00:11:02", "subject_header", "Re: offer, 50% off")
	}
	decode(t, s, frame(t, "m1", "id", "")).wantEvent(t, "m1", "", "id", "", "id_time", "2023-03-30 00:11:02")
}

func TestFrame34_ColumnCounts(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	for _, name := range []string{"s1", "m1", "m2", "s2", "s3", "m3"} {
		decode(t, s, frame(t, name)).wantEvent(t, name, "")
	}
	// M1 without one of its columns, and 17 columns of anything.
	whole := bytes.Split(frame(t, "m1"), []byte(`","`))
	for drop := range whole {
		parts := append(append([][]byte(nil), whole[:drop]...), whole[drop+1:]...)
		body := bytes.Join(parts, []byte(`","`))
		if drop == 0 {
			body = append([]byte(`"`), body...)
		}
		if drop == len(whole)-1 {
			body = append(body, '"')
		}
		decode(t, s, body).wantReject(t, schema.ReasonColumnCount, "17 values", "m1 has 18", "m2 has 16")
	}
	for _, n := range []int{1, 2, 9, 12, 15, 17, 19, 25, 300} {
		decode(t, s, columns(n)).wantReject(t, schema.ReasonColumnCount)
	}
	// M2 with a separator in its subject has 17 too, and shows by its addresses.
	decode(t, s, frame(t, "m2", "subject_header", `a","b`)).wantEvent(t, "m2", "ambiguous", "subject_header", `a","b`, "to_header", "r@example.com")
}

func TestFrame35_Truncated(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	whole := frame(t, "m3")
	for end := len(`"sx-m3","`); end < len(whole); end++ {
		o := decode(t, s, whole[:end])
		if o.Reason != schema.ReasonTruncated {
			t.Fatalf("cut after %q: reason %q (%s); want truncated", whole[:end], o.Reason, o.Detail)
		}
	}
	for end := 1; end < len(frame(t, "m1"))-1; end++ {
		cut := frame(t, "m1")[:end]
		o := decode(t, s, cut)
		if cut[end-1] == '"' && bytes.Count(cut[:end-1], []byte(`","`)) == 15 {
			continue // nothing tells it from a whole m2
		}
		if o.Reason != schema.ReasonShort && o.Reason != schema.ReasonColumnCount {
			t.Fatalf("cut after %d: reason %q (%s), format %v; want short", end, o.Reason, o.Detail, o.Format)
		}
	}
}

func TestFrame36_Unexpanded(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	for _, name := range []string{"subject_header", "sender_ip", "status", "id", "timestamp", "domain", "incoming_size"} {
		decode(t, s, frame(t, "m1", name, "%("+name+")s")).wantReject(t, schema.ReasonTemplateUnexpanded, name)
	}
	decode(t, s, []byte(`sx %(id)s`)).wantReject(t, schema.ReasonTemplateUnexpanded, "%(id)s")
	// A subject that only mentions one is a subject.
	decode(t, s, frame(t, "m1", "subject_header", "what is %(subject_header)s?")).wantEvent(t, "m1", "", "subject_header", "what is %(subject_header)s?")
}

func TestFrame37_Relay(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	f := func(relay, body string) {
		t.Helper()
		decodeWith(t, s, []byte(body), Context{Received: testReceived, Relay: []byte(relay)}).wantReject(t, schema.ReasonRelayMangled, "relay")
	}
	f("Nov 20 15:30:53 localhost ", `"1phfsb-0004M4-O4","filter1.exam offer, 50% off"`)
	f("", `Nov 20 15:30:53 localhost "1phfsb-0004M4-O4","filter1.exam offer, 50% off"`)
	f("", `"1phfsb-0004M4-O4","filter1.exam offer, 50% off"`)
	f(`Nov 20 15:30:53 localhost "1phfsb-0004M4-O4","filter1.exam `, `offer, 50% off"`)
	f(`1 2026-11-20T15:30:53Z localhost "1phfsb-0004M4-O4","filter1.example.net","Re - - - `, ` offer, 50% off"`)
	f("", `1 2026-11-20T15:30:53Z localhost "1phfsb-0004M4-O4","filter1.example.net","Re - - -  offer, 50% off"`)
	f("", `"1phfsb-0004M4-O4","filter1.example.net","2001 - - - db8::1"`)
	f("Nov 20 15:30:53 localhost ", `"sx-m3","1phfsb-0004M4-O4","filte offer, 50% off","sx-end"`)
	// A relay that leaves the body alone does no harm.
	whole := frame(t, "m1")
	decodeWith(t, s, whole, Context{Received: testReceived, Relay: []byte("Nov 20 15:30:53 relay1 ")}).wantEvent(t, "m1", "", "id", testID)
	decodeWith(t, s, append([]byte(" \xEF\xBB\xBF"), whole...), Context{Received: testReceived, Relay: []byte(`1 2026-11-20T15:30:53.1Z host app - - [x a="q\"\]\\"] `)}).wantEvent(t, "m1", "", "id", testID)
	// A subject with dashes is no relay's work.
	decode(t, s, frame(t, "m1", "subject_header", "a - - - b")).wantEvent(t, "m1", "", "subject_header", "a - - - b")
}
