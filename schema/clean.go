package schema

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// IsClean tells whether v is valid UTF-8 without NUL: what Event.Clean promises.
func IsClean(v []byte) bool {
	v = v[asciiPrefix(v):] // most text ends here
	return len(v) == 0 || utf8.Valid(v) && bytes.IndexByte(v, 0) < 0
}

// asciiPrefix is a length up to which v is ASCII without NUL: in steps of eight, so
// that more may follow.
func asciiPrefix(v []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; n+8 <= len(v); n += 8 {
		// The highest bit is set in what is not ASCII, and in NUL when one is taken off.
		if x := binary.LittleEndian.Uint64(v[n:]); (x|(x-ones))&highs != 0 {
			break
		}
	}
	return n
}
