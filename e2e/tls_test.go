package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/certtest"
)

// secured is a running stack with a TLS listener, and the certificates around it.
type secured struct {
	*process
	authority      *certtest.Authority
	server, client certtest.Pair
	host, port     string
}

// upSecured starts `millrace up` with a listener that demands a certificate of
// *.example.net.
func upSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{authority: certtest.New(t)}
	s.server = s.authority.Issue(t, certtest.Subject{Names: []string{"millrace.example.net", "127.0.0.1"}})
	s.client = s.authority.Issue(t, certtest.Subject{Names: []string{"relay.example.net"}})
	file := write(t, filepath.Join(t.TempDir(), "millrace.yaml"), fmt.Sprintf(`
listeners:
  - name: secured
    address: tls://127.0.0.1:0
    tls: {cert: %s, key: %s, client_ca: %s, client_names: ["*.example.net"]}
`, s.server.Cert, s.server.Key, s.authority.File))
	s.process = up(t, t.TempDir(), "--config", file, "--syslog-udp", "off", "--syslog-tcp", "off")
	s.host, s.port, _ = net.SplitHostPort(s.addr["syslog_tls"])
	return s
}

// relayed sends frames to a relay's UDP address and expects them in ClickHouse.
func (s *secured) relayed(in, header string, first, frames int) {
	s.t.Helper()
	conn, err := net.Dial("udp", in)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	for i := range frames {
		if _, err := conn.Write([]byte(header + m1(testID(first+i), "over TLS, \"quoted\""))); err != nil {
			s.t.Fatal(err)
		}
	}
	want := fmt.Sprintf("SELECT count() FROM message_events WHERE transport = 'tls' AND subject_header = 'over TLS, \"quoted\"' AND id BETWEEN '%s' AND '%s'",
		testID(first), testID(first+frames-1))
	s.eventually(strconv.Itoa(frames), want)
	if n := s.count("SELECT count() FROM rejects"); n != 0 {
		s.t.Errorf("%d rejects: %q", n, s.query("SELECT reason, detail, raw FROM rejects"))
	}
}

// TestRsyslogOverTLS: omfwd with rsyslog's OpenSSL driver, which shows a certificate and
// looks at the name in ours; framed by octet counts and by line feeds.
func TestRsyslogOverTLS(t *testing.T) {
	t.Parallel()
	rsyslogd := needsRsyslog(t)
	s := upSecured(t)
	global := fmt.Sprintf(` defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="%s" defaultNetstreamDriverCertFile="%s" defaultNetstreamDriverKeyFile="%s"`,
		s.authority.File, s.client.Cert, s.client.Key)
	for i, framing := range []string{"octet-counted", "traditional"} {
		in := relayRsyslog(t, rsyslogd, global, `template(name="safe" type="string" string="<%pri%>%rawmsg-after-pri%\n")`, fmt.Sprintf(
			`action(type="omfwd" target="%s" port="%s" protocol="tcp" TCP_Framing="%s" template="safe"
    StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="millrace.example.net")`, s.host, s.port, framing))
		s.relayed(in, "<22>", 5000+100*i, 50)
	}
}

// TestSyslogNGOverTLS: its syslog() driver, RFC 5424 framed by octet counts as RFC 5425
// demands, and its network() driver, which passes lines on as they came.
func TestSyslogNGOverTLS(t *testing.T) {
	t.Parallel()
	syslogNG := needsSyslogNG(t)
	s := upSecured(t)
	with := fmt.Sprintf(`tls(ca-file("%s") cert-file("%s") key-file("%s") peer-verify(required-trusted))`, s.authority.File, s.client.Cert, s.client.Key)
	in := startSyslogNG(t, syslogNG, "", fmt.Sprintf(`syslog("%s" port(%s) transport("tls") %s);`, s.host, s.port, with))
	s.relayed(in, "<22>Nov 20 15:30:53 filter1 mailfilter[12]: ", 6000, 50)
	in = startSyslogNG(t, syslogNG, "no-parse", fmt.Sprintf(`network("%s" port(%s) transport("tls") template("$MSG\n") %s);`, s.host, s.port, with))
	s.relayed(in, "<22>", 6100, 50)
}

