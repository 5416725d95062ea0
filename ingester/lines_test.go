package ingester

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/ingester/relp/relptest"
)

// logs is the listener of these tests.
const logs = "{formats: [smtp, delivery, spamdyke], smtp_port: 25, time_zone: Europe/Sofia, raw: always, "

func logsAt(name, address, more string) string {
	return "  - " + logs + "name: " + name + ", address: '" + address + "'" + more + "}\n"
}

// session is a message of an SMTP log, six lines with a syslog header each.
func session(host string, n int) []string {
	stamp := "2021-03-09 12:43:51"
	var lines []string
	for _, text := range []string{
		fmt.Sprintf("from, sender%d@example.org", n), "resp, 250 ok",
		fmt.Sprintf("to, <r%d@example.com>", n), fmt.Sprintf("check, accepted rcpt, h:198.51.100.25, r%d@example.com, found existing recipient", n), "resp, 250 ok",
		fmt.Sprintf("size, %d", 1000+n), fmt.Sprintf("resp, 250 ok 1615286631 qp %d", 100+n),
	} {
		lines = append(lines, fmt.Sprintf("<22>%s %s smtp: %s, %s\n", time.Now().Format(time.Stamp), host, stamp, text))
	}
	return lines
}

// Lines of two hosts that come over one connection in turns are two messages; those of one
// host over two connections, in order, are one.
func TestLines_Grouping(t *testing.T) {
	t.Parallel()
	r := newRig(t, logsAt("logs", "tcp://127.0.0.1:0", ", framing: lf"), "")
	a, b := session("mx1", 1), session("mx2", 2)
	var mixed []string
	for i := range a {
		mixed = append(mixed, a[i], b[i])
	}
	r.send("logs", strings.Join(mixed, ""))
	third := session("mx3", 3)
	r.send("logs", strings.Join(third[:3], ""))
	r.within("the first half is there", func(a Account) bool { return a.Received == 17 })
	r.send("logs", strings.Join(third[3:], ""))
	r.within("all lines are accounted for", func(a Account) bool { return a.Published == 3 && a.Joined == 18 && a.InFlight == 0 })
	events := r.read(3)
	slices.SortFunc(events, func(a, b event) int { return strings.Compare(a["sender"], b["sender"]) })
	for i, e := range events {
		n := i + 1
		e.want(t, "kind", "smtp", "format", "smtp", "listener", "logs", "syslog_host", fmt.Sprintf("mx%d", n), "syslog_app", "smtp", "facility", "2", "severity", "6",
			"direction", "incoming", "port", "25", "session", "smtp", "sender", fmt.Sprintf("sender%d@example.org", n), "recipients", fmt.Sprintf("r%d@example.com", n),
			"domain", "example.com", "size", fmt.Sprint(1000+n), "accepted", "1", "qp", fmt.Sprint(100+n), "event_time", "2021-03-09 10:43:51.000", "event_time_source", "event", "flags", "")
		if lines := strings.Count(e["raw"], "\n"); lines != 7 {
			t.Errorf("%d lines in raw: %q", lines, e["raw"])
		}
	}
	if a := r.drained(); a.Received != 21 || a.Published != 3 || a.Joined != 18 {
		t.Errorf("%+v", a)
	}
}

// A group whose end does not come is an event after group_timeout, flagged; one that is
// open at the stop is one too.
func TestLines_Open(t *testing.T) {
	t.Parallel()
	r := newRig(t, logsAt("logs", "udp://127.0.0.1:0", ", group_timeout: 1s"), "")
	for i, line := range session("mx1", 1)[:4] {
		r.send("logs", line)
		r.within("the line is there", func(a Account) bool { return a.Received == uint64(i)+1 })
	}
	r.within("the group is closed", func(a Account) bool { return a.Received == 4 && a.Published == 1 && a.Joined == 3 && a.InFlight == 0 })
	r.send("logs", session("mx1", 2)[0])
	r.within("the line is held", func(a Account) bool { return a.Received == 5 && a.InFlight == 1 })
	if a := r.drained(); a.Published != 2 || a.Joined != 3 {
		t.Errorf("%+v", a)
	}
	for _, e := range r.read(2) {
		e.want(t, "flags", "incomplete", "syslog_host", "mx1", "listener", "logs", "facility", "2")
	}
}

