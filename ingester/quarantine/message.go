package quarantine

import (
	"net/mail"
	"regexp"
	"strings"

	"millrace/internal/config"
	"millrace/schema"
)

// Headings are the names of the columns, in order. The first is the row's number.
var Headings = []string{"#", "From", "To", "Reply-To", "Qmail UID", "Invoked for", "IP/Username", "Evidence", "PHP script", "Auth.sender", "Auth-User", "Auth-Email"}

// Columns is how many a message's header fills: all but the number.
const Columns = 11

// Positions in Message.Columns that more is made of.
const (
	fromColumn = 0
	toColumn   = 1
	authSender = 8
	authUser   = 9
	authEmail  = 10
)

// Message is what the header of a message says.
type Message struct {
	Columns   [Columns]string // in the order of Headings
	Subject   string
	MessageID string
	EximID    string
	Domain    string // that it is about
	Bounce    bool   // it is from mailer-daemon
	Flags     schema.Flag
}

// Directions.
const (
	Incoming = "incoming"
	Outgoing = "outgoing"
)

// Decoder makes messages of headers. It belongs to one goroutine.
type Decoder struct {
	sources [Columns][]config.HeaderSource
	fields  []field
	flags   schema.Flag // of the header at hand
}

// NewDecoder takes the columns of the configuration, which has been checked.
func NewDecoder(columns *config.QuarantineColumns) (*Decoder, error) {
	d := new(Decoder)
	for i, column := range columns.All() {
		for _, text := range column.Sources {
			s, err := config.ParseHeaderSource(text)
			if err != nil {
				return nil, err
			}
			d.sources[i] = append(d.sources[i], s)
		}
	}
	return d, nil
}

// Decode fills m. Any bytes are a header; cut says that it goes on behind them.
func (d *Decoder) Decode(m *Message, header []byte, cut bool, direction string) {
	*m = Message{}
	var junk bool
	d.flags = 0
	d.fields, junk = parseHeader(d.fields[:0], header)
	if junk {
		d.flags |= schema.FlagBadHeader
	}
	if cut {
		d.flags |= schema.FlagIncomplete
	}
	for i := range m.Columns {
		m.Columns[i] = d.find(d.sources[i])
	}
	m.Subject = d.named("subject")
	m.MessageID = strings.Trim(d.named("message-id"), "<> ")
	m.EximID = d.eximID()
	for _, name := range []string{"from", "sender", "return-path"} {
		m.Bounce = m.Bounce || d.isDaemon(name)
	}
	m.Domain = d.domain(m, direction)
	m.Flags = d.flags
	clear(d.fields) // they hold the header
}

// find is the first value that a source gives.
func (d *Decoder) find(sources []config.HeaderSource) string {
	for i := range sources {
		s := &sources[i]
		for j := range d.fields {
			if !nameMatches(s.Name, d.fields[j].name) {
				continue
			}
			if v := d.value(d.fields[j].value, s.Pattern); v != "" {
				return v
			}
		}
	}
	return ""
}

// named is the first field of a name.
func (d *Decoder) named(name string) string {
	return d.find([]config.HeaderSource{{Name: name}})
}

// value is the text of a field, or the part of it that a pattern finds, and notes what had to be
// forgiven.
func (d *Decoder) value(raw []byte, pattern *regexp.Regexp) string {
	v, flags := text(raw)
	if pattern != nil {
		found := pattern.FindStringSubmatch(v)
		if found == nil {
			return ""
		}
		v = strings.TrimSpace(found[len(found)-1])
	}
	v, cut := shorten(v)
	if cut {
		d.flags |= schema.FlagIncomplete
	}
	d.flags |= flags
	return v
}

// eximIDs finds what Exim writes into the Received header that it adds.
var eximIDs = []config.HeaderSource{{Name: "received", Pattern: regexp.MustCompile(
	`\bid ([0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4}))(?:[^0-9A-Za-z-]|$)`)}}

func (d *Decoder) eximID() string { return d.find(eximIDs) }

// isDaemon tells whether a field has the address of a mailer-daemon, of whatever host.
func (d *Decoder) isDaemon(name string) bool {
	for i := range d.fields {
		if d.fields[i].name != name {
			continue
		}
		local, _ := address(d.fields[i].value)
		if strings.EqualFold(local, "mailer-daemon") {
			return true
		}
	}
	return false
}

// domain is the one that the message is about.
func (d *Decoder) domain(m *Message, direction string) string {
	if direction == Incoming {
		return d.addressDomain("to", m.Columns[toColumn])
	}
	for _, column := range []int{authSender, authEmail, authUser} {
		if _, domain := address([]byte(m.Columns[column])); domain != "" {
			return domain
		}
	}
	return d.addressDomain("from", m.Columns[fromColumn])
}

// addressDomain is that of a field's first address, whose encoded words may hide what they
// like, or of the column, which may be another field's.
func (d *Decoder) addressDomain(name, column string) string {
	for i := range d.fields {
		if d.fields[i].name == name {
			if _, domain := address(d.fields[i].value); domain != "" {
				return domain
			}
			break
		}
	}
	_, domain := address([]byte(column))
	return domain
}

// address takes the first address of a list apart. It takes what is no list of addresses by
// the look of it.
func address(value []byte) (local, domain string) {
	s := strings.TrimSpace(string(value[:min(len(value), maxValue)]))
	if list, err := mail.ParseAddressList(s); err == nil && len(list) > 0 {
		s = list[0].Address
	} else {
		if _, behind, ok := strings.Cut(s, "<"); ok {
			s = behind
		}
		if i := strings.IndexAny(s, ">,; \t("); i >= 0 {
			s = s[:i]
		}
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s, ""
	}
	return s[:at], domainName(s[at+1:])
}

// domainName is s in lower case, as far as it can be a name.
func domainName(s string) string {
	s = strings.ToLower(strings.ToValidUTF8(s, "\uFFFD"))
	end := strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' || r > 0xa0 && r != '\uFFFD')
	})
	if end >= 0 {
		s = s[:end]
	}
	s = strings.Trim(s, ".")
	if len(s) > 253 {
		return ""
	}
	return s
}
