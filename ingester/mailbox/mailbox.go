package mailbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// DefaultMax is the longest message when Options.Max is 0.
const DefaultMax = 16 << 20

// headKept is how much of a message is kept that is too long.
const headKept = 1 << 10

// Message is one message.
type Message struct {
	Bytes  []byte // without the line that begins it in an mbox; valid until the next call
	Path   string // of its file
	Offset int64  // of the file: where the message begins, its From line included
	End    int64  // of the file: where the next one begins
	Size   int64  // of the message; more than len(Bytes) when it was too long
}

// TooLong says that Bytes is only the beginning.
func (m *Message) TooLong() bool { return m.Size > int64(len(m.Bytes)) }

// Reader yields the messages of a mailbox.
type Reader interface {
	// Next returns io.EOF behind the last message. After another error the next
	// message, of another file, may be had.
	Next() (Message, error)
	Close() error
}

// Open opens a mailbox: a Maildir if path is a directory, an mbox if its first line is
// that of one, and else one message. The longest message is max bytes; 0: DefaultMax.
func Open(path string, max int) (Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open mailbox %q: %w", path, bare(err))
	}
	if info.IsDir() {
		return openMaildir(path, max)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open mailbox %q: %w", path, bare(err))
	}
	return &file{Reader: New(f, path, max), f: f}, nil
}

// bare is err without the path, which the message has already.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// file is a Reader with a file to close.
type file struct {
	Reader
	f *os.File
}

func (f *file) Close() error { return f.f.Close() }

// New reads from r what Open would from a file: an mbox, or one message. path is its name
// in messages and errors. Close does not close r.
func New(r io.Reader, path string, max int) Reader {
	in := bufio.NewReaderSize(r, bufferSize)
	head, _ := in.Peek(len(from))
	if max <= 0 {
		max = DefaultMax
	}
	if string(head) == from {
		return &mbox{in: in, path: path, max: max}
	}
	return &single{in: in, path: path, max: max}
}

// single is a file with one message.
type single struct {
	in   *bufio.Reader
	path string
	max  int
	done bool
}

func (s *single) Close() error { return nil }

func (s *single) Next() (Message, error) {
	if s.done {
		return Message{}, io.EOF
	}
	s.done = true
	b, err := io.ReadAll(io.LimitReader(s.in, int64(s.max)+1))
	if err != nil {
		return Message{}, fmt.Errorf("cannot read %q: %w", s.path, bare(err))
	}
	m := Message{Bytes: b, Path: s.path, Size: int64(len(b))}
	if len(b) > s.max {
		more, err := io.Copy(io.Discard, s.in)
		if err != nil {
			return Message{}, fmt.Errorf("cannot read %q: %w", s.path, bare(err))
		}
		m.Bytes, m.Size = b[:min(headKept, s.max)], m.Size+more
	}
	if m.End = m.Size; m.Size == 0 {
		return Message{}, io.EOF
	}
	return m, nil
}

// maildir is a directory of messages, a file each.
type maildir struct {
	paths []string
	max   int
}

// openMaildir lists what has been delivered: new and cur; tmp is not yet there.
func openMaildir(path string, max int) (Reader, error) {
	m := &maildir{max: max}
	found := false
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(path, sub))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read Maildir %q: %w", path, bare(err))
		}
		found = true
		for _, e := range entries {
			if e.Type().IsRegular() && e.Name()[0] != '.' {
				m.paths = append(m.paths, filepath.Join(path, sub, e.Name()))
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("cannot read %q as a Maildir: it has neither new nor cur", path)
	}
	// Names begin with the time of delivery.
	slices.SortFunc(m.paths, func(a, b string) int {
		if x, y := filepath.Base(a), filepath.Base(b); x != y {
			if x < y {
				return -1
			}
			return 1
		}
		return 0
	})
	return m, nil
}

func (m *maildir) Close() error { return nil }

// Next passes over a file that a mail program has removed, or moved on (which changes its
// name), since the listing.
func (m *maildir) Next() (Message, error) {
	for len(m.paths) > 0 {
		path := m.paths[0]
		m.paths = m.paths[1:]
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			f, err = reopen(path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			return Message{}, fmt.Errorf("cannot read %q: %w", path, bare(err))
		}
		s := single{in: bufio.NewReaderSize(f, bufferSize), path: f.Name(), max: m.max}
		if s.max <= 0 {
			s.max = DefaultMax
		}
		msg, err := s.Next()
		f.Close()
		if err != io.EOF {
			return msg, err
		}
	}
	return Message{}, io.EOF
}

// reopen finds a message whose name has got other flags, behind its colon, or that has
// gone from new to cur.
func reopen(path string) (*os.File, error) {
	name, _, _ := cutFlags(filepath.Base(path))
	cur := filepath.Join(filepath.Dir(filepath.Dir(path)), "cur")
	entries, err := os.ReadDir(cur)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if unique, _, _ := cutFlags(e.Name()); unique == name {
			return os.Open(filepath.Join(cur, e.Name()))
		}
	}
	return nil, os.ErrNotExist
}
