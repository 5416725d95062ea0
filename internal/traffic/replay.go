package traffic

import (
	"bytes"
	"fmt"
	"strconv"
)

// source makes frames: the Generator, or a replay of frames that were captured.
type source interface {
	Next(dst []byte) ([]byte, Kind)
}

// replay gives frames again and again, of n connections every n-th.
type replay struct {
	frames  [][]byte
	at, by  int
	framing framing
}

// newReplay takes frames as they are: their times stay those of the capture. A
// framing that would cut one is refused.
func newReplay(frames [][]byte, framingName string, lane, lanes int) (*replay, error) {
	f, known := framings[framingName]
	if !known {
		return nil, fmt.Errorf("cannot send framing %q: the framings are auto, nul, lf, octet, none", framingName)
	}
	for i, frame := range frames {
		if len(frame) == 0 {
			return nil, fmt.Errorf("cannot send frame %d: it is empty", i+1)
		}
		delimiter, name := byte(0), "NUL"
		if f == framingLF {
			delimiter, name = '\n', "LF"
		}
		if f == framingOctet || f == framingNone {
			continue
		}
		if bytes.IndexByte(frame, delimiter) >= 0 {
			return nil, fmt.Errorf("cannot send frame %d with a %s behind it: it holds one itself; --framing octet carries any frame", i+1, name)
		}
		if first, last := frame[0], frame[len(frame)-1]; isDelimiter(first) || isDelimiter(last) {
			return nil, fmt.Errorf("cannot send frame %d with a %s behind it: it begins or ends with a line end or NUL, which would be taken for a trailer; --framing octet carries any frame", i+1, name)
		}
	}
	return &replay{frames: frames, at: lane % len(frames), by: lanes, framing: f}, nil
}

func isDelimiter(c byte) bool { return c == 0 || c == '\n' || c == '\r' }

// Next appends the next frame to dst. Of its kind nothing is known.
func (r *replay) Next(dst []byte) ([]byte, Kind) {
	frame := r.frames[r.at]
	r.at = (r.at + r.by) % len(r.frames)
	if r.framing == framingOctet {
		dst = append(strconv.AppendInt(dst, int64(len(frame)), 10), ' ')
	}
	dst = append(dst, frame...)
	switch r.framing {
	case framingNUL:
		dst = append(dst, 0)
	case framingLF:
		dst = append(dst, '\n')
	}
	return dst, 0
}
