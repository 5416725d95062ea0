package quarantine

import (
	"bytes"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"millrace/schema"
)

// maxValue is the longest value of a column.
const maxValue = 4 << 10

// field is one field of a header, unfolded. Its bytes are those of the header, unless it was
// folded.
type field struct {
	name  string // lower case
	value []byte
	own   bool // value is not the header's, and can be appended to
}

// parseHeader appends the fields of a header to list. junk tells that there are lines which belong
// to none.
func parseHeader(list []field, header []byte) (_ []field, junk bool) {
	end := byte('\n')
	if bytes.IndexByte(header, '\n') < 0 {
		end = '\r'
	}
	open := false // a field that a folded line continues
	for len(header) > 0 {
		line := header
		if i := bytes.IndexByte(header, end); i >= 0 {
			line, header = header[:i], header[i+1:]
		} else {
			header = nil
		}
		line = bytes.TrimRight(line, "\r")
		switch {
		case len(line) == 0:
			return list, junk || len(bytes.TrimSpace(header)) > 0
		case line[0] == ' ' || line[0] == '\t':
			if !open {
				junk = junk || len(bytes.TrimSpace(line)) > 0
				continue
			}
			last := &list[len(list)-1]
			if !last.own {
				last.value, last.own = bytes.Clone(last.value), true
			}
			last.value = append(append(last.value, ' '), bytes.TrimLeft(line, " \t")...)
		default:
			name, ok := fieldName(line)
			if open = ok; !ok {
				junk = true
				continue
			}
			value := line[bytes.IndexByte(line, ':')+1:]
			list = append(list, field{name: name, value: bytes.TrimLeft(value, " \t")})
		}
	}
	return list, junk
}

// fieldName is the name before the colon of a line.
func fieldName(line []byte) (name string, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return "", false
	}
	raw := bytes.TrimRight(line[:colon], " \t")
	for _, c := range raw {
		if c <= ' ' || c >= 0x7f {
			return "", false
		}
	}
	return strings.ToLower(string(raw)), len(raw) > 0
}

// nameMatches compares a name with a pattern in which * stands for any characters.
func nameMatches(pattern, name string) bool {
	head, rest, any := strings.Cut(pattern, "*")
	if !any {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		_, name, ok = strings.Cut(name, part)
		if !ok {
			return false
		}
		rest = after
	}
}

// text is what a value says: encoded words (RFC 2047) decoded, one line of UTF-8 without control
// characters. flags are what had to be forgiven; an encoded word that does not decode stays.
func text(value []byte) (s string, flags schema.Flag) {
	if !utf8.Valid(value) {
		flags |= schema.FlagBadUTF8
	}
	if bytes.IndexByte(value, 0) >= 0 {
		flags |= schema.FlagNULByte
	}
	s = strings.ToValidUTF8(string(value), "\uFFFD")
	if strings.Contains(s, "=?") {
		if decoded, err := words2047.DecodeHeader(s); err == nil {
			s = strings.ToValidUTF8(decoded, "\uFFFD")
		} else {
			flags |= schema.FlagBadHeader
		}
	}
	return strings.TrimSpace(strings.Map(printed, s)), flags
}

// printed replaces what a terminal would obey.
func printed(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ' '
	case r < ' ' || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029':
		return utf8.RuneError
	}
	return r
}

// words2047 knows the charsets that browsers do.
var words2047 = &mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(r), nil
}}

// shorten cuts what is longer than maxValue, between characters.
func shorten(s string) (_ string, cut bool) {
	if len(s) <= maxValue {
		return s, false
	}
	n := maxValue
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], true
}
