package format

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"millrace/schema"
)

// Format is a named template whose frames are events of one kind.
type Format struct {
	Name     string
	Kind     *schema.Kind
	Template *Template
	// CSVQuoting says that the source doubles the quotes inside values, as RFC
	// 4180 has it. The known source does not.
	CSVQuoting bool
}

// Unknown are the template's variables that the kind has no column for. They
// are decoded into `extra`.
func (f *Format) Unknown() []string {
	var names []string
	for _, v := range f.Template.variables {
		if fieldOf(f.Kind, v.name) < 0 {
			names = append(names, v.name)
		}
	}
	return names
}

// fieldOf is the field that a template's variable fills, or -1: the common
// fields and the derived ones are not the source's to fill.
func fieldOf(k *schema.Kind, name string) int {
	i := k.Index(name)
	if i < schema.CommonFields || strings.HasSuffix(name, "_norm") {
		return -1
	}
	switch k.Fields[i].Type {
	case schema.Text, schema.Word, schema.UInt8, schema.UInt16, schema.UInt64, schema.Millis, schema.IP:
		return i
	}
	return -1
}

// Options are what a listener's source does its own way.
type Options struct {
	TimeZone  *time.Location     // of times without one, when nothing else tells; nil is UTC
	Nulls     []string           // words that mean "no value" in typed columns; nil is DefaultNulls. The empty text always does
	Direction string             // value of `direction`; "" leaves it empty
	Classes   *schema.ClassTable // of class_norm; nil is the built-in one
	Own       Domains            // whose mail has a direction by its addresses
}

// DefaultNulls are the null words: those of Python and of syslog.
func DefaultNulls() []string { return []string{"", "None", "-"} }

// Set is the formats of one listener, ready to decode. It never changes and may
// be used by many Decoders at once.
type Set struct {
	layouts   []layout
	zone      *time.Location
	nulls     [][]byte
	nullStart [256]bool  // first bytes of the null words
	mayMean   [256]int32 // by first byte: up to which length a text may mean something else, no value above all
	noneText  bool       // None is a null word, so it is one of free text too
	direction []byte
	own       Domains
	classes   *schema.ClassTable
	first     [256]bool // first bytes of a body, a blank before it included
}

// layout is the formats that one look at a frame splits alike.
type layout struct {
	prefix, suffix []byte
	sep            []byte // the one literal between all variables, or nil: each format splits by itself
	formats        []*bound
	byCount        [maxVariables + 1]*bound // for sep != nil: the one format of that many columns
	fewest         int
	tagged         bool // the prefix holds a word, so that no value is mistaken for it
	marked         bool // the suffix holds a word, so that a frame without it is known to be cut
}

// bound is a format with its columns bound to the fields of its kind.
type bound struct {
	*Format
	name                              []byte
	columns                           []column
	asIs                              []int8 // field of each column whose text is its value; -1 of the others
	literals                          [][]byte
	uniform                           []byte // the one literal between all columns, or nil
	runs                              []run
	behind                            int // columns behind the last that absorbs
	order                             int // place in the configuration
	timeField                         int // of event_time; -1: the template has none
	statusNorm, classNorm             int
	statusField, mainField, codeField int
	senderField, recipientField       int
	userFields                        [2]int // auth_user and identity
}

// column is one variable of a bound format.
type column struct {
	class  class
	headed bool // from_header or to_header: an address speaks for the format
	quoted bool // may hold a list of quoted names: from, to, cc, sender, recipient
	plain  bool // %(x)s or a number without width: the text is the value
	field  int
	max    uint64 // of an integer
	name   []byte
	variable
}

// class is how a column's text is read.
type class uint8

const (
	classText    class = iota // free text: anything, the separator included
	classExtra                // unknown variable, free text as well
	className                 // text where the null words count: auth_user, identity
	classWord                 // few distinct values
	classHost                 // a host name or address, kept as it is
	classDomain               // a domain, lower-cased
	classID                   // Exim message id
	classInteger              // number
	classAddress              // IP address
	classTime                 // instant
)

// absorbs tells whether a separator too many may stand inside such a value.
func (c class) absorbs() bool { return c <= className }

// typed tells whether a value of the class is known by its look.
func (c class) typed() bool { return c >= classID }

