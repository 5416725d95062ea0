package transport

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/ingester/mailtest"
	"millrace/internal/certtest"
	"millrace/schema"
)

// asMail is a sender of messages over a connection.
func asMail(network string) func(net.Conn) net.Conn {
	greeting := "EHLO"
	if network == "lmtp" {
		greeting = "LHLO"
	}
	return func(c net.Conn) net.Conn { return mailtest.New(c, greeting) }
}

// talker is a sender by hand: it writes a line and reads the answer to it.
type talker struct {
	t  *testing.T
	nc net.Conn
	in *textproto.Reader
}

var overSMTP = variant{name: "smtp", network: "smtp"}

// talk begins a session.
func talk(t *testing.T, s *server) *talker {
	t.Helper()
	c := greeted(t, s)
	c.say("EHLO client.example.org", "250")
	return c
}

// greeted connects.
func greeted(t *testing.T, s *server) *talker {
	t.Helper()
	c := &talker{t: t, nc: s.dial(t, "")}
	c.nc.SetDeadline(time.Now().Add(patience))
	c.in = textproto.NewReader(bufio.NewReader(c.nc))
	c.expect("220")
	return c
}

// expect reads an answer, and returns all of it.
func (c *talker) expect(code string) string {
	c.t.Helper()
	var all []string
	for {
		line, err := c.in.ReadLine()
		if err != nil {
			c.t.Fatalf("want %s: %v behind %q", code, err, all)
		}
		all = append(all, line)
		if len(line) < 4 || line[3] != '-' {
			if !strings.HasPrefix(line, code) {
				c.t.Fatalf("want %s: %q", code, all)
			}
			return strings.Join(all, "\n")
		}
	}
}

func (c *talker) write(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talker) say(line, code string) string {
	c.t.Helper()
	c.write(line + "\r\n")
	return c.expect(code)
}

func (c *talker) envelope() {
	c.t.Helper()
	c.say("MAIL FROM:<>", "250")
	c.say("RCPT TO:<whoever@example.net>", "250")
}

// ended reads to the end of the connection.
func (c *talker) ended() {
	c.t.Helper()
	if line, err := c.in.ReadLine(); err != io.EOF {
		c.t.Errorf("%q %v, want the end", line, err)
	}
}

const letter = "Subject: x\r\n\r\n..two dots\r\nlone \n line ends \r and \xff\x00\r\n"

// TestMail_Session: a message is what stands between DATA and the dot, unstuffed and
// otherwise as it was; one session has many, and each one's answer comes when it is kept.
func TestMail_Session(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	s := start(t, overSMTP, Options{}, r)
	c := talk(t, s)
	for i := range 3 {
		c.envelope()
		c.say("RCPT TO:<\"another one\"@[192.0.2.1]>", "250")
		c.say("DATA", "354")
		c.write(strings.Replace(letter, "\r\n.", "\r\n..", 1) + ".\r\n")
		f := s.waitFor(t, i+1)[i]
		if f.text != letter || f.size != len(letter) || f.reject != "" || f.peer.String() != c.nc.LocalAddr().String() {
			t.Errorf("%q of %d bytes from %s", f.text, f.size, f.peer)
		}
		s.release(i)
		c.expect("250")
	}
	c.say("MAIL FROM:<a@example.org> BODY=8BITMIME SMTPUTF8", "250")
	c.say("RSET", "250")
	c.say("DATA", "502") // for nobody
	c.say("VRFY x", "252")
	c.say("NOOP", "250")
	c.say("AUTH PLAIN", "523")
	c.say("QUIT", "221")
	c.ended()
	eventually(t, "the connection is gone", func() bool { return s.Stats().Open.Load() == 0 })
	if n := s.Stats().Frames.Load(); n != 3 {
		t.Errorf("Frames %d", n)
	}
}

