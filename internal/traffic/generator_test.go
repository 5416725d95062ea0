package traffic

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func mustNew(t testing.TB, o Options) *Generator {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var columnNames = map[*pair][kinds][]string{
	generation1: {names(textM1), names(textS1)},
	generation2: {names(textM2), names(textS2)},
	generation3: {names(textM3), names(textS3)},
}

func names(template string) []string { return strings.Split(strings.Trim(template, `"`), `","`) }

// split takes a frame of a built-in format apart and names its values.
func split(t *testing.T, frame []byte, kind Kind, format string) map[string]string {
	t.Helper()
	body, found := bytes.CutPrefix(frame, []byte("<14>"))
	if !found {
		if body, found = bytes.CutPrefix(frame, []byte("<12>")); !found {
			t.Fatalf("no PRI: %q", frame)
		}
	}
	pairs, err := pairsOf(format)
	if err != nil {
		t.Fatal(err)
	}
	names := columnNames[pairs[0]][kind]
	values := strings.Split(strings.TrimSuffix(strings.TrimPrefix(string(body), `"`), `"`), `","`)
	if len(values) != len(names) {
		t.Fatalf("%d values for %d columns: %q", len(values), len(names), frame)
	}
	row := make(map[string]string, len(names))
	for i, name := range names {
		if name, isField := strings.CutPrefix(name, "%("); isField {
			row[strings.TrimSuffix(name, ")s")] = values[i]
		} else if values[i] != name {
			t.Fatalf("literal %q is %q", name, values[i])
		}
	}
	return row
}

func TestNext_sameOptionsSameBytes(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Seed: 7, Format: "m3", Framing: "octet", Header: "rfc5424"}, {Seed: 8, Format: "mixed", Lane: 2, Lanes: 3}} {
		a, b := mustNew(t, o), mustNew(t, o)
		var x, y []byte
		for range 20_000 {
			x, _ = a.Next(x)
			y, _ = b.Next(y)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%+v: two generators differ", o)
		}
		o.Seed++
		c := mustNew(t, o)
		z, _ := c.Next(nil)
		if bytes.HasPrefix(x, z) {
			t.Errorf("%+v: another seed gives the same first frame", o)
		}
	}
}

func TestNext_everyFrameHasItsColumns(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`^[0-9A-Za-z]{6}-([0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})$`)
	for _, format := range []string{"m1", "m2", "m3"} {
		g := mustNew(t, Options{Seed: 1, Format: format, Framing: "none"})
		var frame []byte
		var kind Kind
		longest := 0
		for range 30_000 {
			frame, kind = g.Next(frame[:0])
			longest = max(longest, len(frame))
			if !utf8.Valid(frame) || bytes.ContainsAny(frame, "\x00\r\n") {
				t.Fatalf("%s: bad bytes in %q", format, frame)
			}
			row := split(t, frame, kind, format)
			if !id.MatchString(row["id"]) {
				t.Fatalf("%s: id %q", format, row["id"])
			}
			for _, name := range []string{"incoming_size", "outgoing_size", "bandwidth", "delivery_port"} {
				if v, has := row[name]; has && v != "" {
					if _, err := strconv.ParseUint(v, 10, 64); err != nil {
						t.Fatalf("%s: %s is %q", format, name, v)
					}
				}
			}
			for _, name := range []string{"sender_ip", "delivery_ip", "delivery_interface"} {
				if v, has := row[name]; has && v != "" {
					if a, err := netip.ParseAddr(v); err != nil || a.String() != v {
						t.Fatalf("%s: %s is %q", format, name, v)
					}
				}
			}
			for _, name := range []string{"filtering_host", "domain", "recipient", "status"} {
				if row[name] == "" {
					t.Fatalf("%s: no %s in %q", format, name, frame)
				}
			}
		}
		if longest > maxFrame {
			t.Errorf("%s: a frame of %d bytes, maxFrame is %d", format, longest, maxFrame)
		}
	}
}

