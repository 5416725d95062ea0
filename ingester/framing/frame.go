package framing

import (
	"bytes"
	"fmt"
	"math/bits"
	"strings"

	"millrace/schema"
)

// Mode says how frames end.
type Mode uint8

// The modes; the package comment describes them.
const (
	Auto Mode = iota
	NUL
	LF
	Octet
)

var modeNames = [...]string{Auto: "auto", NUL: "nul", LF: "lf", Octet: "octet"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ParseMode reads the value of the key listeners[].framing.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	return Auto, fmt.Errorf("cannot read framing %q: allowed are %s (listeners[].framing)", s, strings.Join(modeNames[:], ", "))
}

// End says what is known of the input behind the data.
type End uint8

// More: it goes on. Idle: nothing came for the idle time. EOF: nothing will come.
const (
	More End = iota
	Idle
	EOF
)

// Sizes.
const (
	DefaultMax = 64 << 10 // the longest frame on TCP unless configured
	RejectHead = 1 << 10  // what a reject keeps of bytes that were skipped
	slack      = 64       // room for an octet count, a trailer and a look at what follows
)

// BufferSize is the least buffer with which frames of max bytes always come through.
func BufferSize(max int) int { return max + slack }

// Frame is one frame, or what stands in its place.
type Frame struct {
	Bytes  []byte        // without count and trailer; of a reject its bytes, of a long one the first RejectHead
	Flags  schema.Flag   // FlagNoTrailer
	Reject schema.Reason // "" unless the bytes are no frame
	Drop   schema.Reason // DropEmpty when there is nothing in it: to be counted and nothing more
	Detail string        // of a reject: what was wrong
	Size   int           // the whole length; more than len(Bytes) in a long reject
	Close  bool          // the connection cannot go on: what follows cannot be told apart
	Ended  Ended         // how the end of a good frame was found

	// The delimiters that were stripped: behind the frame, and in a row before it, where
	// they are more of the trailer of the frame before. For people, not for decoding.
	Trailer, Lead Delimiters

	// Receipt names the frame to a sender that wants to know when it is safe; 0: none
	// does. A Framer sets none.
	Receipt uint32
}

// Ended says how the end of a frame was found.
type Ended uint8

// Whole: the transport knows it, as of a datagram. ByEOF, ByIdle: nothing more came.
const (
	Unended Ended = iota // of a reject
	ByNUL
	ByLF
	ByCount
	ByIdle
	ByEOF
	ByTransport
)

var endedNames = [...]string{"", "nul", "lf", "octet", "idle", "eof", "transport"}

func (e Ended) String() string {
	if int(e) < len(endedNames) {
		return endedNames[e]
	}
	return fmt.Sprintf("Ended(%d)", uint8(e))
}

// Delimiters are up to eight bytes, each NUL, LF or CR, in two bits each, the first
// lowest. More than eight are cut.
type Delimiters uint16

// code of a delimiter: 1 NUL, 2 CR, 3 LF.
func code(c byte) Delimiters { return Delimiters(c&3 + 1) }

// before puts c in front.
func (d Delimiters) before(c byte) Delimiters { return d<<2 | code(c) }

// behind puts c behind, unless there are eight.
func (d Delimiters) behind(c byte) Delimiters {
	return d | code(c)<<((bits.Len16(uint16(d))+1)&^1)
}

// Append adds the bytes to dst.
func (d Delimiters) Append(dst []byte) []byte {
	for ; d != 0; d >>= 2 {
		dst = append(dst, "\x00\x00\r\n"[d&3])
	}
	return dst
}

// String names the bytes: "CR LF".
func (d Delimiters) String() string {
	var names []string
	for ; d != 0; d >>= 2 {
		names = append(names, [...]string{"", "NUL", "CR", "LF"}[d&3])
	}
	return strings.Join(names, " ")
}

// Strip takes CR, LF and NUL off the end of a frame.
func Strip(b []byte) []byte {
	for len(b) > 0 && isTrailer(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// Whole makes a frame of bytes that are one message by their transport, such as a
// datagram: trailers are stripped and an empty one becomes a drop.
func Whole(b []byte) (f Frame) {
	f.set(b, ByTransport)
	return f
}

// set makes f the frame of b, delimiters behind it included.
func (f *Frame) set(b []byte, ended Ended) {
	n := len(b)
	for n > 0 && isTrailer(b[n-1]) {
		n--
		f.Trailer = f.Trailer.before(b[n])
	}
	b = b[:n]
	f.Bytes, f.Size, f.Ended = b, n, ended
	if n <= blankMax && blank(b) {
		f.Drop = schema.DropEmpty
	}
}

var bom = []byte("\xEF\xBB\xBF")

const blankMax = len("\xEF\xBB\xBF<191>\xEF\xBB\xBF")

// blank: nothing, or nothing but a PRI and a byte order mark. Such a frame holds no event.
func blank(b []byte) bool {
	b = bytes.TrimPrefix(b, bom)
	if len(b) > 2 && b[0] == '<' {
		i := 1
		for i < len(b) && i < 4 && isDigit(b[i]) {
			i++
		}
		if i > 1 && i < len(b) && b[i] == '>' {
			b = bytes.TrimPrefix(b[i+1:], bom)
		}
	}
	return len(b) == 0
}

func isTrailer(c byte) bool { return c == 0 || c == '\n' || c == '\r' }
func isDigit(c byte) bool   { return c-'0' <= 9 }

// head is what a reject keeps of b.
func head(b []byte) []byte { return b[:min(len(b), RejectHead)] }
