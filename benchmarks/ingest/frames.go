package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"millrace/internal/traffic"
)

const (
	// meanFrame is the mean length of the frames, line end included: that of the
	// measurements which the goals were set by.
	meanFrame = 409
	// pieceSize is about what one write on a TCP connection hands over.
	pieceSize = 64 << 10
)

// Input is what is sent: the same frames in the same order to everybody.
type Input struct {
	block  []byte   // frame after frame, each with its LF
	frames [][]byte // views of block
	pieces []piece  // block cut for TCP
}

// piece is a run of whole frames.
type piece struct {
	bytes  []byte
	frames int
}

// longNames are what makes the traffic's host names longer than those of most mail:
// a third word and the endings that are set aside for examples.
var longNames = regexp.MustCompile(`(-[a-z]+)?(\.filter)?\.example(\.(org|net|com))?\b`)

// newInput renders n message frames in the 18-column template m1 with an RFC 3164
// header. The traffic's frames have over 500 bytes on average: host names are
// shortened, and a frame longer than meanFrame is passed over whenever the mean so far is.
func newInput(n int) (*Input, error) {
	g, err := traffic.New(traffic.Options{Seed: 1, Format: "m1", Framing: "lf", Header: "rfc3164"})
	if err != nil {
		return nil, err
	}
	in := &Input{block: make([]byte, 0, n*meanFrame+64<<10)}
	var ends []int
	for tries := 0; len(ends) < n; tries++ {
		if tries > 1000*n {
			return nil, fmt.Errorf("cannot draw %d frames of %d bytes on average", n, meanFrame)
		}
		frame, kind := g.Next(nil)
		frame = longNames.ReplaceAll(frame, []byte(".test"))
		if kind != traffic.Message || len(frame) > meanFrame && len(in.block)+len(frame) > meanFrame*(len(ends)+1) {
			continue
		}
		in.block = append(in.block, frame...)
		ends = append(ends, len(in.block))
	}
	start, pieceStart, pieceFrames := 0, 0, 0
	for i, end := range ends {
		in.frames = append(in.frames, in.block[start:end:end])
		start = end
		pieceFrames++
		if end-pieceStart >= pieceSize || i == n-1 {
			in.pieces = append(in.pieces, piece{in.block[pieceStart:end:end], pieceFrames})
			pieceStart, pieceFrames = end, 0
		}
	}
	return in, nil
}

// mean is the mean length of the frames.
func (in *Input) mean() float64 { return float64(len(in.block)) / float64(len(in.frames)) }

// zstd19 is the bytes for each frame of all of them compressed as one stream, and by what.
func (in *Input) zstd19() (float64, string, error) {
	const command = "zstd -19"
	cmd := exec.Command("zstd", "-19", "-q", "-c")
	cmd.Stdin = bytes.NewReader(in.block)
	out, err := cmd.Output()
	if err != nil {
		return 0, "", fmt.Errorf("cannot compress the frames by %s: %w (Debian's package zstd has it)", command, err)
	}
	return float64(len(out)) / float64(len(in.frames)), command, nil
}

// A marked frame carries a number at the end of its last column, by which the broker
// tells when it was sent.
const markOpen, markDigits = "[frame ", 10

// appendMarked appends a frame with its number.
func appendMarked(dst, frame []byte, number uint64) []byte {
	const tail = len("\"\n")
	dst = append(dst, frame[:len(frame)-tail]...)
	dst = append(dst, markOpen...)
	dst = fmt.Appendf(dst, "%0*d", markDigits, number)
	dst = append(dst, ']')
	return append(dst, frame[len(frame)-tail:]...)
}

// mark finds the number in a record, whatever a peer has made of the frame.
func mark(record []byte) (uint64, bool) {
	at := bytes.LastIndex(record, []byte(markOpen))
	if at < 0 || len(record) < at+len(markOpen)+markDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(string(record[at+len(markOpen):][:markDigits]), 10, 64)
	return n, err == nil
}
