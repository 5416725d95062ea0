package schema

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Kind is one sort of event: a topic's records and a table's rows.
type Kind struct {
	Name    string // message, status, smtp, ...
	Topic   string // without the configured prefix
	Table   string
	Doc     string
	Fields  []Field // the common fields, then the kind's own
	OrderBy string
	Indexes []Index

	heads    [MaxFields]head
	byName   map[string]int
	byNumber [maxNumber + 1]uint8 // position + 1; 0: no such number
}

// Index is a data-skipping index of a kind's table.
type Index struct{ Name, Expression, Type string }

// eventIndexes serve a search by id, by event time and the audit by offset
// (bloom filter 1.3 bytes a row; the min-max ones nothing worth counting).
var eventIndexes = []Index{
	{"i_id", "id", "bloom_filter(0.01)"},
	{"i_event_time", "event_time", "minmax"},
	{"i_off", "k_off", "minmax"},
}

// messageIndexes have the second that messages are stored under as well: the parts are of the
// weeks in which events came, and each whose key may have the domain would be read a little.
var messageIndexes = append(slices.Clone(eventIndexes), Index{"i_id_time", "id_time", "minmax"})

// logIndexes serve a search of the server's logs by qmail-queue's process id and by
// event time, and the audit by offset.
var logIndexes = []Index{
	{"i_qp", "qp", "bloom_filter(0.01)"},
	{"i_event_time", "event_time", "minmax"},
	{"i_off", "k_off", "minmax"},
}

// The kinds.
var (
	Message = newKind(Kind{
		Name: "message", Topic: "message", Table: "message_events",
		Doc:     "One row for each message (and recipient) that a filter handled.",
		OrderBy: "domain, id_time, id", Indexes: messageIndexes,
		Fields: messageFields,
	})
	Status = newKind(Kind{
		Name: "status", Topic: "status", Table: "status_events",
		Doc:     "One row for each change of a message's status: delivered, deferred, released, bounced.",
		OrderBy: "domain, id_time, id", Indexes: messageIndexes,
		Fields: statusFields,
	})
	SMTP = newKind(Kind{
		Name: "smtp", Topic: "smtp", Table: "smtp_transactions",
		Doc:     "One row for each message that a qmail server's SMTP log shows, taken or refused.",
		OrderBy: "domain, event_time", Indexes: logIndexes,
		Fields: smtpFields,
	})
	Delivery = newKind(Kind{
		Name: "delivery", Topic: "delivery", Table: "delivery_attempts",
		Doc:     "One row for each attempt of qmail-send to deliver a message to a recipient.",
		OrderBy: "domain, event_time", Indexes: logIndexes,
		Fields: deliveryFields,
	})
	Spamdyke = newKind(Kind{
		Name: "spamdyke", Topic: "spamdyke", Table: "spamdyke_verdicts",
		Doc:     "One row for each message (and recipient) that Spamdyke decided about.",
		OrderBy: "domain, event_time", Indexes: logIndexes,
		Fields: spamdykeFields,
	})
	Line = newKind(Kind{
		Name: "line", Topic: "line", Table: "generic_lines",
		Doc:     "One row for each line that is known and has no table of its own: errors, warnings, counters.",
		OrderBy: "log, event_time", Indexes: []Index{{"i_off", "k_off", "minmax"}},
		Fields: lineFields,
	})
	Feedback = newKind(Kind{
		Name: "feedback", Topic: "feedback", Table: "feedback_reports",
		Doc:     "One row for each abuse report in the Abuse Reporting Format (RFC 5965).",
		OrderBy: "domain, event_time", Indexes: eventIndexes,
		Fields: feedbackFields,
	})
	Quarantine = newKind(Kind{
		Name: "quarantine", Topic: "quarantine", Table: "quarantine_messages",
		Doc:     "One row for each message that was seen in the filter's quarantine.",
		OrderBy: "domain, event_time", Indexes: eventIndexes,
		Fields: quarantineFields,
	})
	Reject = newKind(Kind{
		Name: "reject", Topic: "reject", Table: "rejects",
		Doc:     "One row for each frame that no format could decode, with its bytes and the reason.",
		OrderBy: "reason, received_at",
		Indexes: []Index{{"i_off", "k_off", "minmax"}},
		Fields:  rejectFields,
	})
)

// Kinds are all kinds, in a fixed order.
func Kinds() []*Kind {
	return []*Kind{Message, Status, SMTP, Delivery, Spamdyke, Line, Feedback, Quarantine, Reject}
}

// KindByName is the kind of that name, or nil.
func KindByName(name string) *Kind {
	for _, k := range Kinds() {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// Index is the position of the named field in Fields, or -1.
func (k *Kind) Index(name string) int {
	if i, ok := k.byName[name]; ok {
		return i
	}
	return -1
}

// With is the kind of a version that has one more field: upgrades are tested with both.
func (k *Kind) With(f Field) *Kind {
	return newKind(Kind{
		Name: k.Name, Topic: k.Topic, Table: k.Table, Doc: k.Doc, OrderBy: k.OrderBy, Indexes: k.Indexes,
		Fields: append(slices.Clone(k.Fields[len(commonFields):]), f),
	})
}

// newKind joins the common fields to the kind's own and prepares the tags. A
// table that contradicts itself is a mistake in the source: it panics at start.
func newKind(k Kind) *Kind {
	k.Fields = append(commonFields[:len(commonFields):len(commonFields)], k.Fields...)
	if len(k.Fields) > MaxFields {
		panic(fmt.Sprintf("BUG: kind %q has %d fields, more than %d", k.Name, len(k.Fields), MaxFields))
	}
	k.byName = make(map[string]int, len(k.Fields))
	for i := range k.Fields {
		f := &k.Fields[i]
		if _, twice := k.byName[f.Name]; twice {
			panic(fmt.Sprintf("BUG: kind %q names field %q twice", k.Name, f.Name))
		}
		k.byName[f.Name] = i
		if f.Number == 0 {
			continue
		}
		if f.Number > maxNumber || k.byNumber[f.Number] != 0 {
			panic(fmt.Sprintf("BUG: field %q of kind %q has number %d, which is taken or over %d", f.Name, k.Name, f.Number, maxNumber))
		}
		k.byNumber[f.Number] = uint8(i + 1)
		f.tag = binary.AppendUvarint(nil, uint64(f.Number)<<3|f.Type.wire())
		k.heads[i] = head{tag: binary.LittleEndian.Uint16(append(f.tag, 0)), tagSize: uint8(len(f.tag)), lenShift: uint8(8 * len(f.tag)), typ: f.Type}
	}
	return &k
}
