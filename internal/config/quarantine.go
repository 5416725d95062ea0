package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Quarantine is the mail filter's quarantine, which is read over IMAP.
type Quarantine struct {
	Host         string
	Port         int // 0: the one that goes with TLS.Mode; see PortOrDefault
	Username     string
	Password     Secret
	PasswordFile string
	TLS          IMAPTLS
	Timeout      time.Duration
	TimeZone     *time.Location // nil: that of this machine
	Incoming     []string       // folders
	Outgoing     []string
	Columns      QuarantineColumns
	MaxHeader    Size
	Raw          string // always, flagged, never
}

// IMAPTLS is the encryption of the connection to the quarantine.
type IMAPTLS struct {
	Mode       string // TLSImplicit, TLSStart, TLSNone
	CA         string
	ServerName string
	Verify     bool
}

// Values of IMAPTLS.Mode.
const (
	TLSImplicit = "implicit"
	TLSStart    = "starttls"
	TLSNone     = "none"
)

// QuarantineColumns says which headers fill the columns; see ParseHeaderSource.
type QuarantineColumns struct {
	From, To, ReplyTo, QmailUID, InvokedFor, Client, Evidence, PHPScript, AuthSender, AuthUser, AuthEmail []string
}

// ColumnSources are the sources of one column.
type ColumnSources struct {
	Key     string // as in the file
	Sources []string
}

// All are the columns in the order of the list that is printed, behind the number.
func (c *QuarantineColumns) All() []ColumnSources {
	return []ColumnSources{
		{"from", c.From}, {"to", c.To}, {"reply_to", c.ReplyTo}, {"qmail_uid", c.QmailUID}, {"invoked_for", c.InvokedFor}, {"client", c.Client},
		{"evidence", c.Evidence}, {"php_script", c.PHPScript}, {"auth_sender", c.AuthSender}, {"auth_user", c.AuthUser}, {"auth_email", c.AuthEmail},
	}
}

// HeaderSource is where a column's value comes from: a header field and, if only a part of
// it is meant, the pattern that finds the part.
type HeaderSource struct {
	Name    string         // lower case; * stands for any characters
	Pattern *regexp.Regexp // nil: all of it; with a group, what the group matches
}

// headerSources is what the keys of QuarantineColumns allow.
const headerSources = "a list of NAME and NAME ~ REGULAR EXPRESSION"

// patternMark stands between the name of a field and the pattern.
const patternMark = " ~ "

// ParseHeaderSource reads "X-PHP-Script", "X-*-Evidence" or "Received ~ by uid (\d+)".
func ParseHeaderSource(text string) (s HeaderSource, err error) {
	name, pattern, parted := strings.Cut(text, patternMark)
	s.Name = strings.ToLower(strings.TrimSpace(name))
	if s.Name == "" {
		return s, errors.New("the header's name is missing")
	}
	for _, c := range s.Name {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return s, fmt.Errorf("%q cannot be in a header's name", c)
		}
	}
	if !parted {
		return s, nil
	}
	pattern = strings.TrimSpace(pattern)
	if pattern == "" {
		return s, errors.New("the regular expression is missing")
	}
	if s.Pattern, err = regexp.Compile(pattern); err != nil {
		return s, err
	}
	if n := s.Pattern.NumSubexp(); n > 1 {
		return s, fmt.Errorf("%d groups: the value is one, others are written (?:...)", n)
	}
	return s, nil
}

// PortOrDefault is the port, or that of the encryption's kind.
func (q *Quarantine) PortOrDefault() int {
	switch {
	case q.Port != 0:
		return q.Port
	case q.TLS.Mode == TLSImplicit:
		return 993
	}
	return 143
}

// Zone is the zone that days begin in.
func (q *Quarantine) Zone() *time.Location {
	if q.TimeZone == nil {
		return time.Local
	}
	return q.TimeZone
}