func classOf(f *schema.Field) class {
	switch f.Name {
	case "id":
		return classID
	case "domain":
		return classDomain
	case "filtering_host", "delivery_fqdn", "delivery_interface":
		return classHost
	case "auth_user", "identity":
		return className
	}
	switch f.Type {
	case schema.Word:
		return classWord
	case schema.UInt8, schema.UInt16, schema.UInt64:
		return classInteger
	case schema.IP:
		return classAddress
	case schema.Millis:
		return classTime
	}
	return classText
}

// run is a stretch of columns: first those that may absorb surplus pieces, then
// those that may not and so pin what is left and right of them.
type run struct {
	text, pins, end int // columns[text:pins] absorb, columns[pins:end] pin
}

func bind(f *Format, order int) *bound {
	b := &bound{
		Format: f, name: schema.Padded(f.Name), literals: f.Template.literals, order: order,
		timeField:   -1,
		statusField: f.Kind.Index("status"), statusNorm: f.Kind.Index("status_norm"),
		mainField: f.Kind.Index("main_class"), codeField: f.Kind.Index("classification_code"), classNorm: f.Kind.Index("class_norm"),
		senderField: f.Kind.Index("sender"), recipientField: f.Kind.Index("recipient"), userFields: [2]int{f.Kind.Index("auth_user"), f.Kind.Index("identity")},
	}
	for _, v := range f.Template.variables {
		c := column{variable: v, name: []byte(v.name), class: classExtra, field: fieldOf(f.Kind, v.name)}
		c.plain = v.width == 0 && v.verb != 'r' && v.verb != 'a'
		if c.field < 0 {
			c.field = schema.Extra
		} else {
			field := &f.Kind.Fields[c.field]
			c.class = classOf(field)
			switch field.Type {
			case schema.UInt8:
				c.max = 1<<8 - 1
			case schema.UInt16:
				c.max = 1<<16 - 1
			case schema.UInt64:
				c.max = 1<<64 - 1
			case schema.Millis:
				if b.timeField < 0 {
					b.timeField = c.field
				}
			}
		}
		c.headed = v.name == "from_header"
		switch v.name {
		case "from_header", "to_header", "cc_header", "sender", "recipient":
			c.quoted = true
		}
		b.columns = append(b.columns, c)
		asIs := int8(-1)
		if c.plain && !f.CSVQuoting && (c.class == classText || c.class == className || c.class == classWord) {
			asIs = int8(c.field)
		}
		b.asIs = append(b.asIs, asIs)
	}
	if n := len(b.columns); n > 1 && !f.CSVQuoting {
		b.uniform = b.literals[1]
		for _, l := range b.literals[2:n] {
			if !bytes.Equal(l, b.uniform) {
				b.uniform = nil
				break
			}
		}
	}
	for i := 0; i < len(b.columns); {
		r := run{text: i}
		for i < len(b.columns) && b.columns[i].class.absorbs() {
			i++
		}
		r.pins = i
		for i < len(b.columns) && !b.columns[i].class.absorbs() {
			i++
		}
		r.end = i
		b.runs = append(b.runs, r)
		b.behind = r.end - r.pins
	}
	return b
}

// NewSet makes the formats of a listener ready. Formats that no frame could tell
// apart are an error, which shows a frame that is of both.
func NewSet(formats []*Format, o Options) (*Set, error) {
	if len(formats) == 0 {
		return nil, errors.New("cannot decode without a format: name at least one")
	}
	s := &Set{zone: o.TimeZone, direction: schema.Padded(o.Direction), own: o.Own, classes: o.Classes}
	if s.classes == nil {
		s.classes = schema.BuiltinClasses()
	}
	nulls := o.Nulls
	if nulls == nil {
		nulls = DefaultNulls()
	}
	for _, w := range nulls {
		if w == "" {
			continue
		}
		s.nulls = append(s.nulls, []byte(w))
		s.nullStart[w[0]] = true
		s.mayMean[w[0]] = max(s.mayMean[w[0]], int32(len(w)))
		s.noneText = s.noneText || w == "None"
	}
	s.mayMean['%'] = math.MaxInt32 // the text of a variable that was not expanded
	var all []*bound
	for i, f := range formats {
		if f.Kind == nil || f.Template == nil || f.Name == "" {
			return nil, fmt.Errorf("format %d of the set lacks a name, a kind or a template", i+1)
		}
		b := bind(f, i)
		for _, other := range all {
			if other.Name == b.Name {
				return nil, fmt.Errorf("the format %q is listed twice", b.Name)
			}
			if frame, alike := indistinct(other, b); alike {
				return nil, fmt.Errorf("no frame could tell the formats %q and %q apart: the same literals and number of columns, and no column whose type differs; such a frame: %s", other.Name, b.Name, frame)
			}
		}
		all = append(all, b)
		s.add(b)
	}
	s.findFirst()
	// The most telling literals first.
	slices.SortStableFunc(s.layouts, func(a, b layout) int {
		if d := len(b.prefix) - len(a.prefix); d != 0 {
			return d
		}
		return len(b.suffix) - len(a.suffix)
	})
	return s, nil
}

