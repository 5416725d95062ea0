package mailing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"

	"millrace/query/state"
)

// messageID is the same whenever the same report of the same period is sent to the same
// recipient: whoever gets it twice can tell.
func messageID(s Schedule, p Period, from string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{s.Report, s.Domain, s.User, s.Recipient, p.Name}, "\x00")))
	return hex.EncodeToString(sum[:16]) + "@" + domainOf(from)
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// subject is what a schedule is about, in a line.
func (s Schedule) subject() string {
	if s.User == state.AllUsers {
		return s.Domain
	}
	return s.Domain + "/" + s.User
}

// compose writes the mail: a few lines for people, and the table.
func compose(s Schedule, p Period, t table, from string, now time.Time, zone *time.Location) ([]byte, error) {
	id := messageID(s, p, from)
	title := "Outgoing mail by user"
	if s.Report == Identities {
		title = "Outgoing spam by identity"
	}
	h := header(from, s.Recipient, fmt.Sprintf("%s: %s, %s", title, s.subject(), p.text(s.Report, zone)), id, now)
	h.Set("List-Id", fmt.Sprintf("Millrace reports %s <%s.reports.%s>", s.Report, s.Report, domainOf(from)))
	h.SetContentType("multipart/mixed", map[string]string{"boundary": "=_" + id[:32]})
	var b bytes.Buffer
	w, err := message.CreateWriter(&b, h.Header)
	if err != nil {
		return nil, fmt.Errorf("cannot write the header: %w", err)
	}
	var text message.Header
	text.Set("Content-Transfer-Encoding", "quoted-printable")
	text.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	if err := part(w, text, []byte(s.letter(title, p, t, zone))); err != nil {
		return nil, err
	}
	var sheet message.Header
	sheet.Set("Content-Transfer-Encoding", "quoted-printable")
	sheet.SetContentDisposition("attachment", map[string]string{"filename": fileName(s, p)})
	sheet.SetContentType("text/csv", map[string]string{"charset": "utf-8", "header": "present"})
	if err := part(w, sheet, t.csv(p.Name)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("cannot write the mail: %w", err)
	}
	return b.Bytes(), nil
}

// header has what all our mail has. RFC 3834: who answers by itself does not answer this.
func header(from, to, subject, id string, now time.Time) mail.Header {
	var h mail.Header // the last field that is set comes first
	h.Set("X-Auto-Response-Suppress", "All")
	h.Set("Auto-Submitted", "auto-generated")
	h.Set("MIME-Version", "1.0")
	h.SetMessageID(id)
	h.SetSubject(oneLine(subject))
	h.SetAddressList("To", []*mail.Address{{Address: to}})
	h.SetAddressList("From", []*mail.Address{{Name: "Millrace", Address: from}})
	h.SetDate(now.UTC())
	return h
}

func part(w *message.Writer, h message.Header, content []byte) error {
	p, err := w.CreatePart(h)
	if err == nil {
		_, err = p.Write(content)
	}
	if err == nil {
		err = p.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot write a part of the mail: %w", err)
	}
	return nil
}

// letter is the text that is read without opening the table.
func (s Schedule) letter(title string, p Period, t table, zone *time.Location) string {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(oneLine(fmt.Sprintf(format, args...)) + "\r\n") }
	line("%s: %s, %s", title, s.subject(), p.text(s.Report, zone))
	line("")
	line("Rows: %d", len(t.rows)+t.cut)
	if s.Report == Identities {
		line("Spam: %d", t.total.Spam)
		line("Invalid senders: %d", t.total.InvalidSenders)
		if t.unnamed.Spam+t.unnamed.InvalidSenders > 0 {
			line("Messages without an identity, which have no row: %d spam, %d invalid senders", t.unnamed.Spam, t.unnamed.InvalidSenders)
		}
	} else {
		line("Spam: %d", t.total.Spam)
		line("Phish: %d", t.total.Phish)
		line("Virus: %d", t.total.Virus)
		line("Invalid senders: %d", t.total.InvalidSenders)
		line("Accepted: %d", t.total.Accepted)
	}
	if t.cut > 0 {
		line("The table ends after %d rows; %d are not in it.", len(t.rows), t.cut)
	}
	line("")
	line("Each recipient of a message counts.")
	return b.String()
}

// fileName has no character that means something in a path.
func fileName(s Schedule, p Period) string {
	name := s.Report + "-" + s.Domain
	if s.User != state.AllUsers {
		name += "-" + s.User
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-_.@", r):
			return r
		}
		return '_'
	}, name)
	if len(name) > 120 {
		name = name[:120]
	}
	return name + "-" + strings.ReplaceAll(p.Name, ":", "") + ".csv"
}

// oneLine keeps what would end a line out of it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return '_'
		}
		return r
	}, s)
}

// plain is a mail of text alone.
func plain(from, to, subject, body, id string, now time.Time) ([]byte, error) {
	h := header(from, to, subject, id, now)
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	var b bytes.Buffer
	w, err := message.CreateWriter(&b, h.Header)
	if err == nil {
		_, err = io.WriteString(w, body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot write the mail: %w", err)
	}
	return b.Bytes(), nil
}
