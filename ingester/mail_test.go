package ingester

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"millrace/internal/certtest"
	"millrace/internal/config"
	"millrace/internal/porttest"
	"millrace/schema"
)

const mail = "  - {name: mail, address: 'smtp://127.0.0.1:0', max_frame: 4MiB, answer_timeout: 30s}\n"

// reportMail is a report of the corpus, with the line ends that SMTP wants.
func reportMail(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("arf/testdata/reports/" + name + ".eml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n")
}

// mailTo sends a message as a mail server does and returns the answer to it: nil is 250.
func (r *rig) mailTo(listener, message string, to ...string) error {
	r.t.Helper()
	c, err := smtp.NewClient(r.dial(listener), "127.0.0.1")
	if err != nil {
		return err
	}
	defer c.Close()
	return deliver(c, message, to...)
}

func deliver(c *smtp.Client, message string, to ...string) error {
	if len(to) == 0 {
		to = []string{"abuse@example.net"}
	}
	if err := c.Mail("complaints@loop.example.org"); err != nil {
		return err
	}
	for _, recipient := range to {
		if err := c.Rcpt(recipient); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, message); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// code is that of an answer; 250 for none that is an error.
func code(err error) int {
	var e *textproto.Error
	switch {
	case err == nil:
		return 250
	case errors.As(err, &e):
		return e.Code
	}
	return 0
}

// TestMail_AckAfterKafka: while Kafka's acknowledgement is withheld a message has no
// answer. Then it has its 250, and is there.
func TestMail_AckAfterKafka(t *testing.T) {
	t.Parallel()
	r := newRig(t, mail, "")
	asked, release := r.withhold()
	answer := make(chan error, 1)
	go func() { answer <- r.mailTo("mail", reportMail(t, "spamexperts")) }()
	<-asked
	r.within("the report is in flight", func(a Account) bool { return a.InFlight == 1 })
	select {
	case err := <-answer:
		t.Fatalf("answered before Kafka: %v", err)
	default:
	}
	release()
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if a := r.drained(); a.Published != 1 || a.Received != 1 {
		t.Errorf("%+v", a)
	}
	e := r.read(1)[0]
	e.want(t, "kind", "feedback", "listener", "mail", "transport", "smtp", "peer_ip", "127.0.0.1", "format", "arf", "feedback_type", "abuse",
		"auth_user", "bob@customer.example.com", "domain", "customer.example.com", "id", "1wWh6f-004mve-0F", "report_id", "arf-9@filter7.example.net",
		"event_time_source", "event", "direction", "unknown", "flags", "", "raw", "", "body", "")
}

// TestMail_KafkaAway: without Kafka's acknowledgement the answer is 451, and the sender's
// next try brings the report. The one that Kafka got after all is a second one with the
// same report_id.
func TestMail_KafkaAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: mail, address: 'smtp://127.0.0.1:0', answer_timeout: 1s}\n", "")
	_, release := r.withhold()
	if got := code(r.mailTo("mail", reportMail(t, "full"))); got != 451 {
		t.Fatalf("the answer is %d, want 451", got)
	}
	if n := r.listeners[0].Stats().PutOffKafka.Load(); n != 1 {
		t.Errorf("%d are put off", n)
	}
	release()
	for code(r.mailTo("mail", reportMail(t, "full"))) != 250 {
	}
	a := r.drained()
	if a.Published < 2 || len(a.Dropped) != 0 {
		t.Errorf("%+v", a)
	}
	for _, e := range r.read(int(a.Published)) {
		e.want(t, "report_id", "report-1@loop.example.org")
	}
}

// TestMail_DiskFull: while the gate is closed a message is put off, and nothing of it is
// in the account.
func TestMail_DiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: mail, address: 'smtp://127.0.0.1:0', answer_timeout: 1s}\n", "")
	r.gate.Close()
	if got := code(r.mailTo("mail", reportMail(t, "full"))); got != 451 {
		t.Fatalf("the answer is %d, want 451", got)
	}
	r.gate.Open()
	if got := code(r.mailTo("mail", reportMail(t, "full"))); got != 250 {
		t.Fatalf("the answer is %d", got)
	}
	if a := r.drained(); a.Received != 1 || a.Published != 1 {
		t.Errorf("%+v", a)
	}
}

