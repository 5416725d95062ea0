package ingester

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Who writes a mail writes its subject and its sender, and with them bytes into
// the log line of the filter, which escapes nothing. These tests let such a text
// hold a second frame, complete and well formed, and say for each framing whether
// it becomes an event.

const forgedID = 666_666

// forgeries are texts that hold a forged frame. lf says whether a line feed, an
// optional octet count and a priority stand before it: all that a reader has that
// splits at line feeds.
func forgeries() (list []forgery) {
	body := m1(testID(forgedID), "forged")
	frame := "<22>" + body
	count := fmt.Sprintf("%d ", len(frame))
	f := func(text string, lf bool, flags ...string) {
		list = append(list, forgery{text: text, lf: lf, flags: flags})
	}
	f("\n"+frame, true)
	f("\r\n"+frame+"\r\n", true)
	f("\n\n\r\n"+frame+"\n", true)
	f("\n"+count+frame, true)
	f(count+frame, false)
	f(" "+count+frame+"\n ", false)
	f(`"`+"\n"+frame+"\n"+`<22>"`, true)
	f("\n"+frame+"\n"+frame+"\n"+frame, true)
	f("\n<22>Mar 30 00:11:01 filter1 app[1]: "+body, true)
	f("\n<22>1 2023-03-30T00:11:01Z filter1 app - - - "+body, true)
	f("\n"+body, false) // no priority
	f("\n\xEF\xBB\xBF"+frame, false)
	f("\xEF\xBB\xBF"+frame, false)
	f("\r"+frame+"\r", false)
	f("\v"+frame+"\f"+frame, false)
	f("\u0085"+frame+"\u2028"+frame, false)
	// What is no NUL and no line feed, though somebody's decoder may think so.
	f("\xC0\x80"+frame, false, "bad_utf8")
	f("\xC0\x8A"+frame+"\xE0\x80\x8A"+frame, false, "bad_utf8")
	f("\xF0\x80\x80\x80"+frame, false, "bad_utf8")
	f(`\x00`+frame+`%00`+frame+"&#0;"+frame+`\n`+frame, false)
	f("=00=0A"+frame, false)
	return list
}

type forgery struct {
	text  string
	lf    bool
	flags []string // beside ambiguous
}

// forgedIn is an honest frame with the text as its subject, or as its sender's name.
func forgedIn(column string, id int, text string) string {
	subject, from := "subject", `"Doe, J" <sender@example.org>`
	if column == "subject_header" {
		subject = text
	} else {
		from = `"` + text + `" <sender@example.org>`
	}
	return "<22>" + quoted(testID(id), "filter1.example.net", "sender@example.org", "recipient@example.com", "example.com", "1680135061",
		"mail.example.org", "mail.example.org", "192.0.2.1", "23533", "24100", "delivered", "ok", "Combined (0.02)",
		from, "recipient@example.com", "", subject)
}

// framed is a frame as a sender of a mode writes it.
func framed(mode, frame string) string {
	switch mode {
	case "octet":
		return fmt.Sprintf("%d %s", len(frame), frame)
	case "lf":
		return frame + "\n"
	}
	return frame + "\x00"
}

// forgedListeners are all framings. The silence that ends a frame in auto is long:
// the tests split frames.
func forgedListeners() (lines string) {
	for _, mode := range []string{"nul", "octet", "lf", "auto"} {
		lines += fmt.Sprintf("  - {name: %s, address: 'tcp://127.0.0.1:0', framing: %s, frame_idle: 1m}\n", mode, mode)
	}
	return lines + "  - {name: udp, address: 'udp://127.0.0.1:0'}\n"
}

