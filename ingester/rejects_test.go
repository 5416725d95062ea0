package ingester

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/ingester/relp/relptest"
	"millrace/internal/config"
	"millrace/schema"
)

func TestRejectLimit(t *testing.T) {
	t.Parallel()
	peer := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }
	admitted := func(l *rejectLimit, n, times, bytes int, now int64) (ok int) {
		for range times {
			if l.admit(peer(n), bytes, now) {
				ok++
			}
		}
		return ok
	}
	want := func(got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%d rejects are stored, want %d", got, want)
		}
	}
	rows := newRejectLimit(config.RejectLimit{Rows: 10, Interval: time.Second, Peers: 3})
	want(admitted(rows, 1, 100, 50, 0), 10)
	want(admitted(rows, 2, 5, 50, 1), 5) // the first peer's flood leaves it its room
	want(admitted(rows, 3, 100, 50, 2), 10)
	want(admitted(rows, 4, 100, 50, 3), 5) // the listener's limit
	want(admitted(rows, 2, 100, 50, 999), 0)
	want(admitted(rows, 2, 100, 50, 1000), 10) // the next interval

	bytes := newRejectLimit(config.RejectLimit{Bytes: 1000, Interval: time.Second, Peers: 2})
	want(admitted(bytes, 1, 100, 300, 0), 3)
	want(admitted(bytes, 1, 100, 100, 0), 1) // what is left is of use to a smaller one
	want(admitted(bytes, 2, 100, 1001, 0), 0)
	want(admitted(bytes, 2, 1, 1000, 0), 1)
	want(admitted(bytes, 3, 1, 1, 0), 0)

	none := newRejectLimit(config.RejectLimit{Interval: time.Second, Peers: 1})
	want(admitted(none, 1, 100_000, 1<<20, 0), 100_000)

	raised := newRejectLimit(config.RejectLimit{Rows: 10, Interval: time.Second, Peers: 3})
	want(admitted(raised, 1, 100, 50, 0), 10)
	raised.set(config.RejectLimit{Rows: 15, Interval: time.Second, Peers: 3})
	want(admitted(raised, 1, 100, 50, 1), 5)

	many := newRejectLimit(config.RejectLimit{Rows: 1, Interval: time.Second, Peers: 1_000_000})
	for n := range 20_000 {
		many.admit(peer(n), 1, 0)
	}
	if len(many.byPeer) > 10_001 {
		t.Errorf("made-up addresses take the memory of %d peers", len(many.byPeer))
	}
}

// TestRejectLimit_Flood: one peer's garbage is stored up to its limit in rows and in
// bytes, the rest is counted, and another peer's rejects are all stored.
func TestRejectLimit_Flood(t *testing.T) {
	t.Parallel()
	const limit, flood, few = 200, 5000, 100
	listener := "  - {name: %s, address: '%s://127.0.0.1:0', reject_limit: {rows: %d, bytes: %s, interval: 1h}, %s}\n"
	r := newRig(t, fmt.Sprintf(listener, "rows", "tcp", limit, "0", "framing: lf")+fmt.Sprintf(listener, "bytes", "udp", 0, "10KiB", "receive_buffer: 64MiB"), "")
	garbage := strings.Repeat("x", 99)
	from := func(address, to string, times int) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		if to == "bytes" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(address)}
		}
		c, err := d.Dial(r.addr[to].Network(), r.addr[to].String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for i := range times {
			if _, err := fmt.Fprintf(c, "%s %s\n", address, garbage); err != nil {
				t.Error(err)
				return
			}
			if to == "bytes" && i%50 == 49 {
				time.Sleep(time.Millisecond) // let the reader have the processor
			}
		}
	}
	var senders sync.WaitGroup
	for _, to := range []string{"rows", "bytes"} {
		senders.Go(func() { from("127.0.0.1", to, flood) })
		senders.Go(func() { from("127.0.0.2", to, 5) })
		senders.Go(func() { from("127.0.0.3", to, 5) })
	}
	senders.Wait()
	r.within("all is taken", func(a Account) bool { return a.Received == 2*(flood+10) })
	r.drained()

	stored, bytes := map[string]int{}, map[string]int{}
	total := r.Account()
	for _, e := range r.read(int(total.Published + total.RejectedTotal())) {
		stored[e["listener"]+e["peer_ip"]]++
		bytes[e["listener"]+e["peer_ip"]] += len(e["raw"]) + len(e["detail"])
	}
	if stored["rows127.0.0.1"] != limit {
		t.Errorf("%d rejects of the flood are stored, the limit is %d", stored["rows127.0.0.1"], limit)
	}
	if n := bytes["bytes127.0.0.1"]; n > 10<<10 || n < 9<<10 {
		t.Errorf("%d bytes of the flood are stored, the limit is %d", n, 10<<10)
	}
	for _, quiet := range []string{"rows127.0.0.2", "rows127.0.0.3", "bytes127.0.0.2", "bytes127.0.0.3"} {
		if stored[quiet] != 5 {
			t.Errorf("%s: %d rejects are stored, 5 were sent", quiet, stored[quiet])
		}
	}
	for _, in := range r.inputs {
		a, name := in.ledger.read(), string(in.name)
		kept := stored[name+"127.0.0.1"] + 10
		if !a.Closes() || a.RejectedTotal() != uint64(kept) || a.Dropped[schema.DropRejectLimit]+a.Dropped[schema.DropKernel] != uint64(flood+10-kept) || a.Dropped[schema.DropRejectLimit] == 0 {
			t.Errorf("%s: %d are stored, the account is %+v", name, kept, a)
		}
	}
	if n := strings.Count(r.log.String(), "FRAMES ARE LOST"); n < 2 || n > 4 {
		t.Errorf("%d lines about it:\n%s", n, r.log)
	}
	for _, part := range []string{"millrace template test", "limit_rows=200", "limit_bytes=10KiB", "limit_interval=1h0m0s"} {
		if !strings.Contains(r.log.String(), part) {
			t.Errorf("the log has no %s:\n%s", part, r.log)
		}
	}
}