// add puts a format into the layout that it shares with others, or a new one.
func (s *Set) add(b *bound) {
	n := len(b.columns)
	prefix, suffix, sep := b.literals[0], b.literals[n], b.uniform
	for i := range s.layouts {
		l := &s.layouts[i]
		if sep != nil && bytes.Equal(l.sep, sep) && bytes.Equal(l.prefix, prefix) && bytes.Equal(l.suffix, suffix) {
			l.byCount[n] = b
			for _, other := range l.formats {
				if len(other.columns) == n {
					l.byCount[n] = nil // types must tell them apart
				}
			}
			l.formats = append(l.formats, b)
			l.fewest = min(l.fewest, n)
			return
		}
	}
	l := layout{prefix: prefix, suffix: suffix, sep: sep, formats: []*bound{b}, fewest: n, tagged: hasWord(prefix), marked: hasWord(suffix)}
	l.byCount[n] = b
	s.layouts = append(s.layouts, l)
}

// hasWord tells a literal that says something from mere punctuation.
func hasWord(literal []byte) bool {
	return bytes.ContainsFunc(literal, func(r rune) bool { return isBase62(r) })
}

func isBase62(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// indistinct tells whether every frame of one format is one of the other: equal
// literals, and no column in which both are typed and a value of one type cannot
// be one of the other. The frame it returns reads as both.
func indistinct(a, b *bound) (frame string, alike bool) {
	// Quoting does not tell: most values hold no quote.
	if len(a.columns) != len(b.columns) {
		return "", false
	}
	for i := range a.literals {
		if !bytes.Equal(a.literals[i], b.literals[i]) {
			return "", false
		}
	}
	var sample []byte
	for i := range a.columns {
		x, y := a.columns[i].class, b.columns[i].class
		// A number may be an epoch, so integers and times do not tell.
		numbers := (x == classInteger || x == classTime) && (y == classInteger || y == classTime)
		if x.typed() && y.typed() && x != y && !numbers {
			return "", false
		}
		sample = append(append(sample, a.literals[i]...), sampleOf(max(x, y))...)
	}
	return string(append(sample, a.literals[len(a.columns)]...)), true
}

// sampleOf is a value of the class, and of every less telling one.
func sampleOf(c class) string {
	switch c {
	case classID:
		return "1phfsb-0004M4-O4"
	case classInteger:
		return "25"
	case classAddress:
		return "192.0.2.1"
	case classTime:
		return "1680135061"
	case classHost, classDomain:
		return "example.com"
	}
	return "text"
}

// Matches tells whether a body begins here: with the first literal of one of
// the formats, and so without a syslog header in front. A format that begins
// with a variable is believed when no blank stands before its first separator.
func (s *Set) Matches(rest []byte) bool {
	if len(rest) > 0 && !s.first[rest[0]] {
		return false
	}
	whole := rest
	rest = skipBlank(rest)
	for i := range s.layouts {
		l := &s.layouts[i]
		if len(l.prefix) > 0 {
			if bytes.HasPrefix(rest, l.prefix) || bytes.HasPrefix(whole, l.prefix) {
				return true
			}
			continue
		}
		for _, b := range l.formats {
			first := rest
			if next := b.literals[1]; len(next) > 0 {
				at := bytes.Index(rest, next)
				if at < 0 {
					continue
				}
				first = rest[:at]
			}
			if bytes.IndexByte(first, ' ') < 0 {
				return true
			}
		}
	}
	return false
}

// findFirst notes with which bytes a body can begin, so that Matches need not look
// further at most frames with a header.
func (s *Set) findFirst() {
	s.first[' '], s.first[bom[0]] = true, true
	for i := range s.layouts {
		if p := s.layouts[i].prefix; len(p) > 0 {
			s.first[p[0]] = true
			continue
		}
		for c := range s.first {
			s.first[c] = true // a body may begin with any value
		}
	}
}

var bom = []byte("\xEF\xBB\xBF")

// skipBlank takes off what relays and RFC 5424 put before a body: blanks and a
// byte order mark.
func skipBlank(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return bytes.TrimPrefix(b, bom)
}
