package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"millrace/internal/eximid"
)

// subjects are what the text of a mail header can do to a log line. The test
// reads them back from ClickHouse byte for byte.
var subjects = []string{
	`plain`,
	`He said "hi", ok`,
	`"quoted"`,
	`commas, and, more`,
	"line\nbreak\r\nand more",
	"tab\there",
	"Grüße aus Köln – 50 % Rabatt 日本語 🚚",
	`trailing quote"`,
	`back\slash`,
	`%(subject)s is no variable of ours but %s`,
	"<14>looks like a frame",
}

// m1 is a frame's body in the 2016 message template.
func m1(id, subject string) string {
	return quoted(id, "filter1.example.net", "sender@example.org", "recipient@example.com", "example.com", "1680135061",
		"mail.example.org", "mail.example.org", "192.0.2.1", "23533", "24100", "delivered", "ok", "Combined (0.02)",
		`"Doe, J" <sender@example.org>`, "recipient@example.com", "", subject)
}

// s1 is a body in the 2016 status template.
func s1(id, status, data string) string {
	return quoted(id, "filter1.example.net", "example.com", "recipient@example.com", status, "1680135070", "192.0.2.9", "25", "mx.example.com", data)
}

func quoted(values ...string) string { return `"` + strings.Join(values, `","`) + `"` }

// testID is an Exim id of 2023-03-30 00:11:01 that is unique by n.
func testID(n int) string {
	return string(eximid.Append(nil, 1680135061, uint64(n), 1492))
}

func TestPythonSysLogHandler(t *testing.T) {
	t.Parallel()
	python := needs(t, "python3", "install the package python3")
	p := up(t, t.TempDir())
	for _, network := range []string{"udp", "tcp"} {
		// A NUL within a subject stays in a datagram; on TCP it ends the frame.
		list := subjects
		if network == "udp" {
			list = append(list[:len(list):len(list)], "nul\x00inside")
		}
		var bodies []string
		for i, s := range list {
			bodies = append(bodies, m1(testID(1000+i), s), s1(testID(1000+i), "delivered", `250 2.0.0 "ok", queued`))
		}
		input, err := json.Marshal(bodies)
		if err != nil {
			t.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(p.addr["syslog_"+network])
		cmd := exec.Command(python, "testdata/sysloghandler.py", network, host, port)
		cmd.Stdin = bytes.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("python's SysLogHandler failed: %v\n%s", err, out)
		}
		p.eventually(fmt.Sprint(len(list)), "SELECT count() FROM message_events WHERE transport = '"+network+"'")
		p.eventually(fmt.Sprint(len(list)), "SELECT count() FROM status_events WHERE transport = '"+network+"'")
		got := p.query("SELECT base64Encode(subject_header) FROM message_events WHERE transport = '" + network + "' ORDER BY id")
		for i, s := range list {
			want := strings.ReplaceAll(s, "\x00", "\uFFFD")
			if text := decode64(t, got[i][0]); text != want {
				t.Errorf("%s: subject %q arrived as %q", network, s, text)
			}
		}
	}
	if n := p.count("SELECT count() FROM rejects"); n != 0 {
		t.Errorf("%d rejects: %q", n, p.query("SELECT reason, detail, raw FROM rejects"))
	}
	if n := p.count("SELECT count() FROM message_events WHERE facility != 2 OR severity != 6 OR sender_ip != toIPv6('192.0.2.1') OR incoming_size != 23533 OR id_time != '2023-03-30 00:11:01' OR from_header != '\"Doe, J\" <sender@example.org>'"); n != 0 {
		t.Errorf("%d of the messages have other values than were sent", n)
	}
	if got := p.value("SELECT groupUniqArray(has(flags, 'nul_byte')) FROM message_events WHERE subject_header LIKE 'nul%'"); got != "[true]" && got != "[1]" {
		t.Errorf("the subject with a NUL has flags %s", got)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	logger := needs(t, "logger", "install the package bsdutils (util-linux logger)")
	p := up(t, t.TempDir())
	cases := []struct {
		name string
		args []string
	}{
		{"rfc3164 over udp", []string{"--udp", "--rfc3164"}},
		{"rfc5424 over udp", []string{"--udp", "--rfc5424"}},
		{"rfc3164 over tcp", []string{"--tcp", "--rfc3164"}},
		{"rfc5424 over tcp", []string{"--tcp", "--rfc5424"}},
		{"octet count, rfc5424", []string{"--tcp", "--octet-count", "--rfc5424"}},
		{"octet count, rfc3164", []string{"--tcp", "--octet-count", "--rfc3164"}},
		{"structured data", []string{"--tcp", "--octet-count", "--rfc5424", "--sd-id", "filter@32473", "--sd-param", `node="f1"`}},
	}
	for i, c := range cases {
		network := "tcp"
		if c.args[0] == "--udp" {
			network = "udp"
		}
		host, port, _ := net.SplitHostPort(p.addr["syslog_"+network])
		args := append([]string{"--server", host, "--port", port, "--priority", "mail.info", "--tag", "mailfilter", "--id=4711"}, c.args...)
		cmd := exec.Command(logger, append(args, "--", m1(testID(2000+i), c.name))...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: logger failed: %v\n%s", c.name, err, out)
		}
	}
	p.eventually(strconv.Itoa(len(cases)), "SELECT count() FROM message_events")
	for _, row := range p.query("SELECT subject_header, syslog_app, syslog_pid, facility, severity, syslog_host != '', toString(structured_data) FROM message_events ORDER BY id") {
		if row[1] != "mailfilter" || row[2] != "4711" || row[3] != "2" || row[4] != "6" || row[5] != "1" {
			t.Errorf("%s: header was read as %q", row[0], row[1:])
		}
		if row[0] == "structured data" && !strings.Contains(row[6], "filter@32473.node") {
			t.Errorf("structured data are %s", row[6])
		}
	}
	if n := p.count("SELECT count() FROM rejects"); n != 0 {
		t.Errorf("%d rejects: %q", n, p.query("SELECT reason, detail, raw FROM rejects"))
	}
}

// TestRsyslogRelay sends headerless frames through rsyslog: with the template
// that passes them on as they are, and with rsyslog's default one, which parses
// them as a header of its own and cuts them (formats m1; nothing can restore them).
func TestRsyslogRelay(t *testing.T) {
	t.Parallel()
	rsyslogd := needsRsyslog(t)
	p := up(t, t.TempDir())
	const frames = 20
	relay := func(first int, template string) {
		in := startRsyslog(t, rsyslogd, p.addr["syslog_tcp"], template)
		conn, err := net.Dial("udp", in)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range frames {
			if _, err := conn.Write([]byte("<22>" + m1(testID(first+i), "Re: offer, 50% off") + "\x00")); err != nil {
				t.Fatal(err)
			}
		}
	}
	relay(3000, `template(name="safe" type="string" string="<%pri%>%rawmsg-after-pri%\n")`)
	p.eventually(strconv.Itoa(frames), "SELECT count() FROM message_events WHERE subject_header = 'Re: offer, 50% off' AND id LIKE '1phfsb-000%'")
	relay(4000, "")
	p.eventually(strconv.Itoa(frames), "SELECT count() FROM rejects WHERE reason = 'relay_mangled'")
	if n := p.count("SELECT count() FROM rejects WHERE reason != 'relay_mangled'"); n != 0 {
		t.Errorf("%d other rejects: %q", n, p.query("SELECT reason, detail, raw FROM rejects WHERE reason != 'relay_mangled'"))
	}
}