// TestReload: SIGHUP of the program. A good file is taken over, a bad one changes nothing
// and is told of; traffic goes on all the while.
func TestReload(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	dir := t.TempDir()
	old, renewed := a.Issue(t, certtest.Subject{}), a.Issue(t, certtest.Subject{})
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	install := func(p certtest.Pair) {
		for to, from := range map[string]string{cert: p.Cert, key: p.Key} {
			data, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			write(t, to, string(data))
		}
	}
	file := filepath.Join(dir, "millrace.yaml")
	configure := func(formats, more string) {
		write(t, file, "listeners:\n"+
			"  - {name: secured, address: 'tls://127.0.0.1:0', formats: ["+formats+"], tls: {cert: cert.pem, key: key.pem}}\n"+
			"  - {name: plain, address: 'tcp://127.0.0.1:5514', formats: ["+formats+"]}\n"+more)
	}
	install(old)
	configure("m1", "")
	p := up(t, t.TempDir(), "--config", file, "--syslog-udp", "off", "--syslog-tcp", "127.0.0.1:0")
	conn, err := net.Dial("tcp", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(frame string) {
		t.Helper()
		if _, err := conn.Write([]byte("<22>" + frame + "\x00")); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() string {
		t.Helper()
		c, err := (&tls.Dialer{Config: a.Client()}).Dial("tcp", p.addr["syslog_tls"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	hangup := func(line string) {
		t.Helper()
		before := strings.Count(p.text(), line)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		until(t, "the log says "+line, func() bool { return strings.Count(p.text(), line) > before }, p.text)
	}

	send(m1(testID(7000), "before"))
	send("mine:" + testID(7001))
	p.eventually("1", "SELECT count() FROM message_events")
	p.eventually("1", "SELECT count() FROM rejects")
	first := shown()

	// Nothing of a file with two mistakes is taken over, the good certificate included.
	install(renewed)
	configure("m1, no_such", "log: {level: loud}\n")
	hangup("cannot reload the configuration: the old one stays in use")
	until(t, "both mistakes are in the log", func() bool {
		return strings.Contains(p.text(), "no_such") && strings.Contains(p.text(), "loud")
	}, p.text)
	if p.metric("millrace_config_reload_success") != 0 || shown() != first {
		t.Errorf("a bad file was taken over")
	}
	send(m1(testID(7002), "meanwhile"))
	p.eventually("2", "SELECT count() FROM message_events")

	// A good one is, without a restart; flags stay, and what needs a restart is named.
	configure("m1, mine", "formats: [{name: mine, template: 'mine:%(id)s'}]\nlog: {level: debug}\nkafka: {linger: 20ms}\n")
	hangup("configuration reloaded")
	until(t, "kafka.linger is named", func() bool { return strings.Contains(p.text(), "needs a restart: kafka.linger") }, p.text)
	if strings.Contains(p.text(), "needs a restart: listeners") {
		t.Errorf("the flags' address is taken for a change:\n%s", p.text())
	}
	if p.metric("millrace_config_reload_success") != 1 || p.metric("millrace_config_last_reload_timestamp_seconds") < float64(time.Now().Add(-patience).Unix()) {
		t.Errorf("the metrics do not tell of the reload")
	}
	if shown() == first {
		t.Errorf("the old certificate is shown")
	}
	send("mine:" + testID(7003)) // on the connection from before
	p.eventually("3", "SELECT count() FROM message_events")
	p.eventually(testID(7003), "SELECT id FROM message_events WHERE format = 'mine'")

	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestHangupOfDaemons: SIGHUP ends neither daemon, also while Kafka and ClickHouse are
// away; the ingester reloads, the transformer says that it has nothing to.
func TestHangupOfDaemons(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "millrace.yaml"),
		"listeners: [{name: in, address: 'tcp://127.0.0.1:0'}]\nkafka: {brokers: ['127.0.0.1:1']}\nclickhouse: {addresses: ['127.0.0.1:1']}\nstop: {drain_timeout: 1s}\n")
	for daemon, line := range map[string]string{"ingest": "configuration reloaded", "transform": "a transformer has nothing to reload"} {
		operations := freeTCP(t)
		p := start(t, daemon, "--config", file, "--http", operations)
		until(t, daemon+" runs", func() bool {
			c, err := net.Dial("tcp", operations)
			if err == nil {
				c.Close()
			}
			return err == nil
		}, p.text)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		until(t, daemon+" has seen SIGHUP", func() bool { return strings.Contains(p.text(), line) }, p.text)
		if code := p.signal(syscall.SIGTERM); code < 0 {
			t.Errorf("%s: exit code %d", daemon, code)
		}
	}
}