// QuarantineTLS is the encryption towards the quarantine; nil: none.
func (c *Config) QuarantineTLS() (*tls.Config, error) {
	q := &c.Quarantine
	if q.TLS.Mode == TLSNone {
		return nil, nil
	}
	t := TLS{Enabled: true, CA: q.TLS.CA, ServerName: q.TLS.ServerName}
	got, err := t.load("")
	if err != nil {
		return nil, fmt.Errorf("cannot use quarantine.tls.ca: %w", err)
	}
	if got.ServerName == "" {
		got.ServerName = q.Host
	}
	got.InsecureSkipVerify = !q.TLS.Verify
	return got, nil
}

// resolve makes the section's paths absolute or relative to where we are.
func (q *Quarantine) resolve(dir string) {
	for _, path := range []*string{&q.TLS.CA, &q.PasswordFile} {
		if *path != "" {
			*path = resolve(dir, *path)
		}
	}
}

func (q *Quarantine) keys() []key {
	folders := func(name string, to *[]string, def, doc string) key {
		return texts(name, to, def, doc, "a list of folders' names")
	}
	return []key{
		{name: "host", to: textValue{&q.Host, checkHost}, def: `""`, allowed: "a host name or an IP address",
			doc: "The IMAP server: of a local cloud its primary server, or the quarantine server."},
		number("port", &q.Port, "0", 0, 65535, "Its port; 0 is 993 with tls.mode implicit, else 143."),
		text("username", &q.Username, "global", "User. The account global sees the quarantine of all domains."),
		secret("password", &q.Password, "MILLRACE_IMAP_PASSWORD", "Password. Without one it is asked for."),
		text("password_file", &q.PasswordFile, "", "File whose first line is the password. Relative paths start at this file's directory."),
		sub("tls", &q.TLS, "Encryption towards the server."),
		duration("timeout", &q.Timeout, "30s", second, 10*minute, "For a connection, and for the server's next word."),
		{name: "time_zone", to: localZoneValue{&q.TimeZone}, def: "local", allowed: "local (of the machine), a name such as Europe/Amsterdam, or an offset such as +02:00",
			doc: "Zone that days begin and end in: today, yesterday, --from and --to."},
		folders("incoming", &q.Incoming, "[Caught]", "Folders of the incoming quarantine."),
		folders("outgoing", &q.Outgoing, "['Caught (Outgoing)']", "Folders of the outgoing quarantine."),
		sub("columns", &q.Columns, `Which headers fill the columns: of each list the first that gives a value. An entry is a header's name, in which * stands for any characters, or NAME ~ REGULAR EXPRESSION, `+
			`of which the value is the group, or all that matches. A name that a message has more than once is looked at from the top.`),
		size("max_header", &q.MaxHeader, "64KiB", 4*KiB, MiB, "So much of a message's header is read; a longer one is flagged incomplete."),
		oneOf("raw", &q.Raw, "flagged", "Which events of --load keep the header they came from (column raw): all, those with a flag, none.", "always", "flagged", "never"),
	}
}

func (t *IMAPTLS) keys() []key {
	return []key{
		oneOf("mode", &t.Mode, TLSImplicit, "implicit: TLS from the first byte; starttls: after a word in clear; none: the password and the mail in clear, which is done on loopback only.",
			TLSImplicit, TLSStart, TLSNone),
		text("ca", &t.CA, "", "PEM file of the authorities that we trust; empty: those of the system. Relative paths start at this file's directory."),
		text("server_name", &t.ServerName, "", "Name that the server's certificate must have; empty: host."),
		boolean("verify", &t.Verify, "true", "Verify the server's certificate. false: whoever is in between reads the password."),
	}
}

