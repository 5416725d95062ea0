package frames

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"millrace/internal/traffic"
)

const (
	// Mean is the mean length of the frames, line end included: that of the
	// measurements which the goals were set by.
	Mean = 409
	// pieceSize is about what one write on a TCP connection hands over.
	pieceSize = 64 << 10
)

// Input is what is sent: the same frames in the same order to everybody.
type Input struct {
	Block  []byte   // frame after frame, each with its LF
	Frames [][]byte // views of Block
	Pieces []Piece  // Block cut for TCP
}

// Piece is a run of whole frames.
type Piece struct {
	Bytes  []byte
	Frames int
}

// longNames are what makes the traffic's host names longer than those of most mail:
// a third word and the endings that are set aside for examples.
var longNames = regexp.MustCompile(`(-[a-z]+)?(\.filter)?\.example(\.(org|net|com))?\b`)

// New renders n message frames in the 18-column template m1 with an RFC 3164
// header. The traffic's frames have over 500 bytes on average: host names are
// shortened, and a frame longer than Mean is passed over whenever the mean so far is.
func New(n int) (*Input, error) {
	// A header's time says no year: long ago it would be flagged as bad, and a flagged
	// event keeps its frame beside its values.
	today := time.Now().UTC().Truncate(24 * time.Hour)
	g, err := traffic.New(traffic.Options{Seed: 1, Format: "m1", Framing: "lf", Header: "rfc3164", Start: today})
	if err != nil {
		return nil, err
	}
	in := &Input{Block: make([]byte, 0, n*Mean+64<<10)}
	var ends []int
	for tries := 0; len(ends) < n; tries++ {
		if tries > 1000*n {
			return nil, fmt.Errorf("cannot draw %d frames of %d bytes on average", n, Mean)
		}
		frame, kind := g.Next(nil)
		frame = longNames.ReplaceAll(frame, []byte(".test"))
		if kind != traffic.Message || len(frame) > Mean && len(in.Block)+len(frame) > Mean*(len(ends)+1) {
			continue
		}
		in.Block = append(in.Block, frame...)
		ends = append(ends, len(in.Block))
	}
	start, pieceStart, pieceFrames := 0, 0, 0
	for i, end := range ends {
		in.Frames = append(in.Frames, in.Block[start:end:end])
		start = end
		pieceFrames++
		if end-pieceStart >= pieceSize || i == n-1 {
			in.Pieces = append(in.Pieces, Piece{in.Block[pieceStart:end:end], pieceFrames})
			pieceStart, pieceFrames = end, 0
		}
	}
	return in, nil
}

// MeanBytes is the mean length of the frames.
func (in *Input) MeanBytes() float64 { return float64(len(in.Block)) / float64(len(in.Frames)) }

// Zstd19 is the bytes for each frame of all of them compressed as one stream, and by what.
func (in *Input) Zstd19() (float64, string, error) {
	const command = "zstd -19"
	cmd := exec.Command("zstd", "-19", "-q", "-c")
	cmd.Stdin = bytes.NewReader(in.Block)
	out, err := cmd.Output()
	if err != nil {
		return 0, "", fmt.Errorf("cannot compress the frames by %s: %w (Debian's package zstd has it)", command, err)
	}
	return float64(len(out)) / float64(len(in.Frames)), command, nil
}

// A marked frame carries a number at the end of its last column, by which the broker
// tells when it was sent.
const markOpen, markDigits = "[frame ", 10

// AppendMarked appends a frame with its number.
func AppendMarked(dst, frame []byte, number uint64) []byte {
	const tail = len("\"\n")
	dst = append(dst, frame[:len(frame)-tail]...)
	dst = append(dst, markOpen...)
	dst = fmt.Appendf(dst, "%0*d", markDigits, number)
	dst = append(dst, ']')
	return append(dst, frame[len(frame)-tail:]...)
}

// Mark finds the number in a record, whatever was made of the frame.
func Mark(record []byte) (uint64, bool) {
	at := bytes.LastIndex(record, []byte(markOpen))
	if at < 0 || len(record) < at+len(markOpen)+markDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(string(record[at+len(markOpen):][:markDigits]), 10, 64)
	return n, err == nil
}
