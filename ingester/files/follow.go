package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// Line is a line of a source.
type Line struct {
	Bytes  []byte // without its end; of one that is too long, the beginning
	Size   int    // of all of it
	Offset int64  // of its first byte
	Open   bool   // its end is missing, and will not come
}

// TooLong tells whether the line is longer than Options.MaxLine.
func (l *Line) TooLong() bool { return l.Size > len(l.Bytes) }

// Taker takes the lines of one source. It is used by one goroutine at a time.
type Taker interface {
	// Line takes a line, whose bytes it borrows. It blocks while it cannot. An error ends
	// the reading in front of the line.
	Line(l Line) error
	// Read is called when all lines of a read were given. The next begins at next.
	Read(next int64)
	// Silent is called now and then while no line comes, since when none has come.
	Silent(next int64, silence time.Duration) error
	// End is called last. final: no more lines will come of this source, as far as
	// anybody can know.
	End(next int64, final bool) error
}

const (
	readBytes = 256 << 10
	// tooLongKept is how much of a line that is too long is given.
	tooLongKept = 1 << 10
	// poll is how long a change can go unnoticed where the kernel does not tell of it.
	poll = time.Second
	// goneFor is for how long a file may still grow that no path finds any more: its
	// writer has it open until it is told of the rotation.
	goneFor = 10 * time.Second
	// settled is for how long a file does not change before it is closed. It is opened
	// again when it does.
	settled = time.Hour
)

// errAnew says that a file is not any more what it was: it was cut short and written anew.
var errAnew = errors.New("the file was written anew")

// follower reads one source.
type follower struct {
	o      *Options
	source Source
	id     fileID
	head   []byte // what the fingerprint is of
	at     string // where it is now; the watcher's
	gone   atomic.Bool
	once   bool            // to its end, and no further
	told   func(raw int64) // of a read, how far into the file; may be nil
	wake   chan struct{}

	text  *text
	taker Taker
	buf   []byte
	have  int   // bytes in buf, from the start of a line on
	next  int64 // offset of that line
	long  int   // bytes of a line that is too long, without those in buf; its beginning is buf
	last  time.Time
	was   os.FileInfo // when it was read to its end
}

// run reads until ctx ends, the source does, or it has not changed for long.
func (f *follower) run(ctx context.Context, path string) error {
	var err error
	if f.text, err = openText(path); err != nil {
		return err
	}
	defer f.text.Close()
	if !f.text.packed && !f.same() {
		return errAnew // since it was looked at
	}
	taker, start, err := f.o.Open(f.source)
	if err != nil {
		return err
	}
	f.taker, f.last = taker, time.Now()
	f.buf = make([]byte, f.o.MaxLine+readBytes)
	final := false
	if err = f.begin(start); err == nil {
		final, err = f.follow(ctx)
	}
	return errors.Join(err, taker.End(f.next, final))
}

// begin goes to a line: the one at start, or the next one.
func (f *follower) begin(start int64) error {
	f.next = max(start-1, 0)
	if err := f.text.seek(f.next); err != nil {
		return fmt.Errorf("cannot go on at byte %d of %q: %w", start, f.source.Path, err)
	}
	if start == 0 {
		return nil
	}
	one := f.buf[:1]
	for {
		n, err := f.text.Read(one)
		f.next += int64(n)
		switch {
		case n == 1 && one[0] == '\n':
			return nil
		case err != nil:
			return fmt.Errorf("cannot go on at byte %d of %q: %w", start, f.source.Path, err)
		}
	}
}

// follow reads to the end, and on when there is more. final says that this was all.
func (f *follower) follow(ctx context.Context) (final bool, err error) {
	for {
		n, err := f.read()
		switch {
		case errors.Is(err, errAnew):
			return true, nil // a line that has begun is whole in the copy, if there is one
		case err != nil:
			return false, err
		case ctx.Err() != nil:
			return false, nil
		case n > 0:
			f.last = time.Now()
			continue
		}
		if f.text.packed || f.once {
			return true, f.rest()
		}
		silence := time.Since(f.last)
		info, err := f.text.f.Stat()
		switch {
		case err != nil:
			return false, err
		case info.Size() < f.text.at:
			return true, nil
		case f.gone.Load() && silence > goneFor:
			return true, f.rest()
		case !f.gone.Load() && silence > settled:
			f.was = info
			return false, nil
		}
		if err := f.taker.Silent(f.next, silence); err != nil {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-f.wake:
		case <-time.After(poll):
		}
	}
}

// read reads once, and gives the lines that are whole.
func (f *follower) read() (n int, err error) {
	n, err = f.text.Read(f.buf[f.have:])
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("cannot read %q: %w", f.source.Path, err)
	}
	if n == 0 {
		return 0, nil
	}
	if !f.text.packed && !f.same() {
		return n, errAnew // what was read is not of this source
	}
	b := f.buf[:f.have+n]
	from := f.have // before that there is no line end
	for {
		at := bytes.IndexByte(b[from:], '\n')
		if at < 0 {
			break
		}
		line := b[:from+at]
		if err := f.give(line, false); err != nil {
			return n, err
		}
		f.next += int64(len(line)+f.long) + 1
		f.long = 0
		b, from = b[len(line)+1:], 0
	}
	if len(b) > f.o.MaxLine+tooLongKept {
		f.long += len(b) - tooLongKept
		b = b[:tooLongKept]
	}
	f.have = copy(f.buf, b)
	f.taker.Read(f.next)
	if f.told != nil {
		f.told(f.text.raw.Load())
	}
	return n, nil
}

// give gives a line. One that is too long has only its beginning in b, and more in long.
func (f *follower) give(b []byte, open bool) error {
	l := Line{Bytes: b, Size: len(b) + f.long, Offset: f.next, Open: open}
	if l.Size > f.o.MaxLine {
		l.Bytes = b[:min(tooLongKept, f.o.MaxLine)]
	}
	return f.taker.Line(l)
}

// rest gives what stands at the end without a line end.
func (f *follower) rest() error {
	if f.have == 0 {
		return nil
	}
	if err := f.give(f.buf[:f.have], true); err != nil {
		return err
	}
	f.next += int64(f.have + f.long)
	f.have, f.long = 0, 0
	f.taker.Read(f.next)
	return nil
}

// same tells whether the file still begins as it did.
func (f *follower) same() bool {
	b := make([]byte, len(f.head))
	_, err := f.text.f.ReadAt(b, 0)
	return (err == nil || errors.Is(err, io.EOF)) && bytes.Equal(b, f.head)
}

// Read gives the lines of a file as it is now, once. It returns when the taker has ended:
// with final, unless ctx has ended before. told hears how far into the file it is, in
// bytes.
func Read(ctx context.Context, path string, o Options, told func(raw int64)) error {
	source, head, err := Identify(path)
	if err != nil {
		return err
	}
	f := &follower{o: &o, head: head, source: source, once: true, told: told}
	return f.run(ctx, path)
}

// Identify says which source a file is, and with which bytes it begins.
func Identify(path string) (Source, []byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Source{}, nil, err
	}
	b, err := head(path)
	if err != nil {
		return Source{}, nil, err
	}
	return Source{Fingerprint: fingerprint(b), Length: len(b), Path: path, Modified: info.ModTime()}, b, nil
}