// TestRejectLimit_Reload: who raises a limit that loses events loses no more to a restart.
func TestRejectLimit_Reload(t *testing.T) {
	t.Parallel()
	listener := "  - {name: tcp, address: 'tcp://127.0.0.1:0', framing: lf, reject_limit: {rows: %d, interval: 1h}}\n"
	r := newRig(t, fmt.Sprintf(listener, 2), "")
	r.send("tcp", strings.Repeat("garbage\n", 10))
	r.within("what is beyond the limit is dropped", func(a Account) bool {
		return a.Rejected[schema.ReasonNoTemplate] == 2 && a.Dropped[schema.DropRejectLimit] == 8
	})
	if err := r.Reload(parse(t, r.broker.Addr, fmt.Sprintf(listener, 100), "")); err != nil {
		t.Fatal(err)
	}
	r.send("tcp", strings.Repeat("garbage\n", 10))
	r.within("all is stored", func(a Account) bool { return a.Rejected[schema.ReasonNoTemplate] == 12 })
	r.drained()
}

// TestFrame_OneReject: whatever a frame is, it comes to one row or one drop: no frame
// makes more than one reject, over no transport and however frames end.
func TestFrame_OneReject(t *testing.T) {
	t.Parallel()
	huge := "<14>1 - h a 1 - " + `[x@1 ` + strings.Repeat(`a="b" `, 8000) + `] ` // its record is larger than a batch
	odd := func(n int) []string {
		return []string{"<14>", "\x00\n", "%(id)s", huge, huge + m1(testID(n), "subject")}
	}
	const keys = "max_frame: 65535, reject_limit: {rows: 0, bytes: 0}"
	f := func(name, listener string, write func(c net.Conn, frame string) (frames int, err error)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "  - {name: in, "+listener+", "+keys+"}\n", "  batch_bytes: 256KiB\n")
			c := r.dial("in")
			sent := 0
			send := func(frame string) {
				t.Helper()
				n, err := write(c, frame)
				if err != nil {
					t.Fatal(err)
				}
				sent += n
			}
			for i := range 5 {
				random := rand.New(rand.NewPCG(uint64(i)+100, 0))
				for range 1500 {
					if b := damage(random); random.IntN(50) > 0 {
						send(string(b))
					} else {
						send("")
					}
				}
				for _, frame := range odd(i) {
					send(frame)
				}
				r.within("a round is taken", func(a Account) bool { return a.Received >= uint64(sent) })
			}
			c.Close()
			a := r.drained()
			if a.Received != uint64(sent) {
				t.Errorf("%d frames were sent, %d are in the account", sent, a.Received)
			}
			// read fails when there is one record more.
			if rows := len(r.read(int(a.Received - a.DroppedTotal()))); uint64(rows)+a.DroppedTotal() != a.Received {
				t.Errorf("%d frames came to %d rows and %d drops", a.Received, rows, a.DroppedTotal())
			}
		})
	}
	// A delimiter in a frame would end it, and none are no frame between two delimiters.
	ended := func(by string) func(net.Conn, string) (int, error) {
		return func(c net.Conn, frame string) (int, error) {
			frame = strings.Trim(strings.ReplaceAll(frame, by, ""), "\x00\r\n")
			if frame == "" {
				return 0, nil
			}
			_, err := io.WriteString(c, frame+by)
			return 1, err
		}
	}
	counted := func(c net.Conn, frame string) (int, error) {
		if frame == "" {
			return 0, nil // no count is 0
		}
		_, err := fmt.Fprintf(c, "%d %s", len(frame), frame)
		return 1, err
	}
	f("udp", "address: 'udp://127.0.0.1:0', receive_buffer: 64MiB", func(c net.Conn, frame string) (int, error) {
		_, err := io.WriteString(c, frame)
		return 1, err
	})
	f("nul", "address: 'tcp://127.0.0.1:0', framing: nul", ended("\x00"))
	f("lf", "address: 'tcp://127.0.0.1:0', framing: lf", ended("\n"))
	f("octet", "address: 'tcp://127.0.0.1:0', framing: octet", counted)
	// Auto takes a count for one where a priority follows.
	f("auto", "address: 'tcp://127.0.0.1:0', framing: auto", func(c net.Conn, frame string) (int, error) { return counted(c, "<"+frame) })
	transaction := 0
	f("relp", "address: 'relp://127.0.0.1:0'", func(c net.Conn, frame string) (int, error) {
		if transaction == 0 {
			transaction++
			go func() { _, _ = io.Copy(io.Discard, c) }() // the answers
			if _, err := io.WriteString(c, relptest.Frame(1, "open", relptest.Offers)); err != nil {
				return 0, err
			}
		}
		transaction++
		_, err := io.WriteString(c, relptest.Frame(transaction, "syslog", frame))
		return 1, err
	})
}

