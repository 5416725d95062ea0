package framing

import (
	"bytes"
	"math"
)

// Detect tells how the frames of a file end: Octet when octet counts lead from its
// first byte to its end, as in what `millrace capture` writes, or to a last frame that
// was cut; NUL when the file holds one, else LF.
func Detect(data []byte) Mode {
	frames := 0
	for rest := data; ; frames++ {
		count, digits, is := octetCount(rest, math.MaxInt32, true)
		if len(rest) == 0 && frames > 0 || is == yes && frames > 0 && count > len(rest)-digits-1 {
			return Octet
		}
		if is != yes || count > len(rest)-digits-1 {
			break
		}
		rest = rest[digits+1+count:]
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return NUL
	}
	return LF
}