func (c *QuarantineColumns) keys() []key {
	sources := func(name string, to *[]string, def, doc string) key {
		return texts(name, to, def, doc, headerSources)
	}
	return []key{
		sources("from", &c.From, "[From]", "From."),
		sources("to", &c.To, "[To]", "To."),
		sources("reply_to", &c.ReplyTo, "[Reply-To]", "Reply-To."),
		sources("qmail_uid", &c.QmailUID, `['Received ~ \(qmail \d+ invoked by uid (\d+)\)']`, "Qmail UID: the user of the sending server who called qmail."),
		sources("invoked_for", &c.InvokedFor, `['Received ~ \(qmail \d+ invoked for ([^)]+)\)']`, "Invoked for: what qmail was called for, as in: bounce."),
		sources("client", &c.Client, `[X-*-Username, 'X-Originating-IP ~ ([0-9A-Fa-f.:]{3,})', 'Received ~ ^from [^;]*?\[([0-9A-Fa-f.:]{3,})\]']`,
			"IP/Username: who handed the message to the filter."),
		sources("evidence", &c.Evidence, "[X-*-Outgoing-Evidence, X-*-Evidence]", "Evidence: why the filter keeps it."),
		sources("php_script", &c.PHPScript, "[X-PHP-Script, X-PHP-Originating-Script]", "PHP script that sent it."),
		sources("auth_sender", &c.AuthSender, `['X-Authenticated-Sender ~ (\S+)$', 'X-Get-Message-Sender-Via ~ (?:authenticated_id|sender_ident)[:/ ]+([^\s/]+)']`,
			"Auth.sender: the sender that the sending server authenticated."),
		sources("auth_user", &c.AuthUser, `[X-AuthUser, X-Auth-User, X-Authenticated-User, 'Authentication-Results ~ smtp\.auth=([^\s;]+)']`, "Auth-User."),
		sources("auth_email", &c.AuthEmail, "[X-Auth-Email, X-AuthEmail, X-Authenticated-Email]", "Auth-Email."),
	}
}

func (c *Config) checkQuarantine(d *decoder) {
	q := &c.Quarantine
	for _, column := range q.Columns.All() {
		for i, s := range column.Sources {
			if _, err := ParseHeaderSource(s); err != nil {
				d.report(fmt.Sprintf("quarantine.columns.%s[%d]", column.Key, i), Problem{Got: quoted(s),
					Allowed: `a header's name, or NAME ~ REGULAR EXPRESSION with one group at most, as in 'Received ~ by uid (\d+)'`, Why: err.Error()})
			}
		}
	}
	for _, l := range []struct {
		key     string
		folders []string
	}{{"quarantine.incoming", q.Incoming}, {"quarantine.outgoing", q.Outgoing}} {
		for i, name := range l.folders {
			switch {
			case name == "":
				d.report(fmt.Sprintf("%s[%d]", l.key, i), Problem{Got: quoted(name), Allowed: "a folder's name"})
			case slices.Contains(l.folders[:i], name):
				d.report(fmt.Sprintf("%s[%d]", l.key, i), Problem{Got: quoted(name), Allowed: "each folder once"})
			}
		}
	}
	if q.Username == "" && !d.failed("quarantine.username") {
		d.report("quarantine.username", Problem{Got: quoted(""), Allowed: "a user's name"})
	}
	if q.TLS.Mode == TLSNone && (q.TLS.CA+q.TLS.ServerName != "" || !q.TLS.Verify) && !d.failed("quarantine.tls") {
		d.report("quarantine.tls.mode", Problem{Got: quoted(TLSNone), Allowed: "implicit or starttls with the other keys of quarantine.tls"})
	} else if _, err := c.QuarantineTLS(); err != nil && !d.failed("quarantine.tls") {
		d.report("quarantine.tls.ca", Problem{Text: err.Error()})
	}
}

func checkHost(s string) error {
	if strings.ContainsAny(s, " \t/[]@") {
		return errors.New("not a host alone: the port has its own key, and IPv6 has no brackets")
	}
	return nil
}

// localZoneValue is zoneValue with the word local, which is nil.
type localZoneValue struct{ loc **time.Location }

func (v localZoneValue) String() string {
	if *v.loc == nil {
		return "local"
	}
	return (*v.loc).String()
}

func (v localZoneValue) Set(text string) (err error) {
	*v.loc, err = ParseLocalZone(text)
	return err
}

// ParseLocalZone is ParseTimeZone with the word local, which is nil: for what one person
// asks on one machine.
func ParseLocalZone(text string) (*time.Location, error) {
	if text == "local" {
		return nil, nil
	}
	return ParseTimeZone(text)
}
