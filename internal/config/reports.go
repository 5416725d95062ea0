package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/internal/mailname"
	"millrace/schema"
)

// Reports are the questions that millrace report asks, what they count, and who gets reports
// by mail.
type Reports struct {
	Dir              string
	InvalidSender    []Invalid
	InvalidRecipient []Invalid
	Recipients       []Recipient
	TimeZone         *time.Location
	MailDelay        time.Duration
}

// Invalid is what makes a message count as one of an invalid address: each of the words that
// is not empty.
type Invalid struct{ Status, Class, SubClass string }

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

func (r *Reports) keys() []key {
	list := func(name string, to *[]Invalid, usual []schema.Invalid, doc string) key {
		var all []string
		for _, i := range usual {
			all = append(all, fmt.Sprintf("{sub_class: %s}", i.SubClass))
		}
		return key{name: name, to: sections[Invalid]{to, (*Invalid).keys}, def: "[" + strings.Join(all, ", ") + "]", allowed: "a list of {status, class, sub_class}", doc: doc}
	}
	return []key{
		text("dir", &r.Dir, "", "Folder of reports of your own, NAME.sql, beside the built-in ones (docs/reports.md). Empty: none."),
		list("invalid_sender", &r.InvalidSender, schema.DefaultInvalidSenders, "Which messages count as those of an invalid sender: each word that an entry gives must be the message's, and one entry is enough. "+
			"The words of sub_class are the filter's and no closed set: SELECT status_norm, class_norm, sub_class, count() FROM message_events GROUP BY ALL shows yours. An empty list: none. "+
			"Hours that are counted already stay as they are."),
		list("invalid_recipient", &r.InvalidRecipient, schema.DefaultInvalidRecipients, "Which messages count as those to an invalid recipient, likewise."),
		{name: "recipients", to: sections[Recipient]{&r.Recipients, (*Recipient).keys}, def: "[]", allowed: "a list of {report, domain, username, recipient}",
			doc: "Who gets reports by mail, beside what millrace schedule and the API have set; for the same report, domain and user theirs holds."},
		{name: "time_zone", to: zoneValue{&r.TimeZone}, def: "UTC", allowed: "a name such as Europe/Amsterdam, or an offset such as +02:00",
			doc: "Zone that the days of the daily report begin in."},
		duration("mail_delay", &r.MailDelay, "15m", 0, 12*hour, "How long after the end of its day, or of its two hours, a report is counted and sent: what the filter logs late belongs to it."),
	}
}

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
		return fmt.Errorf("it has a control character")
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

func (i *Invalid) keys() []key {
	return []key{
		text("status", &i.Status, "", "Latest status, in any spelling; empty: any."),
		text("class", &i.Class, "", "Class, in one spelling (class_norm); empty: any."),
		text("sub_class", &i.SubClass, "", "Sub-class, in any spelling; empty: any."),
	}
}

func (c *Config) checkReports(d *decoder) {
	for _, l := range []struct {
		name string
		list []Invalid
	}{{"invalid_sender", c.Reports.InvalidSender}, {"invalid_recipient", c.Reports.InvalidRecipient}} {
		for i, entry := range l.list {
			if schema.NormalWord(entry.Status)+schema.NormalWord(entry.Class)+schema.NormalWord(entry.SubClass) == "" {
				d.report(fmt.Sprintf("reports.%s[%d]", l.name, i), Problem{Text: "it names no status, class or sub_class: every message would count"})
			}
		}
	}
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
