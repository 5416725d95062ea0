package ingester

import (
	"fmt"
	"io"
	"net"
	"sort"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

// The frames of the design's list of forty nasty frames, by their numbers, that
// are about framing or the header: through a real socket and back out of Kafka.
// Package format has the others.

const idOne = "1phfsb-000001-O4" // testID(1)

// frames are listeners of every framing whose idle time is out of the way.
const frameListeners = "  - {name: auto, address: 'tcp://127.0.0.1:0', frame_idle: 30s}\n" +
	"  - {name: idle, address: 'tcp://127.0.0.1:0', frame_idle: 20ms}\n" +
	"  - {name: nul, address: 'tcp://127.0.0.1:0', framing: nul}\n" +
	"  - {name: lf, address: 'tcp://127.0.0.1:0', framing: lf}\n" +
	"  - {name: octet, address: 'tcp://127.0.0.1:0', framing: octet}\n" +
	"  - {name: udp, address: 'udp://127.0.0.1:0'}\n"

// fed sends the pieces over one connection, each in a read of its own, closes it
// and returns the events, ordered by kind and id.
func fed(t *testing.T, listener string, events int, pieces ...string) (*rig, []event) {
	t.Helper()
	r := newRig(t, frameListeners, "")
	c := r.dial(listener)
	i := 0
	for at, a := range r.Addrs() {
		if a.Name == listener {
			i = at
		}
	}
	read := uint64(0)
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			t.Fatal(err)
		}
		read += uint64(len(p))
		within(t, "the piece is read", func() bool {
			return r.listeners[i].Stats().Bytes.Load() >= read || r.listeners[i].Stats().Open.Load() == 0
		},
			func() string { return fmt.Sprint(r.listeners[i].Stats().Bytes.Load()) })
	}
	c.Close()
	r.within(fmt.Sprintf("%d events", events), func(a Account) bool { return a.Published+a.RejectedTotal() >= uint64(events) })
	r.drained()
	got := r.read(events)
	sort.Slice(got, func(i, j int) bool {
		if got[i]["kind"] != got[j]["kind"] {
			return got[i]["kind"] < got[j]["kind"]
		}
		return got[i]["id"]+got[i]["raw"] < got[j]["id"]+got[j]["raw"]
	})
	return r, got
}

func a(subject string) string { return "<14>" + m1(testID(1), subject) }
func b(subject string) string { return "<14>" + m1(testID(2), subject) }

func TestFrame01to03_Trailers(t *testing.T) {
	t.Parallel()
	for _, trailer := range []string{"\x00", "", "\n\x00", "\x00\n", "\r\n"} {
		_, got := fed(t, "udp", 1, a("subj")+trailer)
		got[0].want(t, "id", idOne, "subject_header", "subj", "facility", "1", "severity", "6", "flags", "")
		if trailer == "" {
			continue // without one two are one, on TCP
		}
		_, got = fed(t, "auto", 2, a("subj")+trailer, b("next")+"\x00")
		got[0].want(t, "subject_header", "subj", "flags", "")
		got[1].want(t, "subject_header", "next", "flags", "")
	}
}

func TestFrame04_TwoInOneRead(t *testing.T) {
	t.Parallel()
	for _, l := range []string{"auto", "nul"} {
		_, got := fed(t, l, 2, a("A")+"\x00"+b("B")+"\x00")
		got[0].want(t, "subject_header", "A", "flags", "")
		got[1].want(t, "subject_header", "B", "flags", "")
	}
}

func TestFrame05_AnySplit(t *testing.T) {
	t.Parallel()
	r := newRig(t, frameListeners, "")
	whole := a("in three\nreads") + "\x00"
	c := r.dial("auto")
	n, read := uint64(0), uint64(0)
	write := func(p string) {
		if _, err := io.WriteString(c, p); err != nil {
			t.Fatal(err)
		}
		read += uint64(len(p))
		within(t, "the piece is read", func() bool { return r.listeners[0].Stats().Bytes.Load() == read }, func() string { return "" })
	}
	for first := 1; first < len(whole); first += 3 {
		second := first + (len(whole)-first)/2
		write(whole[:first])
		write(whole[first:second])
		write(whole[second:])
		n++
	}
	r.within("each is one event", func(a Account) bool { return a.Published == n })
	if acc := r.drained(); acc.Received != n {
		t.Errorf("%d frames were received, want %d", acc.Received, n)
	}
	for _, e := range r.read(int(n)) {
		e.want(t, "subject_header", "in three\nreads", "flags", "")
	}
}

