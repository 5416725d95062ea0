package format

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

func TestParseIP_AsNetip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(text string) {
		t.Helper()
		want, err := netip.ParseAddr(text)
		ok := err == nil && want.Zone() == ""
		got, gotOK := parseIP([]byte(text))
		if gotOK != ok || ok && got.Unmap() != want.Unmap() {
			t.Fatalf("%q: %v, %v; want %v, %v", text, got, gotOK, want, err)
		}
	}
	for _, text := range []string{"", ":", "::", ":::", "1::", "::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
		"::192.0.2.1", "::ffff:192.0.2.1", "1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:7:192.0.2.1", "::192.0.2", "12345::", "g::", "1:", ":1", "192.0.2.01", "192.0.2.", ".1.2.3", "1..2.3", "1.2.3.4.5", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1:2:3:4:5:6:7::8"} {
		check(text)
	}
	const alphabet = "0123456789abcdefF:::..x"
	for range 20000 {
		b := make([]byte, rng.IntN(24))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		check(string(b))
		var a [16]byte
		for i := range a {
			if rng.IntN(3) == 0 {
				a[i] = byte(rng.Uint32())
			}
		}
		check(netip.AddrFrom16(a).String())
		check(netip.AddrFrom4([4]byte(a[:4])).String())
	}
}

func TestParseTime_AsTimePackage(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		want := time.UnixMilli(rng.Int64N(schema.MaxMillis)).In(time.FixedZone("", (rng.IntN(113)-56)*900))
		for _, layout := range []string{"2006-01-02 15:04:05.000-07:00", "2006-01-02T15:04:05.000Z07:00", "2006-01-02 15:04:05.000000 -0700", "2006-01-02 15:04:05,000-07:00"} {
			text := want.Format(layout)
			if want.Year() < 1970 || want.Year() > 2299 {
				continue
			}
			got, ok := parseTime([]byte(text))
			if !ok || !got.zoned || got.millis != want.UnixMilli() {
				t.Fatalf("%q: %+v, %v; want %d", text, got, ok, want.UnixMilli())
			}
		}
	}
	for text, want := range map[string]int64{"0": 0, "1680135061": 1680135061000, "1680135061.1": 1680135061100, "1680135061.9999": 1680135061999, "1680135061123": 1680135061123,
		"2023-03-30 00:11": 1680135060000, "2024-02-29 00:00:00": 1709164800000, "2000-02-29T00:00:00": 951782400000, "2023-03-30 00:11:01 UTC": 1680135061000, "2023-03-30 00:11:01+01": 1680131461000} {
		if got, ok := parseTime([]byte(text)); !ok || got.millis != want {
			t.Errorf("%q: %+v, %v; want %d", text, got, ok, want)
		}
	}
	for _, bad := range []string{"", ".5", "1.", "1.x", "12-", "2023-03-30", "2023-03-30 00", "2023-03-30 0:11:01", "2023-3-30 00:11:01", "1900-02-29 00:00:00", "1969-12-31 23:59:59", "2300-01-01 00:00:00",
		"2023-03-30 00:11:61", "2023-03-30 00:11:01.", "2023-03-30 00:11:01+", "2023-03-30 00:11:01+0", "2023-03-30 00:11:01+16:00", "2023-03-30 00:11:01+01:60", "2023-03-30 00:11:01Zz", "1970-01-01 00:00:00+01:00", "12345678901234"} {
		if got, ok := parseTime([]byte(bad)); ok {
			t.Errorf("%q: %+v; want none", bad, got)
		}
	}
}

