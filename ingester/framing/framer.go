package framing

import (
	"bytes"
	"fmt"

	"millrace/schema"
)

type opened uint8

const (
	undecided opened = iota
	counted          // count and prefix are set
	delimited
	skipping // skip is set
)

// Framer cuts one connection's input into frames.
type Framer struct {
	mode Mode
	max  int

	open       opened     // what the frame at the front of the data is
	count      int        // of a counted frame: length of its content
	prefix     int        // and of the count with its space
	started    bool       // a frame has ended: delimiters at the front are its trailer
	nulEnds    bool       // a frame has ended with NUL, so LF ends none
	wasCounted bool       // the last frame was octet-counted
	lead       Delimiters // in a row at the front, consumed already
	dead       bool       // a frame with Close was given out

	// How far the data at the front is known to hold no NUL and no LF that ends a
	// frame. Without this memory a stream of LF frames is searched for NUL from end
	// to end for every frame in the buffer.
	nulFree, lfFree int

	skip skipped
}

// skipped is a run of bytes that no frame holds: the first of them, and how many.
type skipped struct {
	reason schema.Reason
	detail string
	head   []byte
	size   int
}

// New makes the Framer of a new connection. A max of 0 means DefaultMax.
func New(mode Mode, max int) *Framer {
	f := &Framer{}
	f.Reset(mode, max)
	return f
}

// Reset makes f ready for another connection.
func (f *Framer) Reset(mode Mode, max int) {
	if max <= 0 {
		max = DefaultMax
	}
	*f = Framer{mode: mode, max: max}
}

// Next takes one frame off data, which must begin where the last call's advance
// pointed and hold all bytes read since. advance is how many bytes to consume, also
// when ok is false: that asks for more data, or after Idle and EOF says that nothing
// is left to give out. Call it until ok is false. Frame.Bytes is valid until the next
// call and as long as data is.
func (f *Framer) Next(data []byte, end End) (frame Frame, advance int, ok bool) {
	if f.dead {
		return frame, len(data), false
	}
	if f.open == undecided {
		// Delimiters in a row are the trailer of the frame before. Before the first frame they are an empty one.
		for advance < len(data) && isTrailer(data[advance]) {
			f.lead = f.lead.behind(data[advance])
			advance++
			if !f.started {
				f.lead = 0
				f.started = true
				f.consumed(advance)
				frame.Drop = schema.DropEmpty
				return frame, advance, true
			}
		}
		if advance == len(data) {
			f.consumed(advance)
			return frame, advance, false
		}
		if advance > 0 {
			f.consumed(advance)
		}
	}
	n, ok := f.take(data[advance:], end, &frame)
	f.consumed(n)
	if ok {
		f.started = true
		f.open = undecided
		frame.Lead, f.lead = f.lead, 0
		f.dead = frame.Close
	}
	return frame, advance + n, ok
}

// EndsOnIdle reports whether a call of Next with Idle can end what is open, n being
// the number of bytes read and not consumed. A counted frame waits for its bytes, and
// in a fixed mode for its delimiter.
func (f *Framer) EndsOnIdle(n int) bool {
	if f.mode != Auto || f.dead || f.open == counted {
		return false
	}
	if f.open == skipping {
		return true
	}
	// Behind a counted frame only the beginning of another count stays undecided.
	return n > 0 && !(f.open == undecided && f.wasCounted)
}

func (f *Framer) consumed(n int) {
	f.nulFree = max(0, f.nulFree-n)
	f.lfFree = max(0, f.lfFree-n)
}

// take cuts the frame at the front of b and writes it to out, which is empty. A Frame is
// too large to be handed up by value from call to call.
func (f *Framer) take(b []byte, end End, out *Frame) (advance int, ok bool) {
	if f.open == undecided {
		switch {
		case f.mode == NUL || f.mode == LF, f.mode == Auto && b[0] == '<':
			f.open = delimited
		default:
			if n, ok := f.decide(b, end, out); ok || f.open == undecided {
				return n, ok
			}
		}
	}
	switch f.open {
	case counted:
		return f.takeCounted(b, end, out)
	case skipping:
		return f.takeSkipped(b, end, out)
	}
	return f.takeDelimited(b, end, out)
}

// decide sets f.open from the first bytes of a frame. It leaves it undecided when they
// are too few, and gives out a reject with Close when they tell that all is lost.
func (f *Framer) decide(b []byte, end End, out *Frame) (int, bool) {
	value, digits, is := octetCount(b, f.max, f.mode == Octet)
	onlyCounts := f.mode == Octet || f.wasCounted
	switch {
	case is == maybe && end == EOF && onlyCounts:
		*out = Frame{Reject: schema.ReasonTruncatedEOF, Detail: "the connection ended inside an octet count", Bytes: head(b), Size: len(b)}
		return len(b), true
	case is == maybe && (end == More || onlyCounts || end == Idle && f.mode != Auto):
		return 0, false
	case is == yes && value > f.max:
		return f.giveUp(b, out, schema.ReasonFrameTooBig, fmt.Sprintf(
			"the octet count %s exceeds the limit of %d bytes (listeners[].max_frame)", b[:digits], f.max))
	case is == yes:
		f.open, f.count, f.prefix = counted, value, digits+1
	case f.mode == Octet:
		return f.giveUp(b, out, schema.ReasonBadFrame, "no octet count where a frame begins")
	case f.wasCounted && b[0] != '<' && b[0] != bom[0]:
		return f.giveUp(b, out, schema.ReasonBadFrame, "no frame begins where the octet count of the one before ends")
	case !plausible(b[0]):
		f.open = skipping
		f.skip = skipped{reason: schema.ReasonBadFrame, detail: "bytes that begin no frame"}
	default:
		f.open = delimited
	}
	return 0, false
}

