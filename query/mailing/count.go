package mailing

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/internal/mailname"
	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/query/state"
	"millrace/schema"
)

//go:embed counts.sql
var countsSQL string

// countStep is how much of a period one question is about. Counts of parts add up, since a
// message has one time.
const countStep = time.Hour

// who is what a row is about. Identity is empty in the daily report.
type who struct{ Domain, User, Identity string }

// counts of messages; each recipient of a message is one.
type counts struct{ Spam, Phish, Virus, InvalidSenders, Accepted uint64 }

func (c *counts) add(o counts) {
	c.Spam += o.Spam
	c.Phish += o.Phish
	c.Virus += o.Virus
	c.InvalidSenders += o.InvalidSenders
	c.Accepted += o.Accepted
}

type row struct {
	who
	counts
}

// count counts the period for the domains, each in its A-label form.
func (m *Mailer) count(ctx context.Context, report string, p Period, domains []string) (map[who]counts, error) {
	all := map[who]counts{}
	for from := p.From; from.Before(p.To); from = from.Add(countStep) {
		to := from.Add(countStep)
		if to.After(p.To) {
			to = p.To
		}
		if err := m.countPart(ctx, report, from, to, domains, all); err != nil {
			return nil, fmt.Errorf("cannot count report %s of %s: %w", report, p.Name, err)
		}
	}
	return all, nil
}

func (m *Mailer) countPart(ctx context.Context, report string, from, to time.Time, domains []string, all map[who]counts) error {
	var forms, statuses, classes, subClasses []string
	for _, d := range domains {
		forms = append(forms, mailname.Forms(d)...)
	}
	for _, i := range m.o.InvalidSender {
		statuses = append(statuses, schema.NormalWord(i.Status))
		classes = append(classes, schema.NormalWord(i.Class))
		subClasses = append(subClasses, schema.NormalWord(i.SubClass))
	}
	byIdentity := "0"
	if report == Identities {
		byIdentity = "1"
	}
	var out bytes.Buffer
	_, err := query.RunStatement(ctx, m.o.ClickHouse, query.Statement{SQL: countsSQL, Parameters: map[string]string{
		"since": from.UTC().Format(time.DateTime), "until": to.UTC().Format(time.DateTime), "domains": sqltext.Array(forms), "by_identity": byIdentity,
		"invalid_status": sqltext.Array(statuses), "invalid_class": sqltext.Array(classes), "invalid_sub_class": sqltext.Array(subClasses),
	}}, query.Output{To: &out, Format: query.JSON})
	if err != nil {
		return err
	}
	for d := json.NewDecoder(&out); ; {
		var r struct {
			Domain   string `json:"auth_domain"`
			User     string `json:"name"`
			Identity string `json:"who"`
			Spam     uint64 `json:"spam"`
			Phish    uint64 `json:"phish"`
			Virus    uint64 `json:"virus"`
			Invalid  uint64 `json:"invalid_senders"`
			Accepted uint64 `json:"accepted"`
		}
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot read the counts: %w", err)
		}
		if domain, err := mailname.Domain(r.Domain); err == nil {
			r.Domain = domain
		}
		key := who{r.Domain, r.User, r.Identity}
		c := all[key]
		c.add(counts{r.Spam, r.Phish, r.Virus, r.Invalid, r.Accepted})
		all[key] = c
	}
}

// table is what a report of one schedule says.
type table struct {
	report  string
	rows    []row
	total   counts // of all rows, also those that were left out
	unnamed counts // of messages without an identity, which have no row in Identities
	cut     int    // rows that were left out
}

// maxRows bounds a mail.
const maxRows = 100_000

// tableOf takes a schedule's rows out of what was counted. Of identities those have a row
// that have sent spam, or under invalid senders: worst first.
func tableOf(s Schedule, all map[who]counts) table {
	t := table{report: s.Report}
	for w, c := range all {
		if w.Domain != s.Domain || s.User != state.AllUsers && mailname.Identity(w.User) != s.User {
			continue
		}
		if s.Report == Identities {
			if w.Identity == "" {
				t.unnamed.add(c)
				continue
			}
			if c.Spam+c.InvalidSenders == 0 {
				continue
			}
		}
		t.total.add(c)
		t.rows = append(t.rows, row{w, c})
	}
	slices.SortFunc(t.rows, func(a, b row) int {
		worst := 0
		if s.Report == Identities {
			worst = cmp.Or(cmp.Compare(b.Spam, a.Spam), cmp.Compare(b.InvalidSenders, a.InvalidSenders))
		}
		return cmp.Or(worst, cmp.Compare(a.User, b.User), cmp.Compare(a.Identity, b.Identity))
	})
	if len(t.rows) > maxRows {
		t.cut = len(t.rows) - maxRows
		t.rows = t.rows[:maxRows]
	}
	return t
}

// Header lines. That of Identities is the vendor's, word for word.
const (
	dailyHeader      = `"Date","Authentication Domain","Authentication User","Spam Count","Phish Count","Virus Count","Invalid Sender Count","Accepted Count"`
	identitiesHeader = `"Authentication Domain","Authentication User","User Identification","Spam Count","Invalid Sender Count"`
)

// csv is the table as the vendor writes it: a header line in quotes, rows without any.
func (t table) csv(date string) []byte {
	var b bytes.Buffer
	line := func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				b.WriteByte(',')
			}
			if text, ok := c.(string); ok {
				c = cell(text)
			}
			fmt.Fprint(&b, c)
		}
		b.WriteString("\r\n")
	}
	if t.report == Identities {
		b.WriteString(identitiesHeader + "\r\n")
		for _, r := range t.rows {
			line(r.Domain, r.User, r.Identity, r.Spam, r.InvalidSenders)
		}
		return b.Bytes()
	}
	b.WriteString(dailyHeader + "\r\n")
	for _, r := range t.rows {
		line(date, r.Domain, r.User, r.Spam, r.Phish, r.Virus, r.InvalidSenders, r.Accepted)
	}
	return b.Bytes()
}

// cell is text that needs no quotes: what would end a cell or a line is an underscore, and
// what a spreadsheet would take for a formula has an apostrophe before it. Senders choose
// these texts.
func cell(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == ',' || r == '"' || r == utf8.RuneError || isControl(r) {
			return '_'
		}
		return r
	}, s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		s = "'" + s
	}
	return s
}
