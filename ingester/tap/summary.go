package tap

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/ingester/format"
	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/schema"
)

// What a Summary keeps of values: those of the first events, and few of many.
const (
	summaryEvents = 10_000
	summaryBytes  = 16 << 20
	summaryWords  = 12
	sampleBytes   = 200
)

// Summary says what a source really sends, which its documentation leaves open: how
// its frames end, what stands in front of them, how it writes times and what is none.
type Summary struct {
	Frames, Bytes uint64
	First, Last   int64 // Unix milliseconds

	longest   int
	cut       uint64 // too long, so that not all of them came
	transport tally
	ended     tally
	stripped  tally
	header    tally
	pri       tally
	formats   tally
	rejects   tally
	dropped   tally

	samples map[string]string // a rejected frame of each reason

	kept  []kept // the first events, to be looked at in the end
	bytes int
}

// kept is an event's frame and the format that decoded it.
type kept struct {
	frame    []byte
	format   string
	received int64
}

// tally counts by word.
type tally map[string]uint64

func (t *tally) add(word string) {
	if *t == nil {
		*t = tally{}
	}
	if len(word) > sampleBytes {
		word = word[:sampleBytes] + "..."
	}
	if _, known := (*t)[word]; !known && len(*t) >= 1000 {
		word = "others"
	}
	(*t)[word]++
}