// Each log's lines, templates beside them, and what is neither.
func TestLines_Mixed(t *testing.T) {
	t.Parallel()
	r := newRig(t, strings.Replace(logsAt("logs", "tcp://127.0.0.1:0", ", framing: lf"), "formats: [", "formats: [builtin, ", 1), "")
	sofia, err := time.LoadLocation("Europe/Sofia")
	if err != nil {
		t.Fatal(err)
	}
	sent := time.Now().Truncate(time.Second)
	at := sent.In(sofia).Format(time.Stamp)
	lines := []string{
		"<14>" + m1(testID(1), "subject"),
		"<22>" + at + " server spamdyke[29207]: DENIED_RDNS_MISSING from: s@example.net to: r@example.com origin_ip: 203.0.113.66 origin_rdns: (unknown) auth: (unknown) encryption: (none) reason: (empty)",
		"<22>" + sent.In(sofia).Format("Jan 2 15:04:05") + " server spamdyke[29208]: TIMEOUT from: s@example.net to: r@example.com origin_ip: 203.0.113.67 origin_rdns: (unknown) auth: (unknown) encryption: (none) reason: TIMEOUT",
		"<22>" + at + " server spamdyke[29207]: ERROR(main()@spamdyke.c:1): cannot",
		"<22>" + at + " server send: 2021-03-09 12:43:51, init, <a@example.org>",
		"<22>" + at + " server send: 2021-03-09 12:43:51, try, 90352, local, r@example.com",
		"<22>" + at + " server send: 2021-03-09 12:43:52, result, 90352, success, did_1+0+0/",
		"<22>" + at + " server qmail: 1615286631.123456 status: local 1/10 remote 0/20",
		"<22>" + at + " server smtp: 2021-03-09 12:43:52, quux, what is that",
		"<22>" + at + " server cron: nothing that anybody knows",
		"hello",
	}
	r.send("logs", strings.Join(lines, "\n")+"\n")
	r.within("all is accounted for", func(a Account) bool { return a.Received == 11 && a.InFlight == 0 })
	a := r.Account()
	if a.Published != 7 || a.Joined != 2 || a.RejectedTotal() != 2 {
		t.Errorf("%+v", a)
	}
	kinds := map[string]int{}
	for _, e := range r.read(9) {
		kinds[e["kind"]]++
		switch {
		case e["code"] == "DENIED_RDNS_MISSING":
			e.want(t, "event_time", sent.UTC().Format("2006-01-02 15:04:05.000"), "event_time_source", "header", "syslog_pid", "29207", "verdict", "denied", "origin_ip", "203.0.113.66", "format", "spamdyke")
		case e["code"] == "TIMEOUT":
			e.want(t, "event_time_source", "header", "syslog_pid", "29208")
		case e["kind"] == "delivery":
			e.want(t, "sender", "a@example.org", "recipient", "r@example.com", "outcome", "success", "files", "1", "channel", "local", "direction", "unknown")
		}
	}
	if want := map[string]int{"message": 1, "spamdyke": 2, "line": 3, "delivery": 1, "reject": 2}; !maps.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	r.drained()
}

// RELP's sender is answered for each line, whether its event is complete or not.
func TestLines_RELP(t *testing.T) {
	t.Parallel()
	r := newRig(t, logsAt("logs", "relp://127.0.0.1:0", ""), "")
	c := relptest.New(r.dial("logs"))
	lines := session("mx1", 1)
	say := func(lines []string) {
		for _, line := range lines {
			if _, err := c.Write([]byte(strings.TrimSuffix(line, "\n") + "\x00")); err != nil {
				t.Fatal(err)
			}
		}
	}
	asked, release := r.withhold()
	say(lines[:6])
	c.Said(t, 1+6) // the answer to open, and one for each line that is held
	say(lines[6:])
	<-asked
	if said := c.Said(t, 1+6); len(said) != 1+6 {
		t.Errorf("the line that completes the event is answered before Kafka has it: %q", said)
	}
	release()
	c.Said(t, 1+7)
	r.within("it is one event", func(a Account) bool { return a.Published == 1 && a.Joined == 6 && a.InFlight == 0 })
	r.drained()
}