// TestMail_Rejects: what is no report is taken and kept with its reason. What is too long
// is refused, whether its sender says so before or not, and its beginning is kept.
func TestMail_Rejects(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: mail, address: 'smtp://127.0.0.1:0', max_frame: 100KiB}\n", "")
	letter := reportMail(t, "no_mime")
	if err := r.mailTo("mail", letter); err != nil {
		t.Fatal(err)
	}
	if err := r.mailTo("mail", reportMail(t, "too_deep")); err != nil {
		t.Fatal(err)
	}
	long := reportMail(t, "full") + strings.Repeat("0123456789abcdef\r\n", 10_000)
	err := r.mailTo("mail", long)
	if code(err) != 552 || !strings.Contains(err.Error(), "listeners[].max_frame") {
		t.Errorf("a long message: %v", err)
	}
	c, err := smtp.NewClient(r.dial("mail"), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if ok, size := c.Extension("SIZE"); !ok || size != fmt.Sprint(100<<10) {
		t.Errorf("SIZE %q is offered", size)
	}
	id, err := c.Text.Cmd("MAIL FROM:<a@example.org> SIZE=%d", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	c.Text.StartResponse(id)
	_, _, err = c.Text.ReadResponse(250)
	c.Text.EndResponse(id)
	if code(err) != 552 || !strings.Contains(err.Error(), "listeners[].max_frame") {
		t.Errorf("a message that is said to be long: %v", err)
	}
	if err := deliver(c, reportMail(t, "minimal")); err != nil { // the session goes on
		t.Error(err)
	}
	a := r.drained()
	if a.Published != 1 || a.Rejected[schema.ReasonNotAReport] != 1 || a.Rejected[schema.ReasonMIMELimit] != 1 || a.Rejected[schema.ReasonOversize] != 2 {
		t.Errorf("%+v", a)
	}
	oversize := 0
	for _, e := range r.read(5) {
		switch e["reason"] {
		case "not_a_report":
			e.want(t, "raw", letter, "frame_bytes", fmt.Sprint(len(letter)))
		case "oversize":
			oversize++
			if strings.HasPrefix(e["raw"], "MAIL") {
				e.want(t, "raw", "MAIL FROM:<a@example.org> SIZE=1048576", "frame_bytes", "1048576")
			} else {
				e.want(t, "raw", long[:1024], "frame_bytes", fmt.Sprint(len(long)))
			}
		}
	}
	if oversize != 2 {
		t.Errorf("%d rejects for their size", oversize)
	}
}

// TestMail_LargerThanARecord: a report that no Kafka record can hold is an event all the
// same; what was cut is said.
func TestMail_LargerThanARecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: mail, address: 'smtp://127.0.0.1:0', max_frame: 4MiB, body: keep, raw: always}\n", "  batch_bytes: 64KiB\n")
	report := strings.Replace(reportMail(t, "full"), "pay later.", strings.Repeat("pay later. \xff\r\n", 200_000), 1)
	if err := r.mailTo("mail", report); err != nil {
		t.Fatal(err)
	}
	letter := "Subject: long\r\n\r\n" + strings.Repeat("no report\r\n", 100_000)
	if err := r.mailTo("mail", letter); err != nil {
		t.Fatal(err)
	}
	if a := r.drained(); a.Published != 1 || a.Rejected[schema.ReasonNotAReport] != 1 {
		t.Errorf("%+v", a)
	}
	for _, e := range r.read(2) {
		whole := report
		if e["kind"] == "reject" {
			whole = letter
			e.want(t, "frame_bytes", fmt.Sprint(len(letter)))
		} else {
			e.want(t, "subject_header", "Great offer", "report_id", "report-1@loop.example.org")
			if len(e["body"]) < 10_000 {
				t.Errorf("%d bytes of the body", len(e["body"]))
			}
		}
		if !strings.Contains(e["flags"], "cut") || len(e["raw"]) < 10_000 || !strings.HasPrefix(whole, e["raw"]) {
			t.Errorf("flags %q, %d bytes of raw", e["flags"], len(e["raw"]))
		}
	}
}