// TestMail_Bdat: chunks are one message; one that its sender gives up is none.
func TestMail_Bdat(t *testing.T) {
	t.Parallel()
	s := start(t, overSMTP, Options{MaxFrame: 2000}, newRecorder())
	c := talk(t, s)
	c.envelope()
	c.write("BDAT 4\r\none\n")
	c.expect("250")
	c.write("BDAT 3 LAST\r\ntwo")
	c.expect("250")
	c.envelope()
	c.write("BDAT 4\r\nhalf")
	c.expect("250")
	c.say("RSET", "250")
	c.expect("421")
	c.ended()
	c = talk(t, s)
	c.envelope()
	c.write("BDAT 5000 LAST\r\n" + strings.Repeat("x", 5000))
	if text := c.expect("552"); !strings.Contains(text, "listeners[].max_frame") {
		t.Errorf("%q", text)
	}
	c.envelope()
	c.write("BDAT 0 LAST\r\n")
	c.expect("250")
	frames := s.waitFor(t, 2)
	if len(frames) != 2 || frames[0].text != "one\ntwo" || frames[1].reject != schema.ReasonOversize || frames[1].size != 5000 || len(frames[1].text) != 1024 {
		t.Errorf("%q", shown(frames))
	}
	if n := s.Stats().Empty.Load(); n != 1 {
		t.Errorf("Empty %d", n)
	}
}

// TestMail_Stop: a message that has come is kept and answered; one that is coming has a
// moment to end; who says nothing, or goes on talking, is told to go elsewhere.
func TestMail_Stop(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	s := start(t, overSMTP, Options{DrainTime: 2 * time.Second}, r)
	idle, whole, ends, never := talk(t, s), talk(t, s), talk(t, s), talk(t, s)
	for _, c := range []*talker{whole, ends, never} {
		c.envelope()
		c.say("DATA", "354")
		c.write("Subject: half\r\n")
	}
	whole.write(".\r\n")
	s.waitFor(t, 1)
	s.stop()
	idle.expect("421")
	idle.ended()
	ends.write("Subject: the rest\r\n.\r\n")
	s.waitFor(t, 2)
	never.write("and on")
	never.expect("421")
	never.ended()
	// Kafka has it after the drain time: its sender hears of it all the same.
	s.release(0)
	s.release(1)
	for _, c := range []*talker{whole, ends} {
		c.expect("250")
		c.expect("421")
		c.ended()
	}
	s.wait(t)
	want := []string{"Subject: half\r\n", "Subject: half\r\nSubject: the rest\r\n"}
	if have := texts(s.waitFor(t, 2)); !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
	if n := s.Stats().Shutdown.Load(); n != 0 {
		t.Errorf("%d drops", n)
	}
}

// TestMail_Cut: a message whose sender goes away is none: it has it still.
func TestMail_Cut(t *testing.T) {
	t.Parallel()
	s := start(t, overSMTP, Options{}, newRecorder())
	c := talk(t, s)
	c.envelope()
	c.say("DATA", "354")
	c.write("Subject: half\r\n")
	c.nc.Close()
	eventually(t, "the connection is gone", func() bool { return s.Stats().Open.Load() == 0 })
	if frames := s.waitFor(t, 0); len(frames) != 0 {
		t.Errorf("%q", texts(frames))
	}
}