// More sources than are remembered, and a rule that changes in the middle of a group: all
// lines are in events, none twice.
func TestLines_Bounds(t *testing.T) {
	t.Parallel()
	listener := logsAt("logs", "tcp://127.0.0.1:0", ", framing: lf")
	r := newRig(t, listener, "")
	const hosts = 2 * maxLineSources
	var b strings.Builder
	for i := range hosts {
		b.WriteString(strings.Join(session(fmt.Sprintf("mx%d", i), i)[:3], ""))
	}
	r.send("logs", b.String())
	r.within("all lines are there", func(a Account) bool { return a.Received == 3*hosts })
	if n := len(r.inputs[0].lines.all()); n != maxLineSources {
		t.Errorf("%d sources are remembered", n)
	}
	r.within("the others are events", func(a Account) bool { return a.Published == hosts-maxLineSources })
	if err := r.Reload(parse(t, r.broker.Addr, strings.Replace(listener, "smtp_port: 25", "smtp_port: 465", 1), "")); err != nil {
		t.Fatal(err)
	}
	last := hosts - 1
	r.send("logs", strings.Join(session(fmt.Sprintf("mx%d", last), last)[3:], ""))
	r.within("the rest of a group is there", func(a Account) bool { return a.Received == 3*hosts+4 })
	a := r.drained()
	if a.Published != hosts+1 || a.Joined != a.Received-a.Published {
		t.Errorf("%+v", a)
	}
	lines, ports := map[string]int{}, map[string]int{}
	for _, e := range r.read(int(a.Published)) {
		ports[e["port"]]++
		for line := range strings.Lines(e["raw"]) {
			lines[e["syslog_host"]+" "+line]++
		}
	}
	for line, n := range lines {
		if n > 1 && !strings.Contains(line, "resp, 250 ok\n") {
			t.Errorf("%q is in %d events", line, n)
		}
	}
	if ports["465"] != 1 || ports["25"] != hosts {
		t.Errorf("by port: %v", ports)
	}
}

// Many senders at once, each line by line, while sources come and go.
func TestLines_Race(t *testing.T) {
	t.Parallel()
	r := newRig(t, logsAt("logs", "tcp://127.0.0.1:0", ", framing: lf, group_timeout: 1s"), "")
	const senders, messages = 8, 40
	done := make(chan struct{}, senders)
	for i := range senders {
		c := r.dial("logs")
		go func() {
			defer func() { done <- struct{}{} }()
			defer c.Close()
			pause := rand.New(rand.NewPCG(uint64(i), 1))
			for n := range messages {
				// Two connections share a host: their lines stand among each other.
				for _, line := range session(fmt.Sprintf("mx%d", i/2), n) {
					if _, err := c.Write([]byte(line)); err != nil {
						t.Error(err)
						return
					}
				}
				if pause.IntN(20) == 0 {
					time.Sleep(time.Duration(pause.IntN(3)) * time.Millisecond)
				}
			}
		}()
	}
	for range senders {
		<-done
	}
	const all = senders * messages * 7
	r.within("all lines are there", func(a Account) bool { return a.Received == all })
	a := r.drained()
	if a.Published+a.Joined != all {
		t.Errorf("%+v", a)
	}
	lines := 0
	for _, e := range r.read(int(a.Published)) {
		for range strings.Lines(e["raw"]) { // that of a generic line has no end
			lines++
		}
	}
	if lines != all {
		t.Errorf("%d lines are in events, want %d", lines, all)
	}
}