func (f *Framer) giveUp(b []byte, out *Frame, reason schema.Reason, detail string) (int, bool) {
	*out = Frame{Reject: reason, Detail: detail, Bytes: head(b), Size: len(b), Close: true}
	return len(b), true
}

func (f *Framer) takeCounted(b []byte, end End, out *Frame) (int, bool) {
	whole := f.prefix + f.count
	if len(b) < whole {
		if end == EOF {
			*out = Frame{Reject: schema.ReasonTruncatedEOF, Detail: "the connection ended before the octet count was reached", Bytes: b, Size: len(b)}
			return len(b), true
		}
		return 0, false
	}
	f.wasCounted = true
	out.set(b[f.prefix:whole], ByCount)
	return whole, true
}

func (f *Framer) takeDelimited(b []byte, end End, out *Frame) (int, bool) {
	// The longest frame may be followed by CR LF or LF NUL.
	window := b[:min(len(b), f.max+3)]
	if i, found := f.findEnd(window, b, end); found {
		f.wasCounted = false
		ended := ByLF
		if b[i] == 0 {
			ended = ByNUL
		}
		if out.set(b[:i+1], ended); out.Size > f.max {
			f.oversize(b[:i], out)
		}
		return i + 1, true
	}
	// An LF in the window may still wait for what follows it.
	if waits := f.mode == Auto && !f.nulEnds && f.lfFree < len(window); len(b) >= f.max+3 && !waits {
		f.open = skipping
		f.skip = skipped{reason: schema.ReasonOversize, detail: f.oversizeDetail()}
		return f.takeSkipped(b, end, out)
	}
	if end == EOF || end == Idle && f.mode == Auto {
		f.wasCounted = false
		ended := ByIdle
		if end == EOF {
			ended = ByEOF
		}
		if out.set(b, ended); out.Size > f.max {
			f.oversize(b, out)
		} else if f.mode != Auto || bytes.IndexByte(b[out.Size:], '\n') < 0 {
			out.Flags |= schema.FlagNoTrailer
		}
		return len(b), true
	}
	return 0, false
}

func (f *Framer) oversize(content []byte, out *Frame) {
	*out = Frame{Reject: schema.ReasonOversize, Detail: f.oversizeDetail(), Bytes: head(content), Size: len(content)}
}

func (f *Framer) oversizeDetail() string {
	return fmt.Sprintf("no delimiter within %d bytes (listeners[].max_frame)", f.max)
}

// takeSkipped goes on skipping to the end of an oversize frame or of garbage.
func (f *Framer) takeSkipped(b []byte, end End, out *Frame) (int, bool) {
	var n, delimiter int
	var found bool
	if f.skip.reason == schema.ReasonOversize {
		n, found = f.findEnd(b, b, end)
		delimiter = 1
	} else {
		n, found = f.findStart(b, end)
	}
	if !found && (end == EOF || end == Idle && f.mode == Auto) {
		n, delimiter, found = len(b), 0, true
	}
	if room := RejectHead - len(f.skip.head); room > 0 {
		f.skip.head = append(f.skip.head, b[:min(n, room)]...)
	}
	f.skip.size += n
	if !found {
		return n, false
	}
	*out = Frame{Reject: f.skip.reason, Detail: f.skip.detail, Bytes: f.skip.head, Size: f.skip.size}
	f.skip = skipped{}
	f.wasCounted = false
	return n + delimiter, true
}

// findEnd looks for the delimiter that ends the open frame, in window, which is the
// front of b; what follows an LF is looked at in the whole of b. Without one it says
// how many bytes of the window cannot be or precede that delimiter.
func (f *Framer) findEnd(window, b []byte, end End) (int, bool) {
	if f.mode == NUL || f.mode == Auto && f.nulEnds {
		f.nulFree = indexFrom(window, f.nulFree, 0)
		return f.nulFree, f.nulFree < len(window)
	}
	if f.mode == LF {
		f.lfFree = indexFrom(window, f.lfFree, '\n')
		return f.lfFree, f.lfFree < len(window)
	}
	for {
		f.lfFree = indexFrom(window, f.lfFree, '\n')
		if f.nulFree < f.lfFree {
			f.nulFree = indexFrom(window[:f.lfFree], f.nulFree, 0)
			if f.nulFree < f.lfFree {
				f.nulEnds = true
				return f.nulFree, true
			}
		}
		if f.lfFree == len(window) {
			return f.lfFree, false
		}
		after := b[f.lfFree+1:]
		is := frameStart(after)
		if is == maybe && end != More {
			// Nothing follows, or a PRI that has just begun: the frame ends. Digits may as well be text.
			if is = no; len(after) == 0 || after[0] == '<' {
				is = yes
			}
		}
		switch is {
		case yes:
			return f.lfFree, true
		case maybe:
			return f.lfFree, false
		}
		f.lfFree++
	}
}

// indexFrom is the place of c in b at or after from, or len(b).
func indexFrom(b []byte, from int, c byte) int {
	if from >= len(b) {
		return len(b)
	}
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return len(b)
}