// TestMail_Limits: who is slow, silent, or sends what no sender does, is told and ended;
// one message too many at once is put off.
func TestMail_Limits(t *testing.T) {
	t.Parallel()
	s := start(t, overSMTP, Options{IdleTimeout: 50 * time.Millisecond}, newRecorder())
	c := greeted(t, s)
	c.expect("421")
	c.ended()
	eventually(t, "the idle connection is counted", func() bool { return s.Stats().Idle.Load() == 1 })

	s = start(t, overSMTP, Options{FrameTimeout: 50 * time.Millisecond, IdleTimeout: time.Minute}, newRecorder())
	c = talk(t, s)
	c.envelope()
	c.say("DATA", "354")
	c.expect("421")
	c.ended()
	if n := s.Stats().Slow.Load(); n != 1 {
		t.Errorf("Slow %d", n)
	}

	s = start(t, overSMTP, Options{}, newRecorder())
	c = talk(t, s)
	go io.WriteString(c.nc, "NOOP "+strings.Repeat("x", 1<<20)+"\r\n") // the other side may give it up
	c.expect("421")
	eventually(t, "the connection of the long command is gone", func() bool { return s.Stats().Open.Load() == 0 })
	c = talk(t, s)
	for range 1000 {
		c.write("NOOP\r\n")
	}
	for range 1000 {
		c.expect("250")
	}

	r := newRecorder()
	r.withhold = true
	s = start(t, overSMTP, Options{MaxFrame: 1 << 20, OpenFrames: 1 << 20, AnswerTimeout: time.Minute}, r)
	large := strings.Repeat("0123456789abcde\n", 1<<16)
	first, second := talk(t, s), talk(t, s)
	first.envelope()
	first.write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(large), large))
	s.waitFor(t, 1)
	second.envelope()
	second.write("BDAT 1000 LAST\r\n" + large[:1000])
	second.expect("451")
	s.release(0)
	first.expect("250")
	eventually(t, "the memory is free again", func() bool { return s.Listener.(*mailListener).inHand.Load() == 0 })
	second.envelope()
	second.write("BDAT 1000 LAST\r\n" + large[:1000])
	s.waitFor(t, 2)
	s.release(1)
	second.expect("250")
	if n := s.Stats().PutOffMemory.Load(); n != 1 {
		t.Errorf("%d were put off", n)
	}
}

// TestMail_Recipients: any, and of one message a thousand.
func TestMail_Recipients(t *testing.T) {
	t.Parallel()
	s := start(t, overSMTP, Options{}, newRecorder())
	c := talk(t, s)
	c.say("MAIL FROM:<a@example.org>", "250")
	for i := range recipientsMax {
		c.write(fmt.Sprintf("RCPT TO:<%d@example.net>\r\n", i))
	}
	for range recipientsMax {
		c.expect("250")
	}
	c.say("RCPT TO:<x@example.net>", "452")
	c.say("DATA", "354")
	c.say("x\r\n.", "250")
}

// TestMail_AnswerTimeout: a message that is not kept in time is answered with 451, and the
// session goes on; that it is kept later harms nobody.
func TestMail_AnswerTimeout(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	log := new(strings.Builder)
	s := start(t, overSMTP, Options{AnswerTimeout: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))}, r)
	c := talk(t, s)
	c.envelope()
	c.say("DATA", "354")
	c.say("one\r\n.", "451")
	s.release(0)
	c.say("NOOP", "250")
	s.stop()
	s.wait(t)
	if n := s.Stats().PutOffKafka.Load(); n != 1 || !strings.Contains(log.String(), "listeners[].answer_timeout") {
		t.Errorf("%d were put off; the log: %s", n, log)
	}
}