func TestNext_statusesFollowTheirMessage(t *testing.T) {
	t.Parallel()
	const frames = 60_000
	type opened struct{ host, domain, recipient, last string }
	seen := make(map[string]*opened)
	// What a status may follow.
	after := map[string]string{
		"delivered": "queued released auto-released", "queued": "queued", "bounced": "queued", "queue-frozen": "queued",
		"queue-bounced": "queue-frozen", "queue-expired": "queued", "queue-removed": "queued", "released": "quarantined",
		"auto-released": "quarantined", "quarantine-removed": "quarantined", "quarantine-expired": "quarantined",
	}
	g := mustNew(t, Options{Seed: 3, Format: "m3", Framing: "none"})
	words := make(map[string]int)
	var frame []byte
	var kind Kind
	for range frames {
		frame, kind = g.Next(frame[:0])
		row := split(t, frame, kind, "m3")
		words[row["status"]]++
		if kind == Message {
			if seen[row["id"]] != nil {
				t.Fatalf("id %q twice", row["id"])
			}
			seen[row["id"]] = &opened{row["filtering_host"], row["domain"], row["recipient"], row["status"]}
			continue
		}
		m := seen[row["id"]]
		if m == nil {
			t.Fatalf("status before its message: %q", frame)
		}
		if m.host != row["filtering_host"] || m.domain != row["domain"] || m.recipient != row["recipient"] {
			t.Fatalf("status is not its message's: %q, %+v", frame, m)
		}
		if !strings.Contains(" "+after[row["status"]]+" ", " "+m.last+" ") {
			t.Fatalf("%q after %q: %q", row["status"], m.last, frame)
		}
		m.last = row["status"]
	}
	for word := range after {
		if words[word] == 0 {
			t.Errorf("no status %q among %d frames", word, frames)
		}
	}
	if share := float64(len(seen)) / frames; share < 0.6 || share > 0.7 {
		t.Errorf("%.3f of the frames are messages", share)
	}
}

// The numbers of doc.go on which benchmarks rest.
func TestNext_shares(t *testing.T) {
	t.Parallel()
	const messages = 200_000
	g := mustNew(t, Options{Seed: 42, Format: "m3", Framing: "none"})
	subjects, senders := make(map[string]bool), make(map[string]int)
	classes, domains, accounts := make(map[string]int), make(map[string]int), make(map[string]int)
	var bounces, foreign, quoted, v6, long, nordns, outgoing int
	var frame []byte
	var kind Kind
	for n := 0; n < messages; {
		if frame, kind = g.Next(frame[:0]); kind != Message {
			continue
		}
		n++
		row := split(t, frame, kind, "m3")
		subjects[row["subject_header"]] = true
		senders[row["sender"]]++
		for _, name := range []string{"sender", "recipient", "auth_user", "identity"} {
			local, domain, _ := strings.Cut(row[name], "@")
			if (local == "" || domain == "") && (row[name] != "" || name == "recipient") {
				t.Fatalf("%s %q: %q", name, row[name], frame)
			}
		}
		classes[row["main_class"]]++
		domains[row["domain"]]++
		if row["sender"] == "" {
			bounces++
		}
		if strings.ContainsFunc(row["subject_header"], func(r rune) bool { return r >= utf8.RuneSelf }) {
			foreign++
		}
		if strings.ContainsAny(row["subject_header"], `",`) {
			quoted++
		}
		if strings.Contains(row["sender_ip"], ":") {
			v6++
		}
		if len(row["id"]) == 23 {
			long++
		}
		if row["sender_host"] == "" {
			nordns++
		}
		if row["auth_user"] != "" {
			outgoing++
			if row["main_class"] == "spam" {
				accounts[row["identity"]]++
			}
		}
	}
	share := func(what string, n int, low, high float64) {
		t.Helper()
		got := float64(n) / messages
		t.Logf("%-20s %.4f", what, got)
		if got < low || got > high {
			t.Errorf("%s: a share of %.4f, want %v to %v", what, got, low, high)
		}
	}
	share("distinct subjects", len(subjects), 0.60, 1)
	share("distinct senders", len(senders), 0.30, 1)
	share("bounces", bounces, 0.04, 0.06)
	share("non-ASCII subjects", foreign, 0.06, 0.15)
	share("quotes or commas", quoted, 0.08, 0.40)
	share("IPv6", v6, 0.08, 0.16)
	share("long ids", long, 0.19, 0.21)
	share("no rDNS", nordns, 0.02, 0.06)
	share("outgoing", outgoing, 0.19, 0.21)
	share("not-spam", classes["not-spam"], 0.55, 0.65)
	share("spam", classes["spam"], 0.22, 0.29)
	for _, class := range []string{"phish", "virus", "unsure", "allow list", "block list", "error", "unknown"} {
		share(class, classes[class], 0.002, 0.06)
	}
	biggest, runs := 0, 0
	for _, n := range domains {
		biggest = max(biggest, n)
	}
	for _, n := range accounts {
		if n >= runMin {
			runs++
		}
	}
	share("biggest domain", biggest, 0.05, 0.15)
	biggest = 0
	for sender, n := range senders {
		if sender != "" {
			biggest = max(biggest, n)
		}
	}
	share("biggest sender", biggest, 0.001, 0.01)
	if len(domains) < 10_000 || runs < 5 {
		t.Errorf("%d domains, %d spam runs", len(domains), runs)
	}
}

