package format

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"millrace/schema"
)

// Attempt is how one format of a set read a body, for people.
type Attempt struct {
	Format *Format
	Chosen bool          // Decode takes this one
	Reason schema.Reason // why the body is not of this format; "" if it could be
	Detail string
	Values []Value // column by column, as far as the body could be cut
	Flags  []string
}

// Value is one column of an attempt.
type Value struct {
	Variable string // the template's variable
	Column   string // the field it fills; "extra" for an unknown variable
	Text     string // what stands in the frame
	Value    string // what it becomes; "" is no value
	Note     string // what was forgiven
}

// Explain tells of each format of the set how it reads body, and which one
// Decode takes. It may allocate.
func (d *Decoder) Explain(s *Set, body []byte, c Context) []Attempt {
	var e schema.Event
	verdict := d.Decode(s, body, &e, c)
	var all []*bound
	for i := range s.layouts {
		all = append(all, s.layouts[i].formats...)
	}
	attempts := make([]Attempt, len(all))
	for _, b := range all {
		alone, err := NewSet([]*Format{b.Format}, Options{})
		if err != nil {
			continue // it was in a set, so it can be in one
		}
		alone.zone, alone.nulls, alone.nullStart, alone.noneText, alone.direction = s.zone, s.nulls, s.nullStart, s.noneText, s.direction
		a := Attempt{Format: b.Format, Chosen: verdict.Format == b.Format}
		one := d.Decode(alone, body, &e, c)
		a.Reason, a.Detail = one.Reason, one.Detail
		switch {
		case a.Reason == "":
			a.Values = d.values(alone, body, &e)
			a.Flags = e.Flagged().Words()
		case verdict.Format == nil && verdict.Reason != a.Reason:
			a.Detail += fmt.Sprintf(" (the frame is rejected as %s)", verdict.Reason)
		}
		if a.Reason == "" && !a.Chosen && verdict.Format != nil {
			a.Detail = fmt.Sprintf("it could be read so, but %q fits better", verdict.Format.Name)
		} else if a.Reason == "" && !a.Chosen {
			a.Detail = fmt.Sprintf("it could be read so, but beside the listener's other formats the frame is rejected as %s: %s", verdict.Reason, verdict.Detail)
		}
		attempts[b.order] = a
	}
	return attempts
}

// values lists the columns of an event that was just decoded with a set of one
// format.
func (d *Decoder) values(s *Set, body []byte, e *schema.Event) []Value {
	b := s.layouts[0].formats[0]
	r := reading{format: b}
	if _, ok := d.choose(s, body); !ok {
		body = skipBlank(body)
	}
	if !s.layouts[0].closed(body) {
		return nil
	}
	var values []Value
	extra := 0
	for i, p := range d.read(s, &r, body) {
		col := &b.columns[i]
		v := Value{Variable: col.variable.name, Column: b.Kind.Fields[col.field].Name, Text: string(body[p.start:p.end])}
		switch {
		case col.class == classExtra:
			v.Value = string(e.Pairs()[extra].Value)
			v.Note = "unknown variable"
			extra++
		case e.Bad(col.field):
			v.Note = "not " + kindOfValue(col.class)
		case col.class == classID && e.HasFlag(schema.FlagBadID):
			v.Value, v.Note = v.Text, "not "+kindOfValue(col.class)
		case !e.Has(col.field):
			if v.Text != "" {
				v.Note = "no value"
			}
		default:
			v.Value = Text(e, col.field)
		}
		values = append(values, v)
	}
	return values
}

func kindOfValue(c class) string {
	switch c {
	case classID:
		return "an Exim message id"
	case classInteger:
		return "a number of its range"
	case classAddress:
		return "an IP address"
	case classTime:
		return "a time"
	}
	return "a value"
}

// Text is field i of an event as a person reads it.
func Text(e *schema.Event, i int) string {
	if !e.Has(i) {
		return ""
	}
	switch e.Kind.Fields[i].Type {
	case schema.UInt8, schema.UInt16, schema.UInt64:
		return strconv.FormatUint(e.Uint(i), 10)
	case schema.Seconds:
		return time.Unix(int64(e.Uint(i)), 0).UTC().Format("2006-01-02 15:04:05")
	case schema.Millis:
		return time.UnixMilli(e.Millis(i)).UTC().Format("2006-01-02 15:04:05.000")
	case schema.IP:
		return netip.AddrFrom16(e.IP(i)).Unmap().String()
	}
	return string(e.Text(i))
}