// TestForged_Contained: with framing nul and octet, in datagrams, by RELP, and in auto from a
// sender that counts octets or has ended a frame with NUL, a forged frame stays in
// the text that holds it: one event, flagged, with all its bytes.
func TestForged_Contained(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "forged-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := newRig(t, forgedListeners()+relay+"  - {name: local, address: 'unixgram://"+dir+"/socket'}\n", "")
	type sent struct {
		name  string
		frame string
		forgery
	}
	byID, honestIDs, id := map[string]sent{}, map[string]bool{}, 0
	one := func(listener, mode string, before bool, column string, f forgery) {
		good := func() string {
			id++
			honestIDs[testID(id)] = true
			return "<22>" + m1(testID(id), "honest")
		}
		var frames []string
		if before {
			frames = append(frames, good())
		}
		id++
		hostile := forgedIn(column, id, f.text)
		byID[testID(id)] = sent{fmt.Sprintf("%s, %s frames, %q in %s", listener, mode, f.text[:10], column), hostile, f}
		frames = append(frames, hostile, good())
		if mode != "datagram" && mode != "counted" {
			for i := range frames {
				frames[i] = framed(mode, frames[i])
			}
		}
		if listener == "relay" {
			if _, err := io.WriteString(r.dialRELP(), strings.Join(frames, "\x00")); err != nil {
				t.Fatal(err)
			}
			return
		}
		r.send(listener, frames...)
	}
	// A NUL ends a frame where NUL is what ends frames; elsewhere it is a byte.
	nul := forgery{text: "\x00<22>" + m1(testID(forgedID), "forged"), flags: []string{"nul_byte"}}
	for _, column := range []string{"subject_header", "from_header"} {
		for _, f := range append(forgeries(), nul) {
			one("octet", "octet", false, column, f)
			one("auto", "octet", false, column, f)
			one("udp", "datagram", false, column, f)
			one("local", "datagram", false, column, f)
			if f.text != nul.text {
				one("nul", "nul", false, column, f)
				one("relay", "counted", false, column, f)
				one("auto", "nul", true, column, f)
			}
		}
	}
	r.within("all are published", func(a Account) bool { return a.Received == uint64(id) })
	if a := r.drained(); a.Received != uint64(id) || a.Published != uint64(id) {
		t.Fatalf("of %d frames: %+v", id, a)
	}
	for _, e := range r.read(id) {
		if honestIDs[e["id"]] {
			e.want(t, "subject_header", "honest", "flags", "")
			delete(honestIDs, e["id"])
			continue
		}
		s, ok := byID[e["id"]]
		if !ok {
			t.Errorf("an event that nobody sent, or one that came twice: %q", e)
			continue
		}
		delete(byID, e["id"])
		flags := append([]string{"ambiguous"}, s.flags...)
		if e["raw"] != s.frame || e["flags"] != strings.Join(flags, " ") || e["listener"] != strings.Split(s.name, ",")[0] {
			t.Errorf("%s: flags %q, want %q; listener %s, raw %q, want %q", s.name, e["flags"], flags, e["listener"], e["raw"], s.frame)
		}
	}
	if len(byID) != 0 || len(honestIDs) != 0 {
		t.Errorf("%d hostile and %d honest frames are missing", len(byID), len(honestIDs))
	}
}

// TestForged_LF: where a line feed ends frames nothing in the bytes tells a forged
// frame from an honest one, so it becomes an event, and what it was cut out of a
// reject. That is so in lf always, and in auto on the first frame of a connection,
// and on every one from a sender that ends its frames with LF.
func TestForged_LF(t *testing.T) {
	t.Parallel()
	r := newRig(t, forgedListeners(), "")
	id, whole, cut := 0, map[string]string{}, 0
	halves := map[string]bool{} // a quote before the line feed makes the first half whole
	one := func(listener, end string, before bool, f forgery, through bool) {
		var text string
		if before {
			id++
			whole[testID(id)] = "honest"
			text = "<22>" + m1(testID(id), "honest") + end
		}
		id++
		frame := forgedIn("subject_header", id, f.text)
		switch {
		case through && f.text[0] == '"':
			halves[testID(id)] = true
		case through:
			cut++
		default:
			whole[testID(id)] = f.text
		}
		r.send(listener, text+frame+end)
	}
	for _, f := range forgeries() {
		one("auto", "\n", false, f, f.lf)
		one("auto", "\n", true, f, f.lf)
		one("auto", "\x00", false, f, f.lf)
		// In lf the rest of the text is a frame of its own whatever it is.
		if f.lf || !strings.Contains(f.text, "\n") {
			one("lf", "\n", false, f, f.lf && !strings.Contains(f.text, "<22> "))
		}
	}
	r.within("all are taken", func(a Account) bool { return a.Published >= uint64(len(whole)+len(halves)+cut) })
	a := r.drained()
	forged, rejects := 0, 0
	for _, e := range r.read(int(a.Published + a.RejectedTotal())) {
		switch {
		case e["kind"] == "reject":
			rejects++
		case e["id"] == testID(forgedID):
			forged++
		case whole[e["id"]] == "honest":
			e.want(t, "subject_header", "honest", "flags", "")
		case halves[e["id"]]:
			e.want(t, "subject_header", "")
		case whole[e["id"]] == "":
			t.Errorf("a frame that was cut is an event: %q", e)
		case e["raw"] != "" && !strings.HasSuffix(e["raw"], whole[e["id"]]+`"`):
			t.Errorf("%q is not the end of %q", whole[e["id"]], e["raw"])
		}
	}
	if forged < cut+len(halves) || rejects < cut || cut == 0 || len(halves) == 0 {
		t.Errorf("%d frames were cut; %d forged events and %d rejects", cut, forged, rejects)
	}
}