func TestID_tenMillionWithoutRepeat(t *testing.T) {
	t.Parallel()
	const lanes, each = 4, 2_500_000
	all := make([]uint64, 0, lanes*each)
	for lane := range lanes {
		w := newWalk(99, lane, lanes)
		for range each {
			all = append(all, w.next())
		}
	}
	slices.Sort(all)
	if last := all[len(all)-1]; last >= idSpace {
		t.Fatalf("%d is not below idSpace", last)
	}
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			t.Fatalf("%d comes twice", all[i])
		}
	}
}

func TestAppendID_f(t *testing.T) {
	t.Parallel()
	f := func(second int64, number uint64, long bool, want string) {
		t.Helper()
		if got := string(appendID(nil, second, number, long)); got != want {
			t.Errorf("appendID(%d, %d, %v) = %q, want %q", second, number, long, got, want)
		}
	}
	f(1680135061, 0, false, "1phfsb-000000-00") // the second of formats.md's 1phfsb-0004M4-O4
	f(1680135061, 15938*idFractions+1492, false, "1phfsb-000494-O4")
	f(1680135061, 61, true, "1phfsb-00000000000-07vw")
}

func TestNext_lanesDoNotMeet(t *testing.T) {
	t.Parallel()
	seen := make(map[string]int)
	for lane := range 3 {
		g := mustNew(t, Options{Seed: 5, Format: "m1", Framing: "none", Lane: lane, Lanes: 3})
		for range 30_000 {
			frame, kind := g.Next(nil)
			if kind != Message {
				continue
			}
			id := split(t, frame, kind, "m1")["id"]
			if other, twice := seen[id]; twice {
				t.Fatalf("id %q in lanes %d and %d", id, other, lane)
			}
			seen[id] = lane
		}
	}
}

func TestNext_framings(t *testing.T) {
	t.Parallel()
	plain := mustNew(t, Options{Seed: 11, Framing: "none"})
	nul := mustNew(t, Options{Seed: 11, Framing: "auto"})
	lf := mustNew(t, Options{Seed: 11, Framing: "lf"})
	octet := mustNew(t, Options{Seed: 11, Framing: "octet"})
	for range 5_000 {
		want, _ := plain.Next(nil)
		if got, _ := nul.Next(nil); string(got) != string(want)+"\x00" {
			t.Fatalf("nul: %q", got)
		}
		if got, _ := lf.Next(nil); string(got) != string(want)+"\n" {
			t.Fatalf("lf: %q", got)
		}
		prefix := []byte("before")
		if got, _ := octet.Next(prefix); string(got) != fmt.Sprintf("before%d %s", len(want), want) {
			t.Fatalf("octet: %q", got)
		}
	}
}

