package relp

import (
	"errors"
	"fmt"
)

// Limits of the grammar.
const (
	MaxTXNR    = 999_999_999
	maxDigits  = 9
	maxCommand = 32
	// HeaderMax is the longest that a frame can be without its data.
	HeaderMax = maxDigits + 1 + maxCommand + 1 + maxDigits + 1 + 1
	// HeadBytes is what is kept of the data of a frame that is too long.
	HeadBytes = 1 << 10
)

// Frame is one frame.
type Frame struct {
	TXNR    uint32
	Command []byte
	Data    []byte // of a frame that is too long at most HeadBytes
	Size    int    // how many bytes of data it had
	TooLong bool   // more than the Parser takes
}

// Parser cuts the input of one session into frames.
type Parser struct {
	max  int
	last uint32 // number of the last frame

	// A frame that is too long and has begun.
	long    Frame
	skip    int    // bytes of its data that are still to come
	head    []byte // its beginning
	command [maxCommand]byte
}

// NewParser makes the Parser of a new session. Data of more than max bytes are skipped.
func NewParser(max int) *Parser { return &Parser{max: max} }

// Next takes one frame off data, which must begin where the last call's advance
// pointed and hold all bytes read since. advance is how many bytes to consume, also when
// ok is false, which asks for more. After an error the session cannot go on.
func (p *Parser) Next(data []byte) (f Frame, advance int, ok bool, err error) {
	if p.long.TXNR != 0 {
		return p.skipped(data)
	}
	f, at, err := header(data)
	if err != nil || at == 0 {
		return Frame{}, 0, false, err
	}
	if p.last != 0 && f.TXNR != After(p.last) {
		return Frame{}, 0, false, fmt.Errorf("transaction %d follows %d", f.TXNR, p.last)
	}
	if f.Size > p.max {
		p.last = f.TXNR
		p.long, p.skip, p.head = f, f.Size, p.head[:0]
		p.long.TooLong = true
		p.long.Command = p.command[:copy(p.command[:], f.Command)]
		f, n, ok, err := p.skipped(data[at:])
		return f, at + n, ok, err
	}
	end := at + f.Size
	if len(data) <= end {
		return Frame{}, 0, false, nil
	}
	if data[end] != '\n' {
		return Frame{}, 0, false, fmt.Errorf("no line feed behind the %d bytes of transaction %d", f.Size, f.TXNR)
	}
	f.Data = data[at:end]
	p.last = f.TXNR
	return f, end + 1, true, nil
}

// skipped goes on with the frame that is too long, to its line feed.
func (p *Parser) skipped(data []byte) (f Frame, advance int, ok bool, err error) {
	n := min(len(data), p.skip)
	if room := HeadBytes - len(p.head); room > 0 {
		p.head = append(p.head, data[:min(n, room)]...)
	}
	p.skip -= n
	if n == len(data) {
		return Frame{}, n, false, nil
	}
	if data[n] != '\n' {
		return Frame{}, n, false, fmt.Errorf("no line feed behind the %d bytes of transaction %d", p.long.Size, p.long.TXNR)
	}
	f, p.long = p.long, Frame{}
	f.Data = p.head
	return f, n + 1, true, nil
}

// After is the number of the frame that follows.
func After(txnr uint32) uint32 {
	if txnr >= MaxTXNR {
		return 1
	}
	return txnr + 1
}

// header reads the header at the front of b. next is where the data begins, or the line
// feed of a frame without; 0 asks for more bytes.
func header(b []byte) (f Frame, next int, err error) {
	txnr, at, err := number(b, 0)
	if err != nil || at == 0 {
		return f, 0, wrong(err, "transaction number")
	}
	if b[at] != ' ' || txnr == 0 {
		return f, 0, wrong(errNumber, "transaction number")
	}
	at++
	begin := at
	for at < len(b) && isAlpha(b[at]) && at-begin <= maxCommand {
		at++
	}
	switch {
	case at-begin > maxCommand:
		return f, 0, wrong(errCommand, "command")
	case at == len(b):
		return f, 0, nil
	case b[at] != ' ' || at == begin:
		return f, 0, wrong(errCommand, "command")
	}
	f.TXNR, f.Command = uint32(txnr), b[begin:at]
	size, end, err := number(b, at+1)
	if err != nil || end == 0 {
		return f, 0, wrong(err, "data length")
	}
	f.Size = size
	switch {
	case b[end] == ' ' && size > 0:
		return f, end + 1, nil
	case b[end] == '\n' && size == 0:
		return f, end, nil
	}
	return f, 0, wrong(errNumber, "data length")
}

var (
	errNumber  = errors.New("no number where one of 1 to 9 digits belongs")
	errCommand = errors.New("no word of 1 to 32 letters")
)

func wrong(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot read the %s: %w", what, err)
}

// number reads digits of b from at on. end is where they end, 0 when more may come.
func number(b []byte, at int) (n, end int, err error) {
	i := at
	for ; i < len(b) && isDigit(b[i]); i++ {
		if i-at == maxDigits {
			return 0, 0, errNumber
		}
		n = 10*n + int(b[i]-'0')
	}
	switch {
	case i == len(b):
		return 0, 0, nil
	case i == at:
		return 0, 0, errNumber
	}
	return n, i, nil
}

func isDigit(c byte) bool { return c-'0' <= 9 }
func isAlpha(c byte) bool { return (c|0x20)-'a' < 26 }
