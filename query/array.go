package query

import (
	"bytes"
	"io"
)

// ArrayWriter makes a JSON array of lines with an object each, as the format [JSON] writes
// them. Without Close the array has no end: what was cut off does not read as whole.
func ArrayWriter(w io.Writer) io.WriteCloser { return &arrayWriter{w: w} }

type arrayWriter struct {
	w     io.Writer
	begun bool // the first object has begun
	ended bool // the last byte ended a line: a comma is due before the next
	buf   []byte
}

func (a *arrayWriter) Write(p []byte) (int, error) {
	b := a.buf[:0]
	for rest := p; len(rest) > 0; {
		if !a.begun {
			b = append(b, "[\n"...)
			a.begun = true
		} else if a.ended {
			b = append(b, ",\n"...)
		}
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		b = append(b, line...)
		a.ended, rest = whole, after
	}
	a.buf = b
	if _, err := a.w.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the array, and leaves the writer below open.
func (a *arrayWriter) Close() error {
	end := "\n]\n"
	if !a.begun {
		end = "[]\n"
	}
	_, err := io.WriteString(a.w, end)
	return err
}
