package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/certtest"
	"millrace/internal/porttest"
)

// secured is a running stack with a TLS listener, and the certificates around it.
type secured struct {
	*process
	authority      *certtest.Authority
	server, client certtest.Pair
	host, port     string
}

// upSecured starts `millrace up` with a listener that demands a certificate of
// *.example.net, and with further listeners, as lines of the configuration.
func upSecured(t *testing.T, listeners ...string) *secured {
	t.Helper()
	s := &secured{authority: certtest.New(t)}
	s.server = s.authority.Issue(t, certtest.Subject{Names: []string{"millrace.example.net", "127.0.0.1"}})
	s.client = s.authority.Issue(t, certtest.Subject{Names: []string{"relay.example.net"}})
	file := write(t, filepath.Join(t.TempDir(), "millrace.yaml"), fmt.Sprintf(`
listeners:
  - name: secured
    address: tls://127.0.0.1:0
    tls: {cert: %s, key: %s, client_ca: %s, client_names: ["*.example.net"]}
`, s.server.Cert, s.server.Key, s.authority.File)+strings.Join(listeners, ""))
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

// snippet is the fenced block of docs/operations.md that holds mark, with the replacements.
func snippet(t *testing.T, mark string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?sm)^```\\w*\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], mark) {
			return strings.NewReplacer(replace...).Replace(block[1])
		}
	}
	t.Fatalf("docs/operations.md has no block with %q", mark)
	return ""
}

// upAsDocumented is upSecured with the certificates that the lines of docs/operations.md
// make, for a name that the relays can look up.
func upAsDocumented(t *testing.T) (s *secured, dir string) {
	t.Helper()
	needs(t, "openssl", "install the package openssl")
	dir = t.TempDir()
	sh := exec.Command("bash", "-euc", snippet(t, "openssl req", "logs.example.com", "localhost"))
	sh.Dir = dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("the lines that make certificates: %v\n%s", err, out)
	}
	file := write(t, filepath.Join(dir, "millrace.yaml"), snippet(t, "client_names:", "0.0.0.0:6514", "127.0.0.1:0", "198.51.100.0/24", "127.0.0.0/8"))
	s = &secured{process: up(t, t.TempDir(), "--config", file, "--syslog-udp", "off", "--syslog-tcp", "off")}
	s.host, s.port, _ = net.SplitHostPort(s.addr["syslog_tls"])
	return s, dir
}

// TestRsyslogOverTLS: rsyslog as docs/operations.md has it, with its OpenSSL driver and with
// that of GnuTLS, certificates of both sides and the name in ours looked at.
func TestRsyslogOverTLS(t *testing.T) {
	t.Parallel()
	rsyslogd := needsRsyslog(t)
	s, dir := upAsDocumented(t)
	for i, driver := range []string{"ossl", "gtls"} {
		text := snippet(t, `StreamDriver="ossl"`, `"ossl"`, `"`+driver+`"`, "logs.example.com", "localhost", `port="6514"`, `port="`+s.port+`"`, "/etc/millrace/", dir+"/")
		declarations, actions, _ := strings.Cut(text, "\n")
		s.relayed(relayRsyslog(t, rsyslogd, "", declarations, actions), "<22>", 5000+1000*i, 50)
	}
}

// TestSyslogNGOverTLS: its syslog() driver as docs/operations.md has it, RFC 5424 framed by
// octet counts as RFC 5425 demands.
func TestSyslogNGOverTLS(t *testing.T) {
	t.Parallel()
	syslogNG := needsSyslogNG(t)
	s, dir := upAsDocumented(t)
	text := snippet(t, "destination d_millrace", "logs.example.com", "localhost", "port(6514)", "port("+s.port+")", "/etc/millrace/", dir+"/")
	driver := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "destination d_millrace {"), "};")
	s.relayed(startSyslogNG(t, syslogNG, "", driver), "<22>Nov 20 15:30:53 filter1 mailfilter[12]: ", 6000, 50)
}

// TestLinesOverTLS: both relays end frames with line feeds as well, and pass a filter's
// frames on as they came.
func TestLinesOverTLS(t *testing.T) {
	t.Parallel()
	rsyslogd, syslogNG := needsRsyslog(t), needsSyslogNG(t)
	s := upSecured(t)
	global := fmt.Sprintf(` defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="%s" defaultNetstreamDriverCertFile="%s" defaultNetstreamDriverKeyFile="%s"`,
		s.authority.File, s.client.Cert, s.client.Key)
	in := relayRsyslog(t, rsyslogd, global, `template(name="safe" type="string" string="<%pri%>%rawmsg-after-pri%\n")`, fmt.Sprintf(
		`action(type="omfwd" target="%s" port="%s" protocol="tcp" template="safe" StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="anon")`, s.host, s.port))
	s.relayed(in, "<22>", 5100, 50)
	in = startSyslogNG(t, syslogNG, "no-parse", fmt.Sprintf(`network("%s" port(%s) transport("tls") template("$MSG\n")
  tls(ca-file("%s") cert-file("%s") key-file("%s") peer-verify(required-trusted)));`, s.host, s.port, s.authority.File, s.client.Cert, s.client.Key))
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

	// A certificate that its key does not fit is a mistake like any other.
	now := shown()
	install(certtest.Pair{Cert: old.Cert, Key: renewed.Key})
	configure("m1", "")
	hangup("cannot use cert and key")
	if shown() != now {
		t.Errorf("the certificate of a bad file is shown")
	}
	send("mine:" + testID(7004)) // the formats are the old ones as well
	p.eventually("2", "SELECT count() FROM message_events WHERE format = 'mine'")

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
		operations := porttest.TCP(t)
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
