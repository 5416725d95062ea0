package tap

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"millrace/schema"
)

// line writes items as JSON, one a line.
type line struct {
	event schema.Event
}

// append adds an item: where it came from, its fields by their names in schema, and
// the frame, as base64 when it is not UTF-8. A reject's raw is the frame.
func (l *line) append(dst []byte, it *Item) []byte {
	o := object{dst: append(dst, '{')}
	o.text("kind", it.Kind.Name)
	if it.Drop != "" {
		o.text("dropped", string(it.Drop))
	}
	if it.Peer.IsValid() {
		o.text("peer", it.Peer.String())
	}
	e := &l.event
	if err := (schema.Reader{}).Read(it.Kind, it.Record, e); err != nil {
		o.text("error", err.Error()) // a record that we wrote ourselves
		e.Reset(it.Kind)
	}
	for i := range it.Kind.Fields {
		if f := &it.Kind.Fields[i]; e.Has(i) && i != schema.Raw {
			o.field(f, e, i)
		}
	}
	o.names(e)
	o.pairs(e)
	if ended := it.Ended.String(); ended != "" {
		o.text("ended", ended)
	}
	if trailer := it.Trailer.Append(nil); len(trailer) > 0 {
		o.text("trailer", string(trailer))
	}
	if it.Size > len(it.Frame) {
		o.raw("frame_size", strconv.Itoa(it.Size))
	}
	if utf8.Valid(it.Frame) {
		o.text("frame", string(it.Frame))
	} else {
		o.text("frame_base64", base64.StdEncoding.EncodeToString(it.Frame))
	}
	return append(o.dst, "}\n"...)
}

// appendCounts adds a line with the counts and, when it was the end, why.
func appendCounts(dst []byte, c Counts, end string) []byte {
	b, err := json.Marshal(map[string]any{"tap": struct {
		Counts
		End string `json:"end,omitempty"`
	}{c, end}})
	if err != nil {
		panic("BUG: " + err.Error()) // numbers and a word of ours
	}
	return append(append(dst, b...), '\n')
}

// object is a JSON object that is being written.
type object struct {
	dst  []byte
	more bool
}

func (o *object) key(name string) {
	if o.more {
		o.dst = append(o.dst, ',')
	}
	o.more = true
	o.dst = append(appendQuoted(o.dst, name), ':')
}

func (o *object) raw(name, value string) { o.key(name); o.dst = append(o.dst, value...) }
func (o *object) text(name, value string) {
	o.key(name)
	o.dst = appendQuoted(o.dst, value)
}

func (o *object) field(f *schema.Field, e *schema.Event, i int) {
	switch f.Type {
	case schema.Text, schema.Word, schema.Bytes:
		o.text(f.Name, string(e.Text(i)))
	case schema.UInt8, schema.UInt16, schema.UInt64:
		o.raw(f.Name, strconv.FormatUint(e.Uint(i), 10))
	case schema.Millis:
		o.text(f.Name, time.UnixMilli(e.Millis(i)).UTC().Format("2006-01-02T15:04:05.000Z"))
	case schema.Seconds:
		o.text(f.Name, time.Unix(int64(e.Uint(i)), 0).UTC().Format("2006-01-02T15:04:05Z"))
	case schema.IP:
		o.text(f.Name, netip.AddrFrom16(e.IP(i)).Unmap().String())
	}
}

func (o *object) names(e *schema.Event) {
	for field := range e.Kind.Fields {
		typ := e.Kind.Fields[field].Type
		if !typ.Repeated() || typ == schema.Map {
			continue
		}
		var list []byte
		for _, n := range e.Names() {
			if n.Field != field {
				continue
			}
			text := string(n.Name)
			if typ == schema.IPs {
				text = ""
				if a, ok := netip.AddrFromSlice(n.Name); ok {
					text = a.Unmap().String()
				}
			}
			list = appendQuoted(append(list, ','), text)
		}
		for _, c := range e.Codes() {
			if c.Field == field {
				list = strconv.AppendUint(append(list, ','), uint64(c.Code), 10)
			}
		}
		if len(list) > 0 {
			o.raw(e.Kind.Fields[field].Name, "["+string(list[1:])+"]")
		}
	}
}

func (o *object) pairs(e *schema.Event) {
	for _, field := range []int{schema.StructuredData, schema.Extra} {
		inner := object{dst: nil}
		for _, p := range e.Pairs() {
			if p.Field == field {
				inner.text(string(p.Key), string(p.Value))
			}
		}
		if inner.more {
			o.raw(e.Kind.Fields[field].Name, "{"+string(inner.dst)+"}")
		}
	}
}

// appendQuoted is a JSON string that a person can read: package json writes < as \u003c.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r) // U+FFFD for what is no UTF-8
			i += n
		}
	}
	return append(dst, '"')
}
