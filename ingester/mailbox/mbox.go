package mailbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// bufferSize is what is read at a time, and the part of a line that is looked at.
const bufferSize = 64 << 10

const from = "From "

// mbox is a file of many messages.
type mbox struct {
	in   *bufio.Reader
	path string
	max  int

	at    int64 // of the file: how much was read
	began int64 // where it began
	done  bool
	buf   []byte
}

func (m *mbox) Close() error { return nil }

// Next implements Reader.
func (m *mbox) Next() (Message, error) {
	if m.done {
		return Message{}, io.EOF
	}
	out := Message{Path: m.path, Offset: m.began}
	m.buf = m.buf[:0]
	blank := m.at == 0 // the line before was
	start := m.at == 0
	var last int64 // bytes of the last line, if that is blank
	lineStart := true
	for {
		at := m.at
		line, err := m.in.ReadSlice('\n')
		m.at += int64(len(line))
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			m.done = true
			return Message{}, fmt.Errorf("cannot read %q at byte %d: %w", m.path, at, bare(err))
		}
		if lineStart && isFrom(line, blank) {
			if !start {
				m.began = at
				out.End = at
				break
			}
			start = false // the file's first line
			lineStart = err != bufio.ErrBufferFull
			for !lineStart { // and the rest of it
				line, err = m.in.ReadSlice('\n')
				m.at += int64(len(line))
				lineStart = err != bufio.ErrBufferFull
			}
			blank = false
			if err == io.EOF {
				m.done = true
				out.End = m.at
				break
			}
			continue
		}
		start = false
		if lineStart {
			line = unquote(line)
			last = 0
			if blank = len(bytes.Trim(line, "\r\n")) == 0; blank {
				last = int64(len(line))
			}
		} else {
			blank, last = false, 0
		}
		out.Size += int64(len(line))
		if room := m.max - len(m.buf); room > 0 {
			m.buf = append(m.buf, line[:min(room, len(line))]...)
		}
		lineStart = err != bufio.ErrBufferFull
		if err == io.EOF {
			m.done = true
			out.End = m.at
			last = 0
			break
		}
	}
	out.Size -= last // the blank line that parts two messages
	out.Bytes = m.buf[:min(int64(len(m.buf)), out.Size)]
	if out.Size > int64(m.max) {
		out.Bytes = out.Bytes[:min(headKept, len(out.Bytes))]
	}
	if cap(m.buf) > 1<<20 && len(m.buf) < 64<<10 {
		m.buf = nil // one giant among small ones
	}
	return out, nil
}

// isFrom knows the line that begins a message.
func isFrom(line []byte, afterBlank bool) bool {
	if !bytes.HasPrefix(line, []byte(from)) {
		return false
	}
	return afterBlank && hasTime(line) || hasDate(line)
}

// hasTime finds hh:mm.
func hasTime(line []byte) bool {
	for i := 2; i+2 < len(line); i++ {
		if line[i] == ':' && isDigit(line[i-1]) && isDigit(line[i-2]) && isDigit(line[i+1]) && isDigit(line[i+2]) {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// hasDate finds what asctime writes, a zone perhaps before the year or behind it: Thu Mar
// 30 01:00:05 2023.
func hasDate(line []byte) bool {
	if len(line) > 1000 {
		return false
	}
	f := strings.Fields(string(line))
	for i := 2; i+3 < len(f); i++ {
		if strings.Contains(" Sun Mon Tue Wed Thu Fri Sat ", " "+f[i]+" ") &&
			strings.Contains(" Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec ", " "+f[i+1]+" ") &&
			isDigit(f[i+2][0]) && hasTime([]byte(f[i+3]+" ")) {
			return true
		}
	}
	return false
}

// unquote takes one > off a line that a writer has quoted.
func unquote(line []byte) []byte {
	rest := bytes.TrimLeft(line, ">")
	if len(rest) < len(line) && bytes.HasPrefix(rest, []byte(from)) {
		return line[1:]
	}
	return line
}

// cutFlags parts a Maildir name from its flags.
func cutFlags(name string) (unique, flags string, has bool) { return strings.Cut(name, ":") }