func TestFrame06_LFInSubject(t *testing.T) {
	t.Parallel()
	for _, l := range []string{"auto", "nul"} {
		_, got := fed(t, l, 2, a("one\ntwo")+"\x00"+b("one\n\"two")+"\x00")
		got[0].want(t, "subject_header", "one\ntwo")
		got[1].want(t, "subject_header", "one\n\"two")
	}
	// A forged frame behind an LF: one event where NUL ends frames, from the first
	// frame on when the listener says so, from the second when it has to be seen.
	forged := a("x\n" + b("forged"))
	_, got := fed(t, "nul", 1, forged+"\x00")
	got[0].want(t, "id", idOne, "flags", "ambiguous")
	_, got = fed(t, "auto", 2, b("first")+"\x00"+forged+"\x00")
	got[0].want(t, "id", idOne, "flags", "ambiguous")
	got[1].want(t, "subject_header", "first")
	// LF and then silence end a frame too.
	r := newRig(t, frameListeners, "")
	c := r.dial("idle")
	if _, err := io.WriteString(c, a("one\ntwo")+"\n"); err != nil {
		t.Fatal(err)
	}
	r.read(1)[0].want(t, "subject_header", "one\ntwo", "flags", "")
}

func TestFrame07_LF(t *testing.T) {
	t.Parallel()
	for _, l := range []string{"auto", "lf"} {
		for _, end := range []string{"\n", "\r\n"} {
			_, got := fed(t, l, 2, a("A")+end+b("B")+end)
			got[0].want(t, "subject_header", "A", "flags", "")
			got[1].want(t, "subject_header", "B", "flags", "")
		}
	}
}

func TestFrame08_OctetCount(t *testing.T) {
	t.Parallel()
	for _, l := range []string{"auto", "octet"} {
		f := a("a\nb\x00c")
		_, got := fed(t, l, 2, fmt.Sprintf("%d %s", len(f), f), fmt.Sprintf("%d %s", len(f), b("a\nb\x00c")))
		got[0].want(t, "subject_header", "a\nb\uFFFDc", "flags", "nul_byte", "raw", f)
		got[1].want(t, "subject_header", "a\nb\uFFFDc")
	}
}

// closed waits for the listener to close the connection.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the listener did not close the connection: %v", err)
	}
}

func TestFrame09_FrameTooBig(t *testing.T) {
	t.Parallel()
	for _, count := range []string{"99999999999999999999", "1073741824", "65537"} {
		for _, l := range []string{"auto", "octet"} {
			r := newRig(t, frameListeners, "")
			c := r.dial(l)
			if _, err := io.WriteString(c, count+" "+a("big")); err != nil {
				t.Fatal(err)
			}
			closed(t, c)
			e := r.read(1)[0]
			e.want(t, "reason", "frame_too_big", "raw", count+" "+a("big"))
			if !strings.Contains(e["detail"], count) {
				t.Errorf("the detail does not name the count: %q", e["detail"])
			}
		}
	}
}

func TestFrame10_OctetCountShort(t *testing.T) {
	t.Parallel()
	f := a("seven")
	for _, l := range []string{"auto", "octet"} {
		r := newRig(t, frameListeners, "")
		c := r.dial(l)
		if _, err := fmt.Fprintf(c, "%d %s%d %s", len(f)-2, f, len(f), f); err != nil {
			t.Fatal(err)
		}
		closed(t, c)
		got := r.read(2)
		reasons := []string{got[0]["reason"], got[1]["reason"]}
		sort.Strings(reasons)
		if reasons[0] != "bad_frame" || reasons[1] != "short" {
			t.Errorf("%s: reasons are %q", l, reasons)
		}
	}
}

func TestFrame11_EOF(t *testing.T) {
	t.Parallel()
	f := a("cut")
	for _, l := range []string{"auto", "octet"} {
		cut := fmt.Sprintf("%d %s", len(f), f[:len(f)-5])
		_, got := fed(t, l, 1, cut)
		got[0].want(t, "reason", "truncated_eof", "raw", cut, "frame_bytes", fmt.Sprint(len(cut)))
	}
	for _, l := range []string{"auto", "nul", "lf"} {
		_, got := fed(t, l, 1, f)
		got[0].want(t, "subject_header", "cut", "flags", "no_trailer", "raw", f)
		_, got = fed(t, l, 1, f[:len(f)-5])
		got[0].want(t, "reason", "truncated_eof", "raw", f[:len(f)-5], "flags", "no_trailer")
	}
}

