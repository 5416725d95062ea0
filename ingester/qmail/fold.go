package qmail

import (
	"bytes"

	"millrace/schema"
)

// foldAt is from where on splogger may have cut a line: it writes 799 bytes of text, and
// the rest as `STAMP+rest`, with the stamp of the first part (notqmail, splogger.c).
const foldAt = 790

// maxFolded is how long a line may become of its parts.
const maxFolded = 64 << 10

// fold is a line of splogger's whose rest may come next.
type fold struct {
	bytes []byte // the line so far; empty: there is none
	stamp int    // bytes of it
	parts int
	first Line // without its bytes
}

// isFolded tells whether a line may have been cut.
func isFolded(line []byte) (stamp int, ok bool) {
	stamp = sploggerStamp(line)
	return stamp, stamp > 0 && len(line) >= stamp+1+foldAt
}

// add takes the line if it is the rest of the one that is held.
func (f *fold) add(line []byte) bool {
	if len(f.bytes) == 0 || len(line) <= f.stamp || line[f.stamp] != '+' || !bytes.Equal(line[:f.stamp], f.bytes[:f.stamp]) ||
		len(f.bytes)+len(line) > maxFolded {
		return false
	}
	f.bytes = append(f.bytes, line[f.stamp+1:]...)
	f.parts++
	return true
}

func (f *fold) hold(l Line, stamp int) {
	f.bytes, f.stamp, f.parts, f.first = append(f.bytes[:0], l.Bytes...), stamp, 1, l
	f.first.Bytes = nil
}

// release ends the line that is held, and decodes it.
func (d *Delivery) release(emit Emit) {
	f := &d.fold
	if len(f.bytes) == 0 {
		return
	}
	l := f.first
	l.Bytes = f.bytes
	f.parts = 0
	if !d.native(l, emit) { // it was one of qmail-send's when it began
		emitLine(&d.event, general{log: logDelivery, program: programSend, level: levelInfo, text: l.Bytes}, 0, schema.FlagIncomplete, d.direction, &l, emit)
	}
	f.bytes = f.bytes[:0]
}

// sploggerStamp is the length of a splogger stamp at the start of b, without what follows:
// seconds and microseconds; 0: there is none.
func sploggerStamp(b []byte) int {
	_, n := number(b)
	if n < 9 || n > 10 || n+8 > len(b) || b[n] != '.' {
		return 0
	}
	if _, digits := number(b[n+1 : n+7]); digits != 6 {
		return 0
	}
	return n + 7
}
