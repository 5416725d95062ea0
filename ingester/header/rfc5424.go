package header

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/influxdata/go-syslog/v3"
	"github.com/influxdata/go-syslog/v3/rfc5424"
)

// maxToken bounds each word of a header: the longest that RFC 5424 allows is the host.
const maxToken = 255

// parse5424 reads "VERSION TIME HOST APP PROCID MSGID SD [MSG]". A time that is none is
// marked and the rest read all the same; anything else that is wrong means that this is
// no such header.
func parse5424(b []byte, h *Header) ([]byte, bool) {
	i := 0
	for i < len(b) && i < 3 && isDigit(b[i]) {
		i++
	}
	if i == 0 || b[0] == '0' || i == len(b) || b[i] != ' ' {
		return nil, false
	}
	when, b, ok := token(b[i+1:])
	if !ok {
		return nil, false
	}
	if when != nil {
		h.Millis, h.HasTime = time5424(when)
		h.BadTime = !h.HasTime
	}
	if h.Host, b, ok = token(b); !ok {
		return nil, false
	}
	h.Style = RFC5424
	if len(b) > 0 && b[0] == '"' {
		// No program is called so: a relay has read a body without header as TAG, and
		// written the rest of its own header into it. The decoder has to see all of it.
		return b, true
	}
	if h.App, b, ok = token(b); !ok {
		return nil, false
	}
	if h.PID, b, ok = token(b); !ok {
		return nil, false
	}
	if h.MsgID, b, ok = token(b); !ok {
		return nil, false
	}
	n := structuredDataLen(b)
	if n == 0 {
		return nil, false
	}
	if b[0] == '[' {
		h.StructuredData = b[:n]
	}
	b = b[n:]
	if len(b) > 0 {
		b = h.trimBOM(b[1:])
	}
	return b, true
}

// token takes a word and the space behind it off b. The NILVALUE is nil.
func token(b []byte) (word, rest []byte, ok bool) {
	i := 0
	for i < len(b) && isGraph(b[i]) {
		i++
	}
	if i == 0 || i > maxToken || i == len(b) || b[i] != ' ' {
		return nil, b, false
	}
	if i == 1 && b[0] == '-' {
		return nil, b[2:], true
	}
	return b[:i], b[i+1:], true
}

// time5424 allows six digits of fraction and demands a zone, as the RFC does.
func time5424(b []byte) (int64, bool) {
	var c civil
	n, whole := c.readISO(b)
	if !whole || n != len(b) || !c.zoned || c.fraction > 6 || !c.valid() {
		return 0, false
	}
	return c.utcMillis(), true
}

// structuredDataLen is the length of "-" or of "[...][...]" at the front of b, which a
// space or the end must follow. Brackets within quotes end nothing.
func structuredDataLen(b []byte) int {
	i := 0
	if len(b) > 0 && b[0] == '-' {
		i = 1
	} else {
		for i < len(b) && b[i] == '[' {
			end := elementLen(b[i:])
			if end == 0 {
				return 0
			}
			i += end
		}
	}
	if i < len(b) && b[i] != ' ' {
		return 0
	}
	return i
}

func elementLen(b []byte) int {
	quoted := false
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ']':
			if !quoted {
				return i + 1
			}
		}
	}
	return 0
}

// machines are go-syslog's parsers; each holds the state of one parse.
var machines = sync.Pool{New: func() any { return rfc5424.NewMachine(rfc5424.WithBestEffort()) }}

var nilHeader = []byte("<14>1 - - - - - ")

// EachParam calls f for each parameter of RFC 5424 structured data, in the order of
// their keys; a key is "ID.NAME". An element without parameters is a key "ID" with an
// empty value. On an error f has been called for what could be read. It allocates.
func EachParam(structuredData []byte, f func(key, value []byte)) error {
	if len(structuredData) == 0 {
		return nil
	}
	m := machines.Get().(syslog.Machine)
	defer machines.Put(m)
	message, err := m.Parse(append(bytes.Clone(nilHeader), structuredData...))
	if read, ok := message.(*rfc5424.SyslogMessage); ok && read != nil && read.StructuredData != nil {
		type pair struct{ key, value []byte }
		var pairs []pair
		for id, params := range *read.StructuredData {
			if len(params) == 0 {
				pairs = append(pairs, pair{key: []byte(id)})
			}
			for name, value := range params {
				pairs = append(pairs, pair{[]byte(id + "." + name), []byte(value)})
			}
		}
		slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
		for _, p := range pairs {
			f(p.key, p.value)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot read structured data %.100q: %w", structuredData, err)
	}
	return nil
}
