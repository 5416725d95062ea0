package header

import (
	"bytes"
	"time"
)

// PRIState says what stood where the PRI belongs.
type PRIState uint8

// Missing: user.notice (13) is assumed, as RFC 3164 4.3.3 says. Bad: facility and
// severity are 0 and mean nothing.
const (
	PRIPresent PRIState = iota
	PRIMissing
	PRIBad
)

// Style is the kind of header that a frame had.
type Style uint8

// Bare: none but the PRI.
const (
	Bare Style = iota
	RFC3164
	RFC5424
)

var styleNames = [...]string{Bare: "bare", RFC3164: "rfc3164", RFC5424: "rfc5424"}

func (s Style) String() string { return styleNames[s] }

// Header is what was read of a header. The slices are views into the frame; absent
// values and the NILVALUE are nil.
type Header struct {
	Facility, Severity uint8
	PRI                PRIState
	BOM                bool // a byte order mark was removed
	Style              Style
	HasTime            bool // Millis is the header's time
	BadTime            bool // there was a time, and it is none or its year cannot be told
	Millis             int64
	Host, App, PID     []byte
	MsgID              []byte // RFC 5424
	StructuredData     []byte // RFC 5424, with its brackets, as EachParam takes it
}

var bom = []byte("\xEF\xBB\xBF")

// StripTrailer takes CR, LF and NUL off the end of a frame.
func StripTrailer(frame []byte) []byte {
	for len(frame) > 0 {
		switch frame[len(frame)-1] {
		case 0, '\n', '\r':
			frame = frame[:len(frame)-1]
		default:
			return frame
		}
	}
	return frame
}

// ParsePRI resets h, takes a byte order mark and the PRI off and returns what follows.
func ParsePRI(frame []byte, h *Header) (rest []byte) {
	*h = Header{}
	rest = h.trimBOM(frame)
	if len(rest) == 0 || rest[0] != '<' {
		h.noPRI()
		return rest
	}
	i, value := 1, 0
	for i < len(rest) && isDigit(rest[i]) {
		value = min(value*10+int(rest[i]-'0'), 1000)
		i++
	}
	digits := i - 1
	switch {
	case digits > 0 && i < len(rest) && rest[i] == '>':
		if digits > 3 || value > 191 || rest[1] == '0' && digits > 1 {
			h.PRI = PRIBad
		} else {
			h.Facility, h.Severity = uint8(value>>3), uint8(value&7)
		}
		i++
	case digits > 0:
		// "<14 " and "<14x": the bracket is missing, or what it stood before.
		h.PRI = PRIBad
		if i < len(rest) && rest[i] == ' ' {
			i++
		}
	default:
		// "<>", "<-1>", "<+7>" are bad PRIs; any other '<' is text.
		i = 1
		if i < len(rest) && (rest[i] == '-' || rest[i] == '+') {
			i++
			for i < len(rest) && isDigit(rest[i]) {
				i++
			}
		}
		if i >= len(rest) || rest[i] != '>' {
			h.noPRI()
			return rest
		}
		h.PRI = PRIBad
		i++
	}
	return h.trimBOM(rest[i:])
}

func (h *Header) noPRI() {
	h.PRI, h.Facility, h.Severity = PRIMissing, 1, 5
}

// onlyPRI takes back what ParsePRI did not put there.
func (h *Header) onlyPRI() {
	*h = Header{Facility: h.Facility, Severity: h.Severity, PRI: h.PRI, BOM: h.BOM}
}

func (h *Header) trimBOM(b []byte) []byte {
	if bytes.HasPrefix(b, bom) {
		h.BOM = true
		return b[len(bom):]
	}
	return b
}

// ParseRest takes an RFC 5424 or RFC 3164 header off what ParsePRI returned. It is not
// ok when there is neither, or structured data without an end; then h has only what
// ParsePRI put there and body is rest.
//
// RFC 3164 names neither year nor zone. The zone is loc (nil means UTC); the year is
// the one that puts the time between 31 days before and one day after receivedMillis,
// and where no year does, the time is bad.
func ParseRest(rest []byte, h *Header, receivedMillis int64, loc *time.Location) (body []byte, ok bool) {
	return new(Parser).ParseRest(rest, h, receivedMillis, loc)
}

// Parser is ParseRest with a memory, for the frames of one source: most of them say
// the same second as the one before. It is used by one goroutine at a time; the zero
// value is ready.
type Parser struct {
	// Stored says that what is parsed was received when it was stored, up to a year
	// before the time that ParseRest is given: the latest year that fits is taken.
	Stored bool

	last reading
}

// ParseRest is what the function of that name is.
func (p *Parser) ParseRest(rest []byte, h *Header, receivedMillis int64, loc *time.Location) (body []byte, ok bool) {
	if loc == nil {
		loc = time.UTC
	}
	if len(rest) > 0 && isDigit(rest[0]) {
		if body, ok = parse5424(rest, h); ok {
			return body, true
		}
		h.onlyPRI()
	}
	if body, ok = p.parse3164(rest, h, receivedMillis, loc); ok {
		return body, true
	}
	h.onlyPRI()
	return rest, false
}

func isDigit(c byte) bool { return c-'0' <= 9 }
func isAlpha(c byte) bool { return c|0x20-'a' <= 'z'-'a' }
func isGraph(c byte) bool { return c > ' ' && c < 0x7F }
