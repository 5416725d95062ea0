package replay

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/schema"
)

// value is one column of one row, in the part of it that its type has.
type value struct {
	text  string // Text, Word, Bytes
	num   uint64 // numbers and times
	addr  netip.Addr
	names []string
	codes []uint16
	addrs []netip.Addr
	pairs map[string]string
}

func (v *value) equal(w *value) bool {
	return v.text == w.text && v.num == w.num && v.addr == w.addr && slices.Equal(v.names, w.names) &&
		slices.Equal(v.codes, w.codes) && slices.Equal(v.addrs, w.addrs) && maps.Equal(v.pairs, w.pairs)
}

// show is the value for a person, not longer than a line.
func (v *value) show(t schema.Type) string {
	const most = 60
	s := ""
	switch t {
	case schema.Millis:
		s = time.UnixMilli(int64(v.num)).UTC().Format("2006-01-02 15:04:05.000")
	case schema.Seconds:
		s = time.Unix(int64(v.num), 0).UTC().Format(time.DateTime)
	case schema.UInt8, schema.UInt16, schema.UInt64:
		s = strconv.FormatUint(v.num, 10)
	case schema.IP:
		s = plain(v.addr).String()
	case schema.Names, schema.Texts:
		s = "[" + strings.Join(v.names, ", ") + "]"
	case schema.Codes:
		s = fmt.Sprint(v.codes)
	case schema.IPs:
		s = fmt.Sprint(v.addrs)
	case schema.Map:
		s = fmt.Sprint(v.pairs)
	default:
		s = strconv.Quote(v.text)
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// row is one row of a kind's table, by the position of the field.
type row []value

// columns is what to select for a row. Times come as numbers: the driver's own have zones.
func columns(k *schema.Kind) string {
	var names []string
	for i := range k.Fields {
		name := k.Fields[i].Name
		switch k.Fields[i].Type {
		case schema.Millis:
			name = "toUnixTimestamp64Milli(" + name + ")"
		case schema.Seconds:
			name = "toUnixTimestamp(" + name + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// scanner reads rows that were selected with columns.
type scanner struct {
	kind *schema.Kind
	into []any
	take []func() value
}

func newScanner(k *schema.Kind) *scanner {
	s := &scanner{kind: k}
	for i := range k.Fields {
		switch k.Fields[i].Type {
		case schema.UInt8:
			number[uint8](s)
		case schema.UInt16:
			number[uint16](s)
		case schema.UInt64:
			number[uint64](s)
		case schema.Seconds:
			number[uint32](s)
		case schema.Millis:
			number[int64](s)
		case schema.IP:
			scanInto(s, func(a netip.Addr) value { return value{addr: as16(a)} })
		case schema.Names, schema.Texts:
			scanInto(s, func(names []string) value { return value{names: names} })
		case schema.Codes:
			scanInto(s, func(codes []uint16) value { return value{codes: codes} })
		case schema.IPs:
			scanInto(s, func(addrs []netip.Addr) value {
				for i := range addrs {
					addrs[i] = as16(addrs[i])
				}
				return value{addrs: addrs}
			})
		case schema.Map:
			scanInto(s, func(pairs map[string]string) value { return value{pairs: pairs} })
		default:
			scanInto(s, func(text string) value { return value{text: text} })
		}
	}
	return s
}

func scanInto[T any](s *scanner, f func(T) value) {
	p := new(T)
	s.into = append(s.into, p)
	s.take = append(s.take, func() value {
		v := *p
		*p = *new(T) // the next row is not to share this one's memory
		return f(v)
	})
}

func number[T uint8 | uint16 | uint32 | uint64 | int64](s *scanner) {
	scanInto(s, func(n T) value { return value{num: uint64(n)} })
}

// as16 is an address as the column has it; none is ::.
func as16(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv6Unspecified()
	}
	return netip.AddrFrom16(a.As16())
}

func (s *scanner) row(rows driver.Rows) (row, error) {
	if err := rows.Scan(s.into...); err != nil {
		return nil, err
	}
	r := make(row, len(s.take))
	for i, take := range s.take {
		r[i] = take()
	}
	return r, nil
}

// rowOf is the row that an event that was read from a record makes.
func rowOf(e *schema.Event) row {
	r := make(row, len(e.Kind.Fields))
	for i := range e.Kind.Fields {
		switch e.Kind.Fields[i].Type {
		case schema.Text, schema.Word, schema.Bytes:
			r[i].text = string(e.Text(i))
		case schema.IP:
			r[i].addr = netip.AddrFrom16(e.IP(i))
		case schema.Names, schema.Map, schema.Texts, schema.Codes, schema.IPs:
		default:
			r[i].num = e.Uint(i)
		}
	}
	for _, n := range e.Names() {
		v := &r[n.Field]
		if e.Kind.Fields[n.Field].Type == schema.IPs {
			a, _ := netip.AddrFromSlice(n.Name)
			v.addrs = append(v.addrs, as16(a))
			continue
		}
		v.names = append(v.names, string(n.Name))
	}
	for _, c := range e.Codes() {
		r[c.Field].codes = append(r[c.Field].codes, c.Code)
	}
	for _, p := range e.Pairs() {
		if r[p.Field].pairs == nil {
			r[p.Field].pairs = map[string]string{}
		}
		r[p.Field].pairs[string(p.Key)] = string(p.Value)
	}
	return r
}

// event makes e the event whose row this is.
func (r row) event(k *schema.Kind, e *schema.Event) {
	e.Reset(k)
	for i := range k.Fields {
		v := &r[i]
		switch k.Fields[i].Type {
		case schema.Text, schema.Word, schema.Bytes:
			e.SetText(i, []byte(v.text))
		case schema.IP:
			e.SetIP(i, v.addr)
		case schema.Names, schema.Texts:
			for _, n := range v.names {
				e.AddName(i, []byte(n))
			}
		case schema.Codes:
			for _, c := range v.codes {
				e.AddCode(i, c)
			}
		case schema.IPs:
			for _, a := range v.addrs {
				e.AddName(i, a.AsSlice())
			}
		case schema.Map:
			for _, key := range slices.Sorted(maps.Keys(v.pairs)) {
				e.AddPair(i, []byte(key), []byte(v.pairs[key]))
			}
		default:
			e.SetUint(i, v.num)
		}
	}
}