// TestMail_Proxy: behind a load balancer the sender is who the header names.
func TestMail_Proxy(t *testing.T) {
	t.Parallel()
	s := start(t, overSMTP, Options{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, newRecorder())
	nc := s.dial(t, "")
	send(t, nc, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 25\r\n")
	send(t, mailtest.New(nc, "EHLO"), "one")
	if f := s.waitFor(t, 1)[0]; f.peer.String() != "192.0.2.7:4000" || f.text != "one" {
		t.Errorf("%q from %s", f.text, f.peer)
	}
}

// TestMail_Reload: who may not send any more is told so, in the midst of a session, and
// certificates that are not trusted any more end STARTTLS sessions at their next message.
func TestMail_Reload(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, overSMTP, Options{}, r)
	c := talk(t, s)
	s.Reload(Options{Network: "smtp", Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	c.expect("421")
	eventually(t, "the refusal is counted", func() bool { return s.Stats().NotAllowed.Load() == 1 })

	a, other := certtest.New(t), certtest.New(t)
	mutual := func(by *certtest.Authority) *TLS {
		config := a.Issue(t, certtest.Subject{}).Server()
		config.ClientCAs, config.ClientAuth = by.Pool, tls.RequireAndVerifyClientCert
		return &TLS{Config: config}
	}
	s = start(t, overSMTP, Options{TLS: mutual(a)}, newRecorder())
	c = talk(t, s)
	c.say("MAIL FROM:<>", "530")
	c.say("STARTTLS", "220")
	secure := tls.Client(c.nc, a.Client(a.Issue(t, certtest.Subject{})))
	c.nc, c.in = secure, textproto.NewReader(bufio.NewReader(secure))
	c.say("EHLO client.example.org", "250")
	c.envelope()
	c.say("RSET", "250")
	s.Reload(Options{Network: "smtp", TLS: mutual(other)})
	c.say("MAIL FROM:<>", "530")
	if n := s.Stats().Handshakes.Load(); n != 0 {
		t.Errorf("%d handshakes failed", n)
	}
}

// TestMail_Garbage: bytes that are no SMTP end the session and nothing else.
func TestMail_Garbage(t *testing.T) {
	t.Parallel()
	s := start(t, overSMTP, Options{}, newRecorder())
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00", "GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n", strings.Repeat("\r\n", 10), strings.Repeat("\x00", 100_000),
		"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 99999999999 LAST\r\n", "EHLO x\r\nBDAT 4294967295\r\n" + strings.Repeat("x", 200_000),
		"EHLO x\r\nSTARTTLS\r\n", "LHLO x\r\n", "EHLO \r\n", "MAIL FROM:<" + strings.Repeat("a", 5000) + "@b>\r\n",
	} {
		c := s.dial(t, "")
		go func() {
			io.WriteString(c, text)
			c.(*net.TCPConn).CloseWrite()
		}()
		c.SetDeadline(time.Now().Add(patience))
		if answers, err := io.ReadAll(c); err == nil && !strings.HasPrefix(string(answers), "220 ") {
			t.Errorf("%.40q: %.300q", text, answers)
		}
	}
	eventually(t, "all are gone", func() bool { return s.Stats().Open.Load() == 0 })
	c := talk(t, s)
	c.envelope()
	c.say("DATA", "354")
	c.say("x\r\n.", "250")
}

// TestForward_Smtps: the certificate must be of somebody whom this machine trusts, which
// no test's is.
func TestForward_Smtps(t *testing.T) {
	t.Parallel()
	to := start(t, variants(t)[slices.Index(Networks(), "smtps")], Options{}, newRecorder())
	s := start(t, overSMTP, Options{Forward: Forward{Network: "smtps", Address: to.Addr().String()}, AnswerTimeout: patience}, newRecorder())
	c := talk(t, s)
	c.envelope()
	c.say("DATA", "354")
	c.say("x\r\n.", "451")
	if n := s.Stats().PutOffForward.Load(); n != 1 || len(s.waitFor(t, 0)) != 0 || len(to.waitFor(t, 0)) != 0 {
		t.Errorf("%d were put off", n)
	}
}

// TestForward_Silent: a parser that says nothing holds a sender no longer than
// answer_timeout, and a stop no longer than its deadline.
func TestForward_Silent(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	to := Forward{Network: "smtp", Address: silent.Addr().String()}
	s := start(t, overSMTP, Options{Forward: to, AnswerTimeout: 50 * time.Millisecond}, newRecorder())
	c := talk(t, s)
	c.envelope()
	c.say("DATA", "354")
	c.say("x\r\n.", "451")

	s = start(t, overSMTP, Options{Forward: to, AnswerTimeout: time.Hour}, newRecorder())
	c = talk(t, s)
	c.envelope()
	c.say("DATA", "354")
	c.write("x\r\n.\r\n")
	for range 2 { // of each message, one connection
		to, err := silent.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
	}
	s.abort()
	s.wait(t)
	if n := s.Stats().PutOffForward.Load(); n != 1 {
		t.Errorf("%d were put off", n)
	}
}