func TestNext_headers(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	f := func(header, pattern string) {
		t.Helper()
		g := mustNew(t, Options{Header: header, Start: start, Framing: "none"})
		wanted := regexp.MustCompile(pattern)
		for range 200 {
			frame, _ := g.Next(nil)
			if !wanted.Match(frame) {
				t.Fatalf("%s: %q does not match %s", header, frame, pattern)
			}
		}
	}
	f("bare", `^<1[24]>"`)
	f("rfc3164", `^<1[24]>Feb  3 04:05:06 (mx|out)\d+\.filter\.example filter\[4711\]: "`)
	f("rfc5424", `^<1[24]>1 2026-02-03T04:05:06\.\d{3}Z (mx|out)\d+\.filter\.example filter 4711 - - "`)
}

func TestNext_separatorShare(t *testing.T) {
	t.Parallel()
	g := mustNew(t, Options{Seed: 2, Format: "m1", Framing: "none", SeparatorShare: 0.01})
	with := 0
	for range 50_000 {
		if frame, _ := g.Next(nil); bytes.Contains(frame, []byte(`"red","green"`)) {
			with++
		}
	}
	if with < 50 || with > 500 {
		t.Errorf("%d of 50,000 frames hold the separator", with)
	}
}

func TestNew_Failure(t *testing.T) {
	t.Parallel()
	f := func(o Options, want string) {
		t.Helper()
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v): %v, want %q", o, err, want)
		}
	}
	f(Options{Format: "m9"}, `format "m9"`)
	f(Options{Framing: "crlf"}, `framing "crlf"`)
	f(Options{Header: "gelf"}, `header "gelf"`)
	f(Options{SeparatorShare: 0.5}, `separator share of 0.5`)
	f(Options{Lane: 3, Lanes: 3}, `lane 3 of 3`)
	f(Options{Step: -1}, `step of -1ns`)
}

func TestNext_allocatesNothing(t *testing.T) {
	for _, format := range Formats() {
		g := mustNew(t, Options{Format: format, Framing: "octet", Header: "rfc5424"})
		buffer := make([]byte, 0, maxFrame)
		if n := testing.AllocsPerRun(20_000, func() { g.Next(buffer) }); n != 0 {
			t.Errorf("%s: %v allocations a frame", format, n)
		}
	}
}

func TestWords_holdNoSeparator(t *testing.T) {
	t.Parallel()
	v := vocabulary()
	for _, list := range [][]string{
		adjectives, nouns, tails, tlds, wellKnown, firstNames, lastNames, foreignNames, roles, numberedSubjects, plainSubjects,
		quotedSubjects, foreignSubjects, bounceSubjects, spamSubjects, phishSubjects, virusSubjects, filteringHosts, countries,
		remoteReplies, deferrals, failures, v.names, v.locals, v.customers, v.others,
	} {
		for _, s := range list {
			if strings.Contains(s, `","`) || strings.HasSuffix(s, `",`) || strings.ContainsAny(s, "\x00\r\n") {
				t.Errorf("%q would break a frame", s)
			}
		}
	}
	for _, names := range [][]string{v.customers, v.others} {
		seen := make(map[string]bool)
		for _, name := range names {
			if seen[name] {
				t.Errorf("domain %q twice", name)
			}
			seen[name] = true
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, format := range Formats() {
		b.Run("format="+format, func(b *testing.B) {
			g := mustNew(b, Options{Format: format})
			buffer := make([]byte, 0, 1<<20)
			var bytes int64
			b.ReportAllocs()
			for b.Loop() {
				if cap(buffer)-len(buffer) < maxFrame {
					bytes += int64(len(buffer))
					buffer = buffer[:0]
				}
				buffer, _ = g.Next(buffer)
			}
			b.SetBytes((bytes + int64(len(buffer))) / int64(b.N))
		})
	}
}
