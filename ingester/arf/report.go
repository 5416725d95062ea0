package arf

import (
	"bytes"
	"net/netip"
	"strconv"

	"millrace/schema"
)

func index(name string) int {
	i := schema.Feedback.Index(name)
	if i < 0 {
		panic("BUG: kind feedback has no field " + name)
	}
	return i
}

// Positions of the event's fields.
var (
	domain                = index("domain")
	feedbackType          = index("feedback_type")
	userAgent             = index("user_agent")
	version               = index("version")
	sender                = index("sender")
	recipients            = index("recipients")
	reportedDomains       = index("reported_domains")
	reportedURIs          = index("reported_uris")
	envelopeID            = index("envelope_id")
	arrivalDate           = index("arrival_date")
	reportingMTA          = index("reporting_mta")
	sourceIP              = index("source_ip")
	sourcePort            = index("source_port")
	incidents             = index("incidents")
	authenticationResults = index("authentication_results")
	authUser              = index("auth_user")
	authFailure           = index("auth_failure")
	deliveryResult        = index("delivery_result")
	identityAlignment     = index("identity_alignment")
	reportFrom            = index("report_from")
	reportTo              = index("report_to")
	reportSubject         = index("report_subject")
	reportID              = index("report_id")
	description           = index("description")
)

// reportField is a field of the report: where it goes, and how.
type reportField struct {
	name  string // in lower case
	field int
	read  func(d *Decoder, field int, v []byte)
	many  bool // may stand more than once
}

// report's fields: IANA, Messaging Abuse Reporting Format parameters. received-date is
// what arrival-date was called before RFC 5965.
var table = [...]reportField{
	fieldType:    {"feedback-type", feedbackType, (*Decoder).lower, false},
	fieldAgent:   {"user-agent", userAgent, (*Decoder).plain, false},
	fieldVersion: {"version", version, (*Decoder).plain, false},
	{"original-mail-from", sender, (*Decoder).address, false},
	{"original-rcpt-to", recipients, nil, true},
	{"reported-domain", reportedDomains, nil, true},
	{"reported-uri", reportedURIs, nil, true},
	{"original-envelope-id", envelopeID, (*Decoder).plain, false},
	{"arrival-date", arrivalDate, (*Decoder).time, false},
	{"received-date", arrivalDate, (*Decoder).time, false},
	{"reporting-mta", reportingMTA, (*Decoder).typed, false},
	{"source-ip", sourceIP, (*Decoder).ip, false},
	{"source-port", sourcePort, (*Decoder).port, false},
	fieldIncidents: {"incidents", incidents, (*Decoder).number, false},
	{"authentication-results", authenticationResults, nil, true},
	{"auth-failure", authFailure, (*Decoder).lower, false},
	{"delivery-result", deliveryResult, (*Decoder).lower, false},
	{"identity-alignment", identityAlignment, (*Decoder).plain, false},
}

const (
	fieldType      = 0
	fieldAgent     = 1
	fieldVersion   = 2
	fieldIncidents = 13
	reportFields   = 18
)

// report reads the fields of the part that reports.
func (d *Decoder) report(b []byte) {
	var lists [schema.MaxFields]list
	ok := eachLine(b, func(name, value []byte) bool {
		i := lookUp(name)
		if i < 0 {
			d.addExtra(name, value)
			return true
		}
		f := &table[i]
		switch {
		case f.many:
			d.entry(f.field, value, &lists[f.field])
		case d.seen[i]:
			d.e.Flag(schema.FlagRepeatedField)
			d.addExtra(name, value)
		default:
			d.seen[i] = true
			if d.e.Has(f.field) { // under its other name
				d.addExtra(name, value)
				break
			}
			f.read(d, f.field, value)
		}
		return true
	})
	if !ok {
		d.e.Flag(schema.FlagBadMIME)
	}
	if !d.seen[fieldType] || !d.seen[fieldAgent] || !d.seen[fieldVersion] {
		d.e.Flag(schema.FlagMissingField)
	}
}

func lookUp(name []byte) int {
	for i := range table {
		if len(name) == len(table[i].name) && bytes.EqualFold(name, []byte(table[i].name)) {
			return i
		}
	}
	return -1
}

// entry adds a field that may stand more than once.
func (d *Decoder) entry(field int, v []byte, l *list) {
	switch field {
	case recipients:
		v = bare(typed(v))
	case reportedDomains:
		v = bytes.ToLower(v)
	case authenticationResults:
		if user := smtpAuth(v); user != nil && !d.e.Has(authUser) {
			d.set(authUser, user, textMax)
		}
	}
	d.add(l, field, v)
}

// smtpAuth is the user that authentication results name: smtp.auth=USER@DOMAIN, whose
// user may be empty, or an address.
func smtpAuth(v []byte) []byte {
	const key = "smtp.auth="
	at := bytes.Index(bytes.ToLower(v), []byte(key))
	if at < 0 {
		return nil
	}
	v = v[at+len(key):]
	if len(v) > 0 && v[0] == '"' {
		if end := bytes.IndexByte(v[1:], '"'); end >= 0 {
			return v[1 : 1+end]
		}
	}
	if end := bytes.IndexAny(v, " \t;()"); end >= 0 {
		v = v[:end]
	}
	if len(v) == 0 {
		return nil
	}
	return v
}

func (d *Decoder) plain(field int, v []byte)   { d.set(field, decoded(v), textMax) }
func (d *Decoder) lower(field int, v []byte)   { d.set(field, bytes.ToLower(v), wordMax) }
func (d *Decoder) address(field int, v []byte) { d.set(field, bare(typed(v)), textMax) }
func (d *Decoder) typed(field int, v []byte)   { d.set(field, typed(v), textMax) }

func (d *Decoder) time(field int, v []byte) {
	ms, guessed, ok := d.date(v)
	if !ok {
		d.e.MarkBad(field, schema.FlagBadTime)
		return
	}
	if guessed {
		d.e.Flag(schema.FlagTZGuess)
	}
	d.e.SetMillis(field, ms)
}

func (d *Decoder) ip(field int, v []byte) {
	s := string(bytes.Trim(typed(v), "[] \t"))
	if rest, cut := bytes.CutPrefix(bytes.ToLower([]byte(s)), []byte("ipv6:")); cut {
		s = string(rest)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		d.e.MarkBad(field, schema.FlagBadIP)
		return
	}
	d.e.SetIP(field, a)
}

func (d *Decoder) port(field int, v []byte) {
	n, err := strconv.ParseUint(string(v), 10, 16)
	if err != nil {
		d.e.MarkBad(field, schema.FlagBadInt)
		return
	}
	d.e.SetUint(field, n)
}

func (d *Decoder) number(field int, v []byte) {
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		d.e.MarkBad(field, schema.FlagBadInt)
		return
	}
	d.e.SetUint(field, n)
}