// TestMail_LMTP: each recipient has its answer, and the report is one event.
func TestMail_LMTP(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: mail, address: 'lmtp://127.0.0.1:0'}\n", "")
	c := gosmtp.NewClientLMTP(r.dial("mail"))
	defer c.Close()
	if err := c.Mail("", nil); err != nil {
		t.Fatal(err)
	}
	to := []string{"abuse@example.net", "postmaster@example.org", "x@example.net"}
	for _, recipient := range to {
		if err := c.Rcpt(recipient, nil); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, reportMail(t, "jmrp")); err != nil {
		t.Fatal(err)
	}
	answers, err := w.CloseWithLMTPResponse()
	if err != nil || len(answers) != len(to) {
		t.Errorf("%v %v", answers, err)
	}
	if a := r.drained(); a.Published != 1 || a.Received != 1 {
		t.Errorf("%+v", a)
	}
	r.read(1)[0].want(t, "transport", "lmtp", "flags", "no_report_part", "message_id", "0a1b2c@shop.example.com")
}

// TestMail_TLS: from the first byte on smtps, by STARTTLS on smtp; with client_ca not in
// clear, and not without a certificate.
func TestMail_TLS(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	pair := a.Issue(t, certtest.Subject{})
	keys := fmt.Sprintf("tls: {cert: %q, key: %q", pair.Cert, pair.Key)
	r := newRig(t, "  - {name: smtps, address: 'smtps://127.0.0.1:0', "+keys+"}}\n"+
		"  - {name: smtp, address: 'smtp://127.0.0.1:0', "+keys+"}}\n"+
		"  - {name: mutual, address: 'smtp://127.0.0.1:0', "+keys+fmt.Sprintf(", client_ca: %q}}\n", a.File), "")
	encrypted, err := smtp.NewClient(tls.Client(r.dial("smtps"), a.Client()), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := deliver(encrypted, reportMail(t, "full")); err != nil {
		t.Error(err)
	}
	if ok, _ := encrypted.Extension("STARTTLS"); ok {
		t.Error("STARTTLS is offered within TLS")
	}
	start := func(listener string, c *tls.Config) (*smtp.Client, error) {
		client, err := smtp.NewClient(r.dial(listener), "127.0.0.1")
		if err != nil {
			return nil, err
		}
		if ok, _ := client.Extension("STARTTLS"); !ok {
			return nil, errors.New("STARTTLS is not offered")
		}
		return client, client.StartTLS(c)
	}
	for _, c := range []struct {
		listener string
		config   *tls.Config
		ok       bool
	}{
		{"smtp", a.Client(), true},
		{"mutual", a.Client(a.Issue(t, certtest.Subject{})), true},
		{"mutual", a.Client(), false},
	} {
		client, err := start(c.listener, c.config)
		if err == nil {
			err = deliver(client, reportMail(t, "full"))
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.listener, err)
		}
	}
	if err := r.mailTo("smtp", reportMail(t, "full")); err != nil {
		t.Errorf("in clear, where nobody minds: %v", err)
	}
	if err := r.mailTo("mutual", reportMail(t, "full")); code(err) != 530 || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("in clear, where client_ca is set: %v", err)
	}
	within(t, "the handshake that failed is counted", func() bool { return r.listeners[2].Stats().Handshakes.Load() == 1 }, func() string { return "" })
	if a := r.drained(); a.Published != 4 {
		t.Errorf("%+v", a)
	}
}

