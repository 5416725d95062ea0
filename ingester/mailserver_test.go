package ingester

import (
	"fmt"
	"net"
	"net/smtp"
	"strconv"
	"strings"
	"testing"

	"millrace/internal/certtest"
	"millrace/internal/imaptest"
	"millrace/schema"
)

// TestMail_FromAServer: a real mail server, Debian's dovecot, relays reports to the
// listener, with and without TLS, and tells its own client what it hears.
func TestMail_FromAServer(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	pair := a.Issue(t, certtest.Subject{})
	r := newRig(t, fmt.Sprintf("  - {name: smtp, address: 'smtp://127.0.0.1:0', max_frame: 1MiB, tls: {cert: %q, key: %q}}\n", pair.Cert, pair.Key)+
		fmt.Sprintf("  - {name: smtps, address: 'smtps://127.0.0.1:0', max_frame: 1MiB, tls: {cert: %q, key: %q}}\n", pair.Cert, pair.Key), "")
	for _, c := range []struct{ listener, tls, report string }{
		{"smtp", "no", "spamexperts"},
		{"smtp", "starttls", "full"},
		{"smtps", "smtps", "auth_failure"},
	} {
		t.Run(c.tls, func(t *testing.T) {
			server := imaptest.StartRelay(t, imaptest.Relay{Address: r.addr[c.listener].String(), TLS: c.tls, CA: a.File})
			send := func(message string) error {
				client, err := smtp.Dial(net.JoinHostPort(server.Host, strconv.Itoa(server.MailPort)))
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				if err := client.Auth(smtp.PlainAuth("", imaptest.User, imaptest.Password, server.Host)); err != nil {
					t.Fatal(err)
				}
				return deliver(client, message)
			}
			before := r.Account().Received
			report := reportMail(t, c.report)
			for range 3 {
				if err := send(report + "\r\n.a line with a dot\r\n"); err != nil {
					t.Fatal(err)
				}
			}
			if err := send(report + strings.Repeat("x\r\n", 1<<20)); code(err) != 552 && code(err) != 554 {
				t.Errorf("a report of 3 MiB: %v", err)
			}
			if got := r.Account().Received - before; got < 3 {
				t.Errorf("%d received", got)
			}
		})
	}
	acc := r.drained()
	if acc.Published != 9 || acc.RejectedTotal() != acc.Rejected[schema.ReasonOversize] {
		t.Errorf("%+v", acc)
	}
	for _, e := range r.read(int(acc.Published + acc.RejectedTotal())) {
		if e["kind"] != "reject" {
			e.want(t, "kind", "feedback")
		}
	}
}
