package config

import (
	"fmt"
	"strings"
	"time"

	"millrace/schema"
)

// Reports is what reports count, and who gets which by mail.
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
}