// TestForged_Split: where TCP cuts a hostile frame changes nothing, at any byte.
func TestForged_Split(t *testing.T) {
	t.Parallel()
	r := newRig(t, forgedListeners(), "")
	text := "\r\n<22>" + m1(testID(forgedID), "forged") + "\n7 <22>x,y\n<22>\xEF\xBB\xBF\xC0\x80\u2028"
	var splits atomic.Int64
	var senders sync.WaitGroup
	for at, mode := range []string{"nul", "octet", "lf", "auto"} {
		senders.Go(func() {
			c := r.dial(mode)
			bytes := &r.listeners[at].Stats().Bytes
			read := uint64(0)
			write := func(p string) {
				if _, err := io.WriteString(c, p); err != nil {
					t.Error(err)
				}
				read += uint64(len(p))
				for end := time.Now().Add(patience); bytes.Load() != read; time.Sleep(20 * time.Microsecond) {
					if time.Now().After(end) {
						t.Errorf("%s: %d bytes are read of %d", mode, bytes.Load(), read)
						return
					}
				}
			}
			write(framed(mode, "<22>"+m1(testID(1), "first")))
			frame := ""
			for i := 1; ; i++ {
				id := 1000*(at+1) + i
				frame = framed(mode, forgedIn("subject_header", id, text))
				if i == len(frame) || t.Failed() {
					break
				}
				write(frame[:i])
				write(frame[i:])
				splits.Add(1)
			}
			c.Close()
		})
	}
	senders.Wait()
	r.within("all is acknowledged", func(a Account) bool { return a.InFlight == 0 && a.Received > uint64(splits.Load()) })
	a := r.drained()
	events := map[string]map[string]int{"nul": {}, "octet": {}, "lf": {}, "auto": {}}
	rejects := map[string]int{}
	for _, e := range r.read(int(a.Published + a.RejectedTotal())) {
		if e["kind"] == "reject" {
			rejects[e["listener"]]++
			continue
		}
		events[e["listener"]][e["id"]]++
	}
	for mode, ids := range events {
		n, forged := 0, ids[testID(forgedID)]
		for id, times := range ids {
			if id != testID(forgedID) {
				n++
				if times != 1 {
					t.Errorf("%s: %s is there %d times", mode, id, times)
				}
			}
		}
		want := len(framed(mode, forgedIn("subject_header", 1001, text)))
		if mode == "lf" {
			// Each frame is cut in four: the honest beginning, the forged event, and
			// two pieces that are no format.
			if n != 1 || forged != want-1 || rejects[mode] != 3*(want-1) {
				t.Errorf("lf: %d honest events, %d forged and %d rejects of %d frames", n, forged, rejects[mode], want-1)
			}
			continue
		}
		if n != want || forged != 0 || rejects[mode] != 0 {
			t.Errorf("%s: %d events and %d forged ones, %d rejects; want %d events", mode, n, forged, rejects[mode], want)
		}
	}
}