var countOf = regexp.MustCompile(`listener=(\S+) reason=(\S+) count=(\d+)`)

// TestSummary_Flood: a hundred thousand bad frames make a handful of lines, whose
// numbers add up to the account.
func TestSummary_Flood(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: udp, address: 'udp://127.0.0.1:0', receive_buffer: 64MiB, allow: [127.0.0.1]}\n  - {name: tcp, address: 'tcp://127.0.0.1:0', framing: lf}\n", "")
	var senders sync.WaitGroup
	const flood = 50_000
	for _, to := range []string{"udp", "tcp"} {
		senders.Go(func() {
			c := r.dial(to)
			for i := range flood {
				text := "garbage \x1b[2J " + strings.Repeat("A", 300) + "\n"
				if i%4 == 0 {
					text = "<14>\n"
				}
				if _, err := c.Write([]byte(text)); err != nil {
					t.Error(err)
					return
				}
				if to == "udp" && i%50 == 49 {
					time.Sleep(100 * time.Microsecond)
				}
			}
			c.Close()
		})
	}
	senders.Go(func() { // and some that may not send
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP("127.0.0.9")}}
		c, err := d.Dial("udp", r.addr["udp"].String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for range 100 {
			_, _ = c.Write([]byte("let me in"))
		}
	})
	senders.Wait()
	r.within("all is taken", func(a Account) bool { return a.Received == 2*flood+100 })
	r.drained()

	told := map[string]uint64{}
	lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
	for _, line := range lines {
		if m := countOf.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[3], 10, 64)
			told[m[1]+" "+m[2]] += n
			if len(line) > 1000 || strings.Contains(line, "\x1b") {
				t.Errorf("a line of %d bytes: %q", len(line), line)
			}
		}
	}
	if len(lines) > 25 {
		t.Errorf("%d lines:\n%s", len(lines), r.log)
	}
	want := map[string]uint64{}
	for _, in := range r.inputs {
		a := in.ledger.read()
		for reason, n := range a.Rejected {
			want[string(in.name)+" "+string(reason)] = n
		}
		for reason, n := range a.Dropped {
			want[string(in.name)+" "+string(reason)] = n
		}
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("the lines tell of %v, the account is %v", told, want)
	}
	for _, part := range []string{`reason=no_template`, `sample="garbage \x1b[2J`, "peer=127.0.0.1", "reason=not_allowed", "peer=127.0.0.9"} {
		if !strings.Contains(r.log.String(), part) {
			t.Errorf("the log has no %s", part)
		}
	}
}
