package arf

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"millrace/schema"
)

// Limits of a message that is looked into.
const (
	MaxDepth  = 8         // parts within parts
	MaxParts  = 100       // parts in all
	MaxHeader = 256 << 10 // bytes of the header of a message
	MaxReport = 256 << 10 // bytes of the part that reports

	maxPartHeader = 32 << 10 // bytes of the header of a part, which says how to read it and no more
)

// DefaultLimit is Options.Limit when that is 0.
const DefaultLimit = 480 << 10

// Options are how reports are understood.
type Options struct {
	Body  bool           // keep the original's body, not its header alone
	Limit int            // most bytes of an event's values together; DefaultLimit
	Zone  *time.Location // of dates without one; nil: UTC
}

// Format is the name of the format: the column `format`.
var Format = schema.Padded("arf")

// Decoder decodes messages; it is used by one goroutine at a time. Its zero value is
// ready, with the options' defaults.
type Decoder struct {
	Options

	e      *schema.Event
	budget budget
	seen   [reportFields]bool
	extras []extra
}

// Decode makes e the event of message, which came at received (ms since 1970). The
// event's values are views into message or memory of their own, and Decode keeps
// neither. A reason is that of a reject, and e holds nothing of use then.
func (d *Decoder) Decode(message []byte, received int64, e *schema.Event) (reason schema.Reason, detail string) {
	d.e = e
	e.Reset(schema.Feedback)
	d.budget = budget{left: d.Limit}
	if d.Limit == 0 {
		d.budget.left = DefaultLimit
	}
	d.seen, d.extras = [reportFields]bool{}, d.extras[:0]

	message = stripFrom(message)
	if bytes.IndexByte(message, '\n') < 0 && bytes.IndexByte(message, '\r') >= 0 {
		message = bytes.ReplaceAll(message, []byte{'\r'}, []byte{'\n'})
		e.Flag(schema.FlagBareCR)
	}
	p, err := d.parts(message)
	switch {
	case errors.Is(err, errLimit):
		return schema.ReasonMIMELimit, err.Error()
	case err != nil:
		return schema.ReasonNotAReport, err.Error()
	case p.report == nil && p.foreign != "":
		return schema.ReasonNotAReport, fmt.Sprintf("a %s and no message/feedback-report", p.foreign)
	case p.report == nil && (p.original == nil || p.others):
		return schema.ReasonNotAReport, fmt.Sprintf("no message/feedback-report in a message of type %.60q", p.mediaType)
	}
	e.SetText(schema.Format, Format)
	e.Flag(p.flags)
	own := d.envelope(p.header)
	if p.report != nil {
		d.report(p.report)
	} else {
		e.Flag(schema.FlagNoReportPart)
	}
	if !d.seen[fieldIncidents] {
		e.SetUint(incidents, 1)
	}
	id := d.original(p.original)
	d.domain()
	d.times(own, id, received)
	d.describe(p.description)
	d.addExtras()
	d.keepOriginal(p.original, p.originalCut)
	e.Clean = true // what budget.text promises
	return "", ""
}

// Rest is how many bytes of Options.Limit the event of the last Decode leaves.
func (d *Decoder) Rest() int { return max(d.budget.left, 0) }

// stripFrom takes off the line that an mbox has in front of a message.
func stripFrom(message []byte) []byte {
	if bytes.HasPrefix(message, []byte("From ")) {
		if end := bytes.IndexAny(message, "\r\n"); end >= 0 {
			return bytes.TrimLeft(message[end:], "\r\n")
		}
	}
	return message
}

// times sets event_time: that of the original's arrival, or else the report's own, or
// when it came here; and id_time.
func (d *Decoder) times(own int64, id uint64, received int64) {
	e := d.e
	ms, source := e.Millis(arrivalDate), sourceEvent
	if ms == 0 {
		ms, source = own, sourceHeader
	}
	if ms == 0 {
		ms, source = received, sourceReceived
	}
	e.SetMillis(schema.EventTime, ms)
	e.SetText(schema.EventTimeSource, source)
	if id == 0 {
		id = uint64(min(max(ms/1000, 0), schema.MaxSeconds))
	}
	e.SetUint(schema.IDTime, id)
}

// domain finds whom the report is about.
func (d *Decoder) domain() {
	e := d.e
	v := domainOf(e.Text(authUser))
	if v == nil {
		for _, n := range e.Names() {
			if n.Field == reportedDomains && len(n.Name) > 0 {
				v = n.Name
				break
			}
		}
	}
	if v == nil {
		v = domainOf(e.Text(sender))
	}
	d.set(domain, bytes.ToLower(v), wordMax)
}

// domainOf is what stands behind the last @ of an address, or nil.
func domainOf(address []byte) []byte {
	at := bytes.LastIndexByte(address, '@')
	if at < 0 || at+1 == len(address) {
		return nil
	}
	return address[at+1:]
}

// describe keeps what the report says to people.
func (d *Decoder) describe(text []byte) {
	d.set(description, bytes.TrimSpace(text), descriptionMax)
}

// Words of event_time_source.
var (
	sourceEvent    = schema.Padded("event")
	sourceHeader   = schema.Padded("header")
	sourceReceived = schema.Padded("received")
)