// parser is a server that stands for an existing parser of reports.
type parser struct {
	addr  string
	mu    sync.Mutex
	fails error
	got   []string // envelope and message
}

func startParser(t *testing.T) *parser {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &parser{addr: l.Addr().String()}
	s := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return &parserSession{p: p}, nil }))
	s.Domain = "parser.example.net"
	a := certtest.New(t)
	s.TLSConfig = a.Issue(t, certtest.Subject{}).Server() // of an authority that nobody knows
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-ended })
	return p
}

func (p *parser) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = err
}

func (p *parser) messages() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.got...)
}

type parserSession struct {
	p        *parser
	envelope string
}

func (s *parserSession) Reset()        { s.envelope = "" }
func (s *parserSession) Logout() error { return nil }
func (s *parserSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.envelope = from
	return nil
}
func (s *parserSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.envelope += " " + to
	return nil
}
func (s *parserSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.fails != nil {
		return s.p.fails
	}
	s.p.got = append(s.p.got, s.envelope+"\n"+string(b))
	return nil
}

// TestMail_Forward: each message reaches the parser as it came, with its envelope, before
// it is taken; if it does not, the sender is told to try again and nothing is kept.
func TestMail_Forward(t *testing.T) {
	t.Parallel()
	p := startParser(t)
	r := newRig(t, "  - {name: mail, address: 'smtp://127.0.0.1:0', forward_to: 'smtp://"+p.addr+"'}\n", "")
	report := reportMail(t, "spamexperts") + ".\r\n..dots\r\n"
	if err := r.mailTo("mail", report, "abuse@example.net", "second@example.net"); err != nil {
		t.Fatal(err)
	}
	want := "complaints@loop.example.org abuse@example.net second@example.net\n" + report
	if got := p.messages(); len(got) != 1 || got[0] != want {
		t.Errorf("the parser got %q\nwant %q", got, want)
	}
	for _, fails := range []error{&gosmtp.SMTPError{Code: 451, Message: "busy"}, &gosmtp.SMTPError{Code: 554, Message: "no"}} {
		p.set(fails)
		if err := r.mailTo("mail", report); code(err) != 451 {
			t.Errorf("the parser says %v, the answer is %v", fails, err)
		}
	}
	p.set(nil)
	if err := r.mailTo("mail", reportMail(t, "no_mime")); err != nil { // whatever it is
		t.Error(err)
	}
	if n := r.listeners[0].Stats().PutOffForward.Load(); n != 2 {
		t.Errorf("%d are put off", n)
	}
	if got := p.messages(); len(got) != 2 {
		t.Errorf("the parser got %d messages", len(got))
	}
	if a := r.drained(); a.Received != 2 || a.Published != 1 || a.Rejected[schema.ReasonNotAReport] != 1 {
		t.Errorf("%+v", a)
	}
}

// TestMail_ForwardAway: nobody listens there.
func TestMail_ForwardAway(t *testing.T) {
	t.Parallel()
	gone := porttest.TCP(t)
	r := newRig(t, "  - {name: mail, address: 'smtp://127.0.0.1:0', forward_to: 'smtps://"+gone+"'}\n", "")
	if err := r.mailTo("mail", reportMail(t, "full")); code(err) != 451 {
		t.Errorf("%v", err)
	}
	if a := r.drained(); a.Received != 0 {
		t.Errorf("%+v", a)
	}
	if text := r.log.String(); !strings.Contains(text, "smtps://"+gone) || !strings.Contains(text, "listeners[].forward_to") {
		t.Errorf("the log:\n%s", text)
	}
}

