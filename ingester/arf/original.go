package arf

import (
	"bytes"

	"millrace/internal/eximid"
	"millrace/schema"
)

// Positions of the fields that the original message fills.
var (
	eximID         = index("id")
	messageID      = index("message_id")
	fromHeader     = index("from_header")
	toHeader       = index("to_header")
	subjectHeader  = index("subject_header")
	filterDomain   = index("filter_domain")
	filterUsername = index("filter_username")
	filterClass    = index("filter_class")
	filterEvidence = index("filter_evidence")
	headers        = index("headers")
	body           = index("body")
)

// envelope reads the header of the message that brought the report, and returns when it
// was received, or written: ms since 1970, 0 where it does not say.
func (d *Decoder) envelope(header []byte) int64 {
	var received, date int64
	eachField(header, func(name, value []byte) bool {
		switch string(bytes.ToLower(name)) {
		case "from":
			d.first(reportFrom, decoded(value), textMax)
		case "to":
			d.first(reportTo, decoded(value), textMax)
		case "subject":
			d.first(reportSubject, decoded(value), textMax)
		case "message-id":
			d.first(reportID, bare(value), textMax)
		case "received":
			if at := bytes.LastIndexByte(value, ';'); at >= 0 && received == 0 {
				received, _, _ = d.date(bytes.TrimSpace(value[at+1:]))
			}
		case "date":
			if date == 0 {
				date, _, _ = d.date(value)
			}
		}
		return true
	})
	if received != 0 {
		return max(received, 0)
	}
	return max(date, 0)
}

// first sets a field that has no value yet.
func (d *Decoder) first(field int, v []byte, most int) {
	if !d.e.Has(field) {
		d.set(field, v, most)
	}
}

// original reads the header of the original message, and returns the time of its Exim id
// in seconds, 0 where it has none.
func (d *Decoder) original(b []byte) (idTime uint64) {
	eachField(b, func(name, value []byte) bool {
		switch string(bytes.ToLower(name)) {
		case "message-id":
			d.first(messageID, bare(value), textMax)
		case "from":
			d.first(fromHeader, decoded(value), textMax)
		case "to":
			d.first(toHeader, decoded(value), textMax)
		case "subject":
			d.first(subjectHeader, decoded(value), textMax)
		case "received": // the newest stands first
			if idTime == 0 {
				var id []byte
				if id, idTime = receivedID(value); idTime != 0 {
					d.set(eximID, id, wordMax)
				}
			}
		case "x-spamexperts-domain":
			d.first(filterDomain, value, textMax)
		case "x-spamexperts-username":
			d.first(filterUsername, value, textMax)
		case "x-spamexperts-outgoing-class":
			d.first(filterClass, value, wordMax)
		case "x-spamexperts-outgoing-evidence":
			d.first(filterEvidence, decoded(value), textMax)
		}
		return true
	})
	return idTime
}

// receivedID finds an Exim id in a Received field: ... id 1phfsb-0004M4-O4 for ...
func receivedID(v []byte) (id []byte, seconds uint64) {
	for at := 0; ; {
		i := bytes.Index(v[at:], []byte("id "))
		if i < 0 {
			return nil, 0
		}
		at += i + len("id ")
		if i := at - len("id "); i > 0 && v[i-1] != ' ' && v[i-1] != '(' {
			continue
		}
		id = bytes.TrimLeft(v[at:], " ")
		if end := bytes.IndexAny(id, " ;)"); end >= 0 {
			id = id[:end]
		}
		if seconds, ok := eximid.Second(id); ok {
			return id, seconds
		}
	}
}

// keepOriginal keeps the header as it was, and the body if that is wanted, in what is
// left of the event's budget: half of it for the body, as raw wants some too.
func (d *Decoder) keepOriginal(b []byte, more bool) {
	header, rest := splitHeader(b)
	if more && (d.Body || rest == nil) {
		d.e.Flag(schema.FlagCut)
	}
	d.set(headers, header, min(headersMax, d.budget.left/2))
	if d.Body {
		d.set(body, rest, d.budget.left/2)
	}
}
