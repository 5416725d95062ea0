package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/internal/mailname"
)

// Recipient is who gets a kind of report about an outgoing user, or all of a domain.
type Recipient struct {
	Report    string // DailyReport, IdentitiesReport
	Domain    string
	Username  string // empty: all of the domain
	Recipient string // empty: nobody
}

// The reports that are sent by mail.
const (
	DailyReport      = "daily"
	IdentitiesReport = "identities"
)

func (r *Recipient) keys() []key {
	report := oneOf("report", &r.Report, DailyReport, "daily: a day, by outgoing user; identities: two hours, by identity.", DailyReport, IdentitiesReport)
	return []key{
		report,
		{name: "domain", to: textValue{&r.Domain, checkDomain}, need: true, allowed: "a domain", doc: "Domain that outgoing users authenticate with: what is behind the @ of auth_user."},
		{name: "username", to: textValue{&r.Username, checkUsername}, def: `""`, allowed: "text", doc: "What is before the @; empty: all users of the domain, each with rows of its own."},
		{name: "recipient", to: textValue{&r.Recipient, checkRecipient}, def: `""`, allowed: "an address, NAME@DOMAIN", doc: "Who gets the mail; empty: nobody."},
	}
}

func checkDomain(s string) error {
	_, err := mailname.Domain(s)
	return err
}

func checkUsername(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("it has a control character")
	}
	return nil
}

func checkRecipient(s string) error {
	if s == "" {
		return nil
	}
	_, err := mailname.Mailbox(s)
	return err
}

func (c *Config) checkRecipients(d *decoder) {
	same := func(a Recipient) func(Recipient) bool {
		name := func(r Recipient) string {
			domain, _ := mailname.Domain(r.Domain)
			return r.Report + " " + domain + " " + mailname.Identity(r.Username)
		}
		return func(b Recipient) bool { return name(a) == name(b) }
	}
	for i, r := range c.Reports.Recipients {
		if j := slices.IndexFunc(c.Reports.Recipients[:i], same(r)); j >= 0 && r.Domain != "" {
			d.report(fmt.Sprintf("reports.recipients[%d]", i), Problem{Text: fmt.Sprintf("reports.recipients[%d] is of the same report, domain and username already", j)})
		}
	}
}
