package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/certtest"
)

func TestMail(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	c, err := Parse(filepath.Join(filepath.Dir(ca.File), "m.yaml"), []byte(`
mail:
  relay: smtp.example.com:587
  tls: {ca: `+filepath.Base(ca.File)+`}
  username: reports
  from: Reports@Bücher.example
reports:
  recipients:
    - {report: identities, domain: example.com, recipient: abuse@example.com}
    - {report: daily, domain: example.com, username: 192.0.2.1, recipient: abuse@example.com}
    - {domain: example.com}
  time_zone: Europe/Sofia
`), func(name string) string { return map[string]string{"MILLRACE_MAIL_PASSWORD": "secret"}[name] })
	if err != nil {
		t.Fatal(err)
	}
	if m := &c.Mail; m.Password.Reveal() != "secret" || m.Timeout != time.Minute || m.TLS.Mode != TLSStart {
		t.Errorf("%+v", m)
	}
	if tlsConfig, err := c.MailTLS(); err != nil || tlsConfig.ServerName != "smtp.example.com" || !tlsConfig.RootCAs.Equal(ca.Pool) {
		t.Errorf("%+v, %v", tlsConfig, err)
	}
	r := c.Reports
	if len(r.Recipients) != 3 || r.Recipients[0].Report != IdentitiesReport || r.Recipients[2].Report != DailyReport || r.TimeZone.String() != "Europe/Sofia" || len(r.InvalidSender) != 6 {
		t.Errorf("%+v", r)
	}
	c.Mail.TLS.Mode = TLSNone
	if tlsConfig, err := c.MailTLS(); tlsConfig != nil || err != nil {
		t.Errorf("%+v, %v", tlsConfig, err)
	}
}

func TestMail_Failure(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if _, err := Parse("m.yaml", []byte(text+"\n"), noEnv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	f("mail: {relay: smtp.example.com}", `mail.relay: got "smtp.example.com" (the port is missing); allowed HOST:PORT`)
	f("mail: {relay: 'smtp.example.com:25'}", `mail.from: got "" (the default); allowed an address, NAME@DOMAIN, with mail.relay`)
	f("mail: {relay: 'smtp.example.com:25', from: 'a b@example.com'}", `' ' cannot stand before the @`)
	f("mail: {relay: 'smtp.example.com:25', from: a@example.com, username: a}", `username and password (or $MILLRACE_MAIL_PASSWORD) go together`)
	f("mail: {relay: 'smtp.example.com:25', from: a@example.com, username: a, password: b, tls: {mode: none}}", `mail.tls.mode: got "none"; allowed starttls or implicit where a password goes beyond this machine`)
	f("mail: {relay: 'smtp.example.com:25', from: a@example.com, tls: {mode: none, verify: false}}", `mail.tls.mode: got "none"; allowed starttls or implicit with the other keys`)
	f("mail: {relay: 'smtp.example.com:25', from: a@example.com, tls: {ca: /nowhere/ca.pem}}", `mail.tls.ca: cannot use mail.tls.ca: cannot read ca: open /nowhere/ca.pem`)
	f("reports: {recipients: [{report: weekly, domain: example.com}]}", `reports.recipients[0].report: got "weekly"; allowed daily, identities`)
	f("reports: {recipients: [{report: daily}]}", `reports.recipients[0].domain: missing`)
	f("reports: {recipients: [{domain: 'a b'}]}", `reports.recipients[0].domain: got "a b"`)
	f(`reports: {recipients: [{domain: example.com, username: "a\r\nBcc: x"}]}`, `it has a control character`)
	f(`reports: {recipients: [{domain: example.com, recipient: "a@example.com\r\nBcc: x@example.com"}]}`, `reports.recipients[0].recipient: got`)
	f("reports: {recipients: [{domain: Example.com}, {domain: example.com, recipient: a@example.com}]}", `reports.recipients[0] is of the same report, domain and username already`)
	f("reports: {invalid_sender: [{status: ' '}]}", `reports.invalid_sender[0]: it names no status, class or sub_class`)
	f("reports: {mail_delay: 13h}", `reports.mail_delay: got "13h"; allowed`)
}
