package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/certtest"
)

func TestQuarantine(t *testing.T) {
	t.Parallel()
	c := Default()
	q := &c.Quarantine
	if q.Username != "global" || q.PortOrDefault() != 993 || q.Zone() != time.Local || q.Incoming[0] != "Caught" || q.Outgoing[0] != "Caught (Outgoing)" {
		t.Errorf("%+v", q)
	}
	ca := certtest.New(t)
	c, err := Parse(filepath.Join(filepath.Dir(ca.File), "m.yaml"), []byte(`
quarantine:
  host: quarantine.example.com
  tls: {mode: starttls, ca: `+filepath.Base(ca.File)+`, verify: false}
  time_zone: Europe/Amsterdam
  password_file: secret
  outgoing: [A, B]
  columns: {evidence: ['X-Why', 'Received ~ because of (\S+)']}
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	q = &c.Quarantine
	if q.PortOrDefault() != 143 || q.Zone().String() != "Europe/Amsterdam" || q.PasswordFile != filepath.Join(filepath.Dir(ca.File), "secret") {
		t.Errorf("%+v", q)
	}
	tlsConfig, err := c.QuarantineTLS()
	if err != nil || tlsConfig.ServerName != "quarantine.example.com" || !tlsConfig.InsecureSkipVerify || !tlsConfig.RootCAs.Equal(ca.Pool) {
		t.Errorf("%+v, %v", tlsConfig, err)
	}
	c.Quarantine.TLS.Mode = TLSNone
	if tlsConfig, err := c.QuarantineTLS(); tlsConfig != nil || err != nil {
		t.Errorf("%+v, %v", tlsConfig, err)
	}
}

func TestQuarantine_Failure(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if _, err := Parse("m.yaml", []byte("quarantine: "+text+"\n"), noEnv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	f("{host: 'imap.example.com/x'}", `quarantine.host: got "imap.example.com/x" (not a host alone`)
	f("{port: 70000}", `quarantine.port: got "70000"; allowed a whole number, 0 to 65535`)
	f("{username: ''}", `quarantine.username: got ""; allowed a user's name`)
	f("{tls: {mode: maybe}}", `quarantine.tls.mode: got "maybe"; allowed implicit, starttls, none`)
	f("{tls: {mode: none, verify: false}}", `quarantine.tls.mode: got "none"; allowed implicit or starttls`)
	f("{tls: {ca: /nowhere/ca.pem}}", `quarantine.tls.ca: cannot use quarantine.tls.ca: cannot read ca: open /nowhere/ca.pem`)
	f("{outgoing: ['']}", `quarantine.outgoing[0]: got ""; allowed a folder's name`)
	f("{incoming: [A, A]}", `quarantine.incoming[1]: got "A"; allowed each folder once`)
	f("{time_zone: Mars/Base}", `quarantine.time_zone: got "Mars/Base"`)
	f("{max_header: 1KiB}", `quarantine.max_header: got "1KiB"`)
	f("{columns: {from: ['F rom']}}", `quarantine.columns.from[0]: got "F rom" (' ' cannot be in a header's name)`)
	f("{columns: {from: ['From ~ (']}}", "error parsing regexp: missing closing )")
	f("{columns: {from: ['From ~ (a)(b)']}}", "2 groups: the value is one, others are written (?:...)")
	f("{columns: {from: ['From ~ ']}}", "the regular expression is missing")
	f("{columns: {from: ['']}}", "the header's name is missing")
	f("{columns: {nothing: []}}", "quarantine.columns.nothing: unknown key; allowed from, to, reply_to")
}