// TestMail_Reload: what the events have of the original changes with the next message.
func TestMail_Reload(t *testing.T) {
	t.Parallel()
	r := newRig(t, mail, "")
	if err := r.mailTo("mail", reportMail(t, "full")); err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, r.broker.Addr, strings.Replace(mail, "}", ", body: keep, direction: outgoing}", 1), "")
	if err := r.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if err := r.mailTo("mail", reportMail(t, "full")); err != nil {
		t.Fatal(err)
	}
	r.drained()
	bodies := ""
	for _, e := range r.read(2) {
		bodies += e["direction"] + " " + e["body"]
	}
	if !strings.Contains(bodies, "outgoing Buy now, pay later.\r\n") || !strings.Contains(bodies, "unknown ") {
		t.Errorf("%q", bodies)
	}
}

// TestMail_Redecode: a message that is stored is decoded again by the listener's rules, or
// by the format's name.
func TestMail_Redecode(t *testing.T) {
	t.Parallel()
	cfg := parse(t, "127.0.0.1:1", mail+tcp, "")
	for format, listener := range map[string]string{"": "mail", config.ReportFormat: "tcp"} {
		r, err := NewRedecoder(cfg, format)
		if err != nil {
			t.Fatal(err)
		}
		e, reason, err := r.Decode(Stored{Listener: listener, Transport: "smtp", Peer: netip.MustParseAddr("192.0.2.1"), Received: time.Now().UnixMilli(), Frame: []byte(reportMail(t, "full"))})
		if err != nil || reason != "" || e.Kind != schema.Feedback || string(e.Text(schema.Feedback.Index("message_id"))) != "0a1b2c@shop.example.com" {
			t.Errorf("%q: %v %v", format, reason, err)
		}
		if _, reason, err = r.Decode(Stored{Listener: listener, Frame: []byte("Subject: x\n\nno report")}); err != nil || reason != schema.ReasonNotAReport {
			t.Errorf("%q: %v %v", format, reason, err)
		}
	}
	if _, err := NewRedecoder(cfg, "arff"); err == nil || !strings.Contains(err.Error(), `"arf"`) {
		t.Error(err)
	}
}

// TestMail_Tap: who watches sees reports and rejects, of a long message the beginning.
func TestMail_Tap(t *testing.T) {
	t.Parallel()
	r := newRig(t, mail, "")
	events := get(t, r.watch(), "/tap", "rate=0&count=3")
	for _, message := range []string{reportMail(t, "full"), reportMail(t, "text_plain"), reportMail(t, "spamexperts") + strings.Repeat("x\r\n", shownMax)} {
		if err := r.mailTo("mail", message); err != nil {
			t.Fatal(err)
		}
	}
	shown, _ := lines(t, events.Body)
	if len(shown) != 3 {
		t.Fatalf("%q", shown)
	}
	for i, want := range []string{"shop.example.com", "not_a_report", "customer.example.com"} {
		e := shown[i]
		if e["domain"] != want && e["reason"] != want || e["transport"] != "smtp" {
			t.Errorf("%d: %v", i, e)
		}
	}
}

// TestMail_Load: many senders at once, over connections that they keep; each message is
// there once.
func TestMail_Load(t *testing.T) {
	t.Parallel()
	const senders, messages = 8, 25
	r := newRig(t, mail, "")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	report := reportMail(t, "full")
	failed := make(chan error, senders)
	for s := range senders {
		go func() {
			c := gosmtp.NewClient(r.dial("mail"))
			defer c.Close()
			for m := range messages {
				message := strings.Replace(report, "<report-1@", fmt.Sprintf("<report-%d-%d@", s, m), 1)
				if err := c.SendMail("a@example.org", []string{"abuse@example.net"}, bytes.NewReader([]byte(message))); err != nil {
					failed <- err
					return
				}
			}
			failed <- c.Quit()
		}()
	}
	for range senders {
		select {
		case err := <-failed:
			if err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			t.Fatal("the senders do not end")
		}
	}
	if a := r.drained(); a.Published != senders*messages {
		t.Errorf("%+v", a)
	}
	seen := map[string]bool{}
	for _, e := range r.read(senders * messages) {
		seen[e["report_id"]] = true
	}
	if len(seen) != senders*messages {
		t.Errorf("%d reports are there, want %d", len(seen), senders*messages)
	}
}