func TestFrame12_Oversize(t *testing.T) {
	t.Parallel()
	for l, end := range map[string]string{"auto": "\x00", "nul": "\x00", "lf": "\n"} {
		long := a(strings.Repeat("long ", 14_000)) // 70,000 bytes
		_, got := fed(t, l, 2, long+end+b("next")+end)
		got[0].want(t, "subject_header", "next", "flags", "")
		got[1].want(t, "reason", "oversize", "raw", long[:1024], "frame_bytes", fmt.Sprint(len(long)))
		if !strings.Contains(got[1]["detail"], "max_frame") {
			t.Errorf("the detail does not name the key: %q", got[1]["detail"])
		}
	}
}

func TestFrame13_LargestDatagram(t *testing.T) {
	t.Parallel()
	f := a("")
	subject := strings.Repeat("s", 65504-len(f)-1)
	_, got := fed(t, "udp", 1, a(subject)+"\x00")
	got[0].want(t, "subject_header", subject, "flags", "")
}

func TestFrame14_Empty(t *testing.T) {
	t.Parallel()
	for _, f := range []string{"", "<14>\x00", "\x00\x00\x00", "\n", "<14>", "\xEF\xBB\xBF", "<14>\xEF\xBB\xBF\n"} {
		listeners := []string{"udp", "auto", "lf", "nul"}
		if f == "" {
			listeners = listeners[:1] // nothing is no frame on TCP
		}
		for _, l := range listeners {
			r := newRig(t, frameListeners, "")
			r.send(l, f)
			r.within(fmt.Sprintf("%q is an empty frame on %s", f, l), func(a Account) bool { return a.Dropped[schema.DropEmpty] == 1 && a.Received == 1 })
			if a := r.drained(); a.Received != 1 || a.Published+a.RejectedTotal() != 0 {
				t.Errorf("%q on %s: %+v", f, l, a)
			}
		}
	}
}

func TestFrame15_NoPRI(t *testing.T) {
	t.Parallel()
	for _, l := range []string{"udp", "auto"} {
		_, got := fed(t, l, 1, m1(testID(1), "none")+"\x00")
		got[0].want(t, "id", idOne, "facility", "1", "severity", "5", "flags", "no_pri")
	}
}

func TestFrame16_BadPRI(t *testing.T) {
	t.Parallel()
	for _, pri := range []string{"<>", "<192>", "<999>", "<014>", "<-1>", "<14 "} {
		_, got := fed(t, "udp", 1, pri+m1(testID(1), "bad")+"\x00")
		got[0].want(t, "id", idOne, "facility", "", "severity", "", "flags", "bad_pri", "raw", pri+m1(testID(1), "bad"))
		_, got = fed(t, "auto", 1, pri+m1(testID(1), "bad")+"\x00")
		got[0].want(t, "id", idOne, "flags", "bad_pri")
		_, got = fed(t, "udp", 1, pri+"x")
		got[0].want(t, "reason", "no_template", "raw", pri+"x", "flags", "bad_pri")
	}
}

func TestFrame17to18_BOM(t *testing.T) {
	t.Parallel()
	for _, f := range []string{"<14>\xEF\xBB\xBF" + m1(testID(1), "bom"), "\xEF\xBB\xBF<14>" + m1(testID(1), "bom")} {
		for _, l := range []string{"udp", "auto", "nul", "lf"} {
			end := "\x00"
			if l == "lf" {
				end = "\n"
			}
			_, got := fed(t, l, 1, f+end)
			got[0].want(t, "id", idOne, "facility", "1", "severity", "6", "flags", "bom", "subject_header", "bom")
		}
	}
}

func TestFrame24_NULInSubject(t *testing.T) {
	t.Parallel()
	f := a("before\x00after, it")
	_, got := fed(t, "udp", 1, f+"\x00")
	got[0].want(t, "subject_header", "before\uFFFDafter, it", "flags", "nul_byte", "raw", f)
	for _, l := range []string{"auto", "nul"} {
		_, got := fed(t, l, 2, f+"\x00")
		if got[0]["reason"] == "short" {
			got[0], got[1] = got[1], got[0]
		}
		got[0].want(t, "reason", "no_template", "raw", `after, it"`)
		got[1].want(t, "reason", "short", "raw", strings.SplitN(f, "\x00", 2)[0])
	}
}

