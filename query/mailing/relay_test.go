package mailing

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"millrace/internal/certtest"
	"millrace/internal/config"
)

// STARTTLS and TLS from the first byte, with a password.
func TestRelay_TLS(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	pair := ca.Issue(t, certtest.Subject{})
	p := newPost(t, func(s *smtp.Server) { s.TLSConfig, s.AllowInsecureAuth = pair.Server(), false }, nil)
	r := &Relay{Address: p.address, TLS: ca.Client(), Mode: config.TLSStart, Username: "joe", Password: "secret", From: "reports@example.com"}
	must(t, r.Send(t.Context(), "Bob@example.com", "Hello\r\nBcc: eve@example.net", "Grüße\n.\nend\n"))
	l := p.all()[0]
	if !l.encrypted || l.user != "joe" || l.to != "Bob@example.com" || l.from != "reports@example.com" {
		t.Errorf("%+v", l)
	}
	if got := l.header(t, "Bcc"); got != "" {
		t.Errorf("a header Bcc: %q", got)
	}
	if got := l.header(t, "Subject"); got != "Hello__Bcc: eve@example.net" {
		t.Errorf("subject %q", got)
	}
	for _, want := range []string{"Gr=C3=BC=C3=9Fe\r\n.\r\nend\r\n", "Auto-Submitted: auto-generated\r\n"} {
		if !strings.Contains(l.text, want) {
			t.Errorf("no %q in\n%s", want, l.text)
		}
	}

	r.Password = "wrong"
	if err := r.Send(t.Context(), "bob@example.com", "x", "x"); err == nil || !strings.Contains(err.Error(), `cannot log in as "joe" (mail.username)`) {
		t.Error(err)
	}
	r.Password = "secret"
	stranger := certtest.New(t)
	r.TLS = stranger.Client()
	if err := r.Send(t.Context(), "bob@example.com", "x", "x"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	if n := len(p.all()); n != 1 {
		t.Errorf("%d letters", n)
	}
}

// A relay without STARTTLS gets nothing where it is wanted.
func TestRelay_NoDowngrade(t *testing.T) {
	t.Parallel()
	p := newPost(t, nil, nil)
	r := &Relay{Address: p.address, TLS: certtest.New(t).Client(), Mode: config.TLSStart, From: "reports@example.com"}
	if err := r.Send(t.Context(), "bob@example.com", "x", "x"); err == nil || !strings.Contains(err.Error(), "STARTTLS") || len(p.all()) != 0 {
		t.Errorf("%v, %d letters", err, len(p.all()))
	}
}

func TestRelay_Implicit(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	front := newTLSFront(t, ca.Issue(t, certtest.Subject{}), newPost(t, nil, nil))
	r := &Relay{Address: front.address, TLS: ca.Client(), Mode: config.TLSImplicit, From: "reports@example.com"}
	must(t, r.Send(t.Context(), "bob@example.com", "x", "x"))
	if n := len(front.all()); n != 1 {
		t.Errorf("%d letters", n)
	}
}

// Nothing of an address gets into the commands.
func TestRelay_Addresses(t *testing.T) {
	t.Parallel()
	p := newPost(t, nil, nil)
	r := &Relay{Address: p.address, Mode: config.TLSNone, From: "reports@example.com"}
	for _, to := range []string{"a@example.com>\r\nRCPT TO:<eve@example.net", "a@example.com> NOTIFY=NEVER", "", "a"} {
		if err := r.Send(t.Context(), to, "x", "x"); err == nil {
			t.Errorf("%q was taken", to)
		}
	}
	if n := len(p.all()); n != 0 {
		t.Errorf("%d letters", n)
	}
}

// A relay that says nothing holds nobody up for longer than the timeout. Before the last dot
// it has not taken the mail.
func TestRelay_Silent(t *testing.T) {
	t.Parallel()
	address := silent(t)
	r := &Relay{Address: address, Mode: config.TLSNone, From: "reports@example.com", Timeout: 50 * time.Millisecond}
	err := r.Send(t.Context(), "bob@example.com", "x", "x")
	var away unreachable
	if !errors.As(err, &away) || !strings.Contains(err.Error(), "cannot send mail over "+address+" (mail.relay)") {
		t.Error(err)
	}
	var open unsure
	if errors.As(err, &open) {
		t.Error("nobody knows whether it was sent, before a word of it was")
	}
}