// String is the counts, highest first.
func (t tally) String() string {
	if len(t) == 0 {
		return "none"
	}
	words := slices.Collect(maps.Keys(t))
	slices.SortFunc(words, func(a, b string) int {
		if t[a] != t[b] {
			return int(min(t[b], 1<<40)) - int(min(t[a], 1<<40))
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for i, w := range words {
		if i == summaryWords {
			fmt.Fprintf(&b, ", and %d more", len(words)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", w, t[w])
	}
	return b.String()
}

// Add counts a frame.
func (s *Summary) Add(it *Item) {
	s.Frames++
	s.Bytes += uint64(it.Size)
	s.longest = max(s.longest, it.Size)
	if s.First == 0 {
		s.First = it.Received
	}
	s.Last = max(s.Last, it.Received)
	if it.Size > len(it.Frame) {
		s.cut++
	}
	s.transport.add(it.Transport)
	if it.Ended != framing.Unended {
		s.ended.add(it.Ended.String())
		s.stripped.add(orNone(it.Trailer.String()))
	}
	if it.Lead != 0 {
		s.stripped.add("before a frame, so behind the one before it: " + it.Lead.String())
	}
	if it.Drop != "" {
		s.dropped.add(string(it.Drop))
	}
	if it.Kind == schema.Reject {
		s.rejects.add(it.Reason)
		if _, has := s.samples[it.Reason]; !has && len(s.samples) < summaryWords {
			if s.samples == nil {
				s.samples = map[string]string{}
			}
			s.samples[it.Reason] = fmt.Sprintf("%q", it.Frame[:min(len(it.Frame), sampleBytes)])
		}
	} else {
		s.formats.add(it.Format)
	}
	if it.Kind != schema.Reject || it.Ended != framing.Unended {
		s.addHeader(it)
	}
	if it.Kind != schema.Reject && len(s.kept) < summaryEvents && s.bytes < summaryBytes {
		s.kept = append(s.kept, kept{bytes.Clone(it.Frame), it.Format, it.Received})
		s.bytes += len(it.Frame)
	}
}

func (s *Summary) addHeader(it *Item) {
	word := it.Style.String()
	switch {
	case it.PRI == header.PRIMissing && it.Style == header.Bare:
		word = "none"
	case it.PRI == header.PRIMissing:
		word += " without PRI"
	case it.PRI == header.PRIBad:
		word += " with a PRI that is none"
	case it.Style == header.Bare:
		word = "bare PRI"
	}
	if it.BOM {
		word += ", byte order mark"
	}
	s.header.add(word)
	if it.PRI == header.PRIPresent {
		s.pri.add(fmt.Sprintf("<%d>", int(it.Facility)*8+int(it.Severity)))
	}
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// Write says what was counted, and looks at the values of the first events with the
// formats given, the listener's, as they stand in the configuration here.
func (s *Summary) Write(w io.Writer, formats []*format.Format, o format.Options) {
	row := func(name string, value any) { fmt.Fprintf(w, "  %-19s %v\n", name, value) }
	if s.Frames == 0 {
		return
	}
	row("transport", s.transport)
	row("ended by", s.ended)
	row("stripped", s.stripped)
	row("header", s.header)
	row("PRI", s.pri)
	row("longest", fmt.Sprintf("%d bytes", s.longest))
	row("formats", s.formats)
	row("rejects", s.rejects)
	for _, reason := range slices.Sorted(maps.Keys(s.samples)) {
		row(reason, "such as "+s.samples[reason])
	}
	if len(s.dropped) > 0 {
		row("dropped", s.dropped)
	}
	if s.cut > 0 {
		row("too long", fmt.Sprintf("%d frames of which the ingester keeps the beginning alone: they are not in the file", s.cut))
	}
	if len(s.kept) == 0 {
		return
	}
	v := s.values(formats, o)
	which := "values"
	if n := uint64(len(s.kept)); n < s.Frames {
		which = fmt.Sprintf("values of the first %d events", n)
	}
	fmt.Fprintf(w, "%s, as they stand in the frames:\n", which)
	if v.unknown > 0 {
		row("not read", fmt.Sprintf("%d events of formats that the configuration here does not give the listener", v.unknown))
	}
	row("no value", v.nulls)
	if len(v.bad) > 0 {
		row("not parsed", v.bad)
	}
	for _, name := range slices.Sorted(maps.Keys(v.times)) {
		row(name, v.times[name])
	}
	for _, name := range slices.Sorted(maps.Keys(v.words)) {
		row(name, v.words[name])
	}
	row("id", v.ids)
	row("recipient", v.recipients)
	row("headers", v.texts)
}

// values are what was seen in columns.
type values struct {
	unknown    int
	bad        tally            // what did not parse
	nulls      tally            // texts of typed columns that stand for no value
	times      map[string]tally // by column: layouts
	words      map[string]tally // by column: words of open sets
	ids        tally
	recipients tally
	texts      tally // what header texts hold that somebody might have escaped
}

func (s *Summary) values(formats []*format.Format, o format.Options) *values {
	v := &values{times: map[string]tally{}, words: map[string]tally{}}
	sets := map[string]*format.Set{}
	for _, f := range formats {
		if set, err := format.NewSet([]*format.Format{f}, o); err == nil {
			sets[f.Name] = set
		}
	}
	var d format.Decoder
	for _, k := range s.kept {
		set := sets[k.format]
		if set == nil {
			v.unknown++
			continue
		}
		var h header.Header
		rest := header.ParsePRI(header.StripTrailer(k.frame), &h)
		body := rest
		if !set.Matches(rest) {
			if b, ok := header.ParseRest(rest, &h, k.received, o.TimeZone); ok {
				body = b
			}
		}
		attempts := d.Explain(set, body, format.Context{Received: k.received, Header: h.Millis})
		for _, a := range attempts {
			for i := range a.Values {
				v.add(a.Format.Kind, &a.Values[i])
			}
		}
	}
	return v
}

func (v *values) add(kind *schema.Kind, c *format.Value) {
	i := kind.Index(c.Column)
	if i < 0 {
		return
	}
	typed := kind.Fields[i].Type != schema.Text
	zero := c.Text != "" && strings.Trim(c.Text, "0") == "" // a number, and no absent one
	if c.Text == "" || c.Note == "no value" && !zero {
		if typed || c.Text != "" {
			v.nulls.add(fmt.Sprintf("%q", c.Text))
		}
		if c.Column != "id" {
			return
		}
	}
	if strings.HasPrefix(c.Note, "not ") {
		v.bad.add(fmt.Sprintf("%s %q", c.Column, c.Text))
	}
	switch {
	case kind.Fields[i].Type == schema.Millis:
		t := v.times[c.Column]
		t.add(layout(c.Text))
		v.times[c.Column] = t
	case c.Column == "id":
		v.ids.add(fmt.Sprintf("%d characters", len(c.Text)))
	case c.Column == "recipient":
		word := "one address"
		if n := strings.Count(c.Text, "@"); n > 1 {
			word = "several addresses in one value"
		}
		v.recipients.add(word)
	case c.Column == "status", c.Column == "main_class", c.Column == "sub_class", c.Column == "classification", c.Column == "classification_code":
		t := v.words[c.Column]
		t.add(fmt.Sprintf("%q", c.Text))
		v.words[c.Column] = t
	case strings.HasSuffix(c.Column, "_header"):
		v.text(c.Text)
	}
}

// text looks for traces of escaping.
func (v *values) text(s string) {
	plain := true
	f := func(what string, is bool) {
		if is {
			v.texts.add(what)
			plain = false
		}
	}
	f("RFC 2047 words, undecoded", strings.Contains(s, "=?") && strings.Contains(s, "?="))
	f("not UTF-8", !utf8.ValidString(s))
	f("not ASCII", utf8.ValidString(s) && strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }))
	f(`\"`, strings.Contains(s, `\"`))
	f(`""`, strings.Contains(s, `""`))
	f(`\n or \r`, strings.Contains(s, `\n`) || strings.Contains(s, `\r`))
	f("line end", strings.ContainsAny(s, "\r\n"))
	f("TAB", strings.Contains(s, "\t"))
	f("NUL", strings.Contains(s, "\x00"))
	f(`quotes "`, strings.Contains(s, `"`))
	if plain {
		v.texts.add("plain")
	}
}

// layout is the shape of a time, with what it is if it is known.
func layout(s string) string {
	shape := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '9'
		}
		return r
	}, s)
	if len(shape) > 40 {
		shape = shape[:40] + "..."
	}
	word := fmt.Sprintf("%q", shape)
	switch {
	case strings.Trim(shape, "9.") == "" && len(s) >= 9:
		word += " (epoch)"
	case strings.HasSuffix(s, "Z") || len(s) > 19 && strings.ContainsAny(s[19:], "+-"):
		word += " (with a zone)"
	case len(s) >= 19:
		word += " (without a zone)"
	}
	return word
}

// Span is the time between the first frame and the last.
func (s *Summary) Span() time.Duration { return time.Duration(s.Last-s.First) * time.Millisecond }