func TestFrame37_Relay(t *testing.T) {
	t.Parallel()
	mangled := `<22>Nov 20 15:30:53 localhost "1phfsb-0004M4-O4","filter1.exam offer, 50% off"`
	_, got := fed(t, "auto", 1, mangled+"\n")
	got[0].want(t, "reason", "relay_mangled", "raw", mangled)
	_, got = fed(t, "auto", 1, "<22>Nov 20 15:30:53 relay1 "+m1(testID(1), "relayed")+"\n")
	got[0].want(t, "id", idOne, "syslog_host", "relay1", "subject_header", "relayed", "facility", "2", "severity", "6")
}

func TestFrame38_RFC5424(t *testing.T) {
	t.Parallel()
	_, got := fed(t, "auto", 1, `<14>1 2026-11-20T15:30:53.1Z host app - - [x a="q\"\]\\"] `+m1(testID(1), "5424")+"\x00")
	got[0].want(t, "id", idOne, "syslog_host", "host", "syslog_app", "app", "syslog_pid", "", "structured_data", `x.a=q"]\`, "flags", "")
	for _, bad := range []string{"2026-11-20T15:30:60Z", "2026-11-20T15:30:53.1234567Z"} {
		_, got := fed(t, "udp", 1, "<14>1 "+bad+" host app - - - "+m1(testID(1), "5424"))
		got[0].want(t, "id", idOne, "syslog_host", "host", "subject_header", "5424", "event_time_source", "event", "flags", "bad_header_time")
	}
}

// TestFrame39_Spamdyke: no built-in format reads spamdyke's lines, which have a
// kind of their own to come; until then each is kept whole, with what its header
// says, in whatever variant it comes.
func TestFrame39_Spamdyke(t *testing.T) {
	t.Parallel()
	line := "DENIED_RDNS_MISSING from: spam@mail.spam-source.net to: r@example.com origin_ip: 203.0.113.66 origin_rdns: (unknown) auth: (unknown) encryption: (none) reason: (empty)"
	for _, c := range []struct{ header, body, host string }{
		{"<22>Mar  9 11:10:37 server ", "spamdyke[29207]: " + line, "server"},
		{"<22>Mar 9 11:10:37 server ", "spamdyke[29207]: " + line, "server"},
		{"<22>Mar  9 11:10:37 ", "spamdyke[29207]: " + line, ""},
		{"<22>Mar  9 11:10:37 server ", "spamdyke[29207]: ALLOWED from: a@b to: c@d origin_ip: origin_rdns: (unknown) auth: (unknown) encryption: (none) reason: 250_ok", "server"},
		{"<22>Mar  9 11:10:37 server ", "spamdyke[29207]: ALLOWED from: a@b to: c@d origin_ip: 192.0.2.12 origin_rdns: x auth: u", "server"},
		{"<22>Mar  9 11:10:37 server ", "spamdyke[29207]: ALLOWED from: a@b to: c@d origin_ip: 192.0.2.12 origin_rdns: x auth: x reason: y encryption: TLS reason: (empty)", "server"},
		{"<22>Mar  9 11:10:37 server ", "spamdyke[29207]: ERROR(main()@x.c:1): text", "server"},
	} {
		_, got := fed(t, "udp", 1, c.header+c.body)
		got[0].want(t, "reason", "no_template", "raw", c.header+c.body, "syslog_host", c.host, "syslog_app", "spamdyke", "syslog_pid", "29207", "facility", "2", "severity", "6")
	}
}

// TestFrame40_ICDSoft: the same for the lines of ICDSoft's logs.
func TestFrame40_ICDSoft(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"2021-03-09 12:43:51, from, ",
		`2021-03-09 12:43:51, resp, 554 "Refused. A, b"`,
		"2021-03-09 12:43:51, check, accepted rcpt, h:, r@x, found existing recipient",
		"2021-03-09 12:43:51, result, 90352, success, smtp_auth/did_0+0+1/",
		"2021-03-09 12:43:51, quux, something",
		"from, no date",
	} {
		_, got := fed(t, "lf", 1, line+"\n")
		got[0].want(t, "reason", "no_template", "raw", line, "flags", "no_pri", "facility", "1", "severity", "5")
	}
}