func TestParseUint(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"0": 0, "007": 7, "+7": 7, "12.0": 12, "12.": 12, "12.000": 12, "65535": 65535} {
		if got, ok := parseUint([]byte(text), 65535); !ok || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, bad := range []string{"", "+", "-1", "65536", "1e3", "0x10", "12.5", "1 2", "99999999999999999999", "18446744073709551616", "٣"} {
		if got, ok := parseUint([]byte(bad), 65535); ok {
			t.Errorf("%q: %d; want none", bad, got)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	for text, want := range map[string]string{
		"delivered": "delivered", "Delivered": "delivered", "queue_frozen": "queue-frozen", "Queued Frozen": "queue-frozen", "queued-frozen": "queue-frozen", "frozen": "queue-frozen",
		"queued": "queued", "Auto-released": "auto-released", "temporarily rejected": "temporarily-rejected", "Accepted": "accepted", "not accepted": "not-accepted",
		"Brand  New__Word ": "brand-new-word", "": "", "-": "", "None": "", "ÄRGER": "Ärger",
	} {
		o := decode(t, s, frame(t, "s1", "status", text))
		if got := o.get("status_norm"); got != strings.Replace(want, "Ärger", "Ärger", 1) && text != "ÄRGER" {
			t.Errorf("status %q: status_norm %q; want %q", text, got, want)
		}
		if raw := o.get("status"); want != "" && raw != text {
			t.Errorf("status %q became %q", text, raw)
		}
	}
	for text, want := range map[string]string{
		"Spam": "spam", "Not-Spam": "not-spam", "not spam": "not-spam", "ham": "not-spam", "Phish": "phish", "phishing": "phish", "Virus": "virus", "Error": "error", "unsure": "unsure", "Unknown": "unknown",
		"Block list": "block-list", "blacklisted": "block-list", "Blacklist": "block-list", "Allow list": "allow-list", "whitelisted": "allow-list", "allow-list": "allow-list", "oversize": "oversize", "Locked": "locked", "New Class": "new-class", "None": "",
	} {
		if got := decode(t, s, frame(t, "m3", "main_class", text)).get("class_norm"); got != want {
			t.Errorf("main_class %q: class_norm %q; want %q", text, got, want)
		}
	}
	code := customSet(t, Options{}, &Format{Name: "c", Kind: schema.Message, Template: compiled(t, "%(id)s,%(classification_code)s,%(main_class)s")})
	decode(t, code, []byte(testID+",blacklisted,")).wantEvent(t, "c", "", "class_norm", "block-list", "classification_code", "blacklisted")
	decode(t, code, []byte(testID+",blacklisted,Spam")).wantEvent(t, "c", "", "class_norm", "spam")

	classes, err := schema.NewClassTable([]schema.OwnClass{{Word: "Grey List", Class: "greylisted", Group: schema.TemporarilyRejected}, {Word: "ham", Class: "allow-list"}})
	if err != nil {
		t.Fatal(err)
	}
	own := newSet(t, Options{Classes: classes})
	for text, want := range map[string]string{"grey list": "greylisted", "greylisted": "greylisted", "GREY_LIST": "greylisted", "Ham": "allow-list", "Spam": "spam", "graylist": "graylist"} {
		if got := decode(t, own, frame(t, "m3", "main_class", text)).get("class_norm"); got != want {
			t.Errorf("main_class %q: class_norm %q with classes of one's own; want %q", text, got, want)
		}
	}
}

// A HELO, an envelope address or a classification with separators in it never
// shifts sizes, addresses and status.
func TestSurplusIsPinned(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	f := func(name string, pins []string, changes ...string) {
		t.Helper()
		o := decode(t, s, frame(t, name, changes...))
		o.wantEvent(t, name, "ambiguous", pins...)
		o.wantEvent(t, name, "ambiguous", changes...)
	}
	f("m1", pinnedM1, "helo", `x","y`)
	f("m1", pinnedM1, "helo", `x","y","z","","1`)
	f("m1", pinnedM1, "helo", `x","y`, "subject_header", `a","b`)
	f("m1", pinnedM1, "sender", `"a","b"@x.org`)
	f("m1", pinnedM1, "sender", `"a","b"@x.org`, "helo", `x","y`, "to_header", `"a@x","b@y"`, "subject_header", `","`)
	f("m3", []string{"id", testID, "incoming_size", "23533", "bandwidth", "47073", "status", "quarantined", "main_class", "Spam"}, "subject_header", strings.Repeat(`","`, 300))
	f("s3", []string{"delivery_ip", "192.0.2.9", "delivery_port", "25", "status", "delivered"}, "delivery_data", `550 a","b","c`)
	f("s2", []string{"delivery_interface", "198.51.100.7", "delivery_fqdn", "mx.example.com"}, "delivery_data", `550 a","b`)
	// A forged address in the HELO cannot take the sizes along.
	o := decode(t, s, frame(t, "m1", "helo", `x","198.51.100.66`))
	o.wantEvent(t, "m1", "ambiguous", pinnedM1...)
	// Nor can a subject, whatever it looks like.
	decode(t, s, frame(t, "m1", "incoming_size", "None", "subject_header", `x","198.51.100.66","1","2","delivered`)).wantEvent(t, "m1", "ambiguous", "sender_ip", "192.0.2.1", "incoming_size", "", "outgoing_size", "23540")
	// Where so many are surplus that the columns are not found, no event is made up.
	decode(t, s, frame(t, "m1", "helo", strings.Repeat(`x","`, 60))).wantEvent(t, "m1", "ambiguous", pinnedM1...)
	decode(t, s, frame(t, "m1", "helo", strings.Repeat(`x","`, 100))).wantReject(t, schema.ReasonColumnCount, "118 values")
	// Bad values do not move when there is surplus elsewhere.
	decode(t, s, frame(t, "m1", "sender_ip", "unknown", "subject_header", `a","b`)).wantEvent(t, "m1", "ambiguous bad_ip !sender_ip", "incoming_size", "23533", "subject_header", `a","b`)
}

// Text behind the free text is pinned by the end of the frame.
func TestSurplusBeforeTypedEnd(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{}, &Format{Name: "x", Kind: schema.Message, Template: compiled(t, `[%(id)s|%(subject_header)s|%(incoming_size)s|%(status)s]`)})
	decode(t, s, []byte(`[`+testID+`|a|b|1|2|25|sent]`)).wantEvent(t, "x", "ambiguous", "subject_header", "a|b|1|2", "incoming_size", "25", "status", "sent")
	typed := customSet(t, Options{}, &Format{Name: "x", Kind: schema.Message, Template: compiled(t, `[%(id)s|%(incoming_size)s|%(status)s]`)})
	decode(t, typed, []byte(`[`+testID+`|1|2|sent]`)).wantReject(t, schema.ReasonColumnCount, "4 values")
}

func TestOverlappingSeparators(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	decode(t, s, frame(t, "m1", "helo", `x",`)).wantEvent(t, "m1", "ambiguous", append(pinnedM1, "helo", `x",`)...)
	decode(t, s, frame(t, "m1", "cc_header", `,"x`)).wantEvent(t, "m1", "ambiguous", "cc_header", `,"x`)
	decode(t, s, frame(t, "m1", "subject_header", `,"x",`)).wantEvent(t, "m1", "ambiguous", "subject_header", `,"x",`)
}

// Whatever values hold, as long as the separator stands nowhere else in the
// frame, rendering and decoding gives them back.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	s := newSet(t, Options{Nulls: []string{""}})
	const alphabet = "aZ09 ,,\"\"'\\%()é\n\t\x00\xff<>@-.:;"
	text := func() string {
		var b strings.Builder
		for range rng.IntN(12) {
			b.WriteByte(alphabet[rng.IntN(len(alphabet))])
		}
		return b.String()
	}
	done := 0
	for range 20000 {
		f := Builtin()[rng.IntN(6)]
		values := messageValues()
		if f.Kind == schema.Status {
			values = statusValues()
		}
		for _, v := range f.Template.Variables() {
			if classOf(&f.Kind.Fields[f.Kind.Index(v)]) == classText {
				values[v] = text()
			}
		}
		body := f.Template.Append(nil, func(name string) []byte { return []byte(values[name]) })
		l := f.Template.literals
		if countOverlapping(body[len(l[0]):len(body)-len(l[len(l)-1])], l[1]) != len(l)-2 {
			continue
		}
		done++
		o := decode(t, s, body)
		if o.Reason != "" {
			t.Fatalf("%q: %s, %s", body, o.Reason, o.Detail)
		}
		for _, v := range f.Template.Variables() {
			i := f.Kind.Index(v)
			if classOf(&f.Kind.Fields[i]) != classText {
				continue
			}
			if got := string(o.event.Text(i)); got != values[v] {
				t.Fatalf("%q: %s is %q; want %q", body, v, got, values[v])
			}
		}
		if o.Format.Name != f.Name || o.flags() != "" {
			t.Fatalf("%q: format %s, flags %q; want %s and none", body, o.Format.Name, o.flags(), f.Name)
		}
	}
	if done < 2000 {
		t.Fatalf("only %d frames were tried", done)
	}
}

func countOverlapping(b, sep []byte) (n int) {
	for i := range b {
		if strings.HasPrefix(string(b[i:min(i+len(sep), len(b))]), string(sep)) {
			n++
		}
	}
	return n
}

// split3 finds what a search byte by byte finds.
func TestSplit3_AsPlainSearch(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	sep := []byte(`","`)
	const alphabet = `",",",ab#-` + "\x00\x01\xad\xa2"
	for range 20000 {
		b := make([]byte, rng.IntN(280))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		from := rng.IntN(len(b) + 1)
		got, overlap := split(b, from, len(b), sep, nil, maxPieces)
		var want []span
		start := from
		for i := from; i+3 <= len(b); i++ {
			if i >= start && string(b[i:i+3]) == `","` {
				want = append(want, span{start, i})
				start = i + 3
			}
		}
		want = append(want, span{start, len(b)})
		if len(got) != len(want) || overlap != (countOverlapping(b[from:], sep) > len(want)-1) {
			t.Fatalf("%q from %d: %v, overlap %v; want %v", b, from, got, overlap, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%q from %d: %v; want %v", b, from, got, want)
			}
		}
	}
}
