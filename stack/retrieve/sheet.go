package retrieve

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"millrace/ingester/quarantine"
)

// Sheet writes the list: a line of headings, then numbered rows, as comma-separated values
// (RFC 4180) in UTF-8.
type Sheet struct {
	w     *csv.Writer
	guard bool
	rows  int
	row   []string
}

// NewSheet writes the headings. crlf ends lines as RFC 4180 does; guard keeps spreadsheets from
// taking a value of a spammer for a formula: see Guard.
func NewSheet(w io.Writer, crlf, guard bool) (*Sheet, error) {
	s := &Sheet{w: csv.NewWriter(w), guard: guard, row: make([]string, len(quarantine.Headings))}
	s.w.UseCRLF = crlf
	return s, s.write(quarantine.Headings)
}

// Add writes a message's row, and does not keep it back.
func (s *Sheet) Add(m *quarantine.Message) error {
	s.rows++
	s.row[0] = strconv.Itoa(s.rows)
	for i, v := range m.Columns {
		if s.guard {
			v = Guard(v)
		}
		s.row[i+1] = v
	}
	return s.write(s.row)
}

func (s *Sheet) write(row []string) error {
	if err := s.w.Write(row); err != nil {
		return fmt.Errorf("cannot write the list: %w", err)
	}
	s.w.Flush()
	if err := s.w.Error(); err != nil {
		return fmt.Errorf("cannot write the list: %w", err)
	}
	return nil
}

// Guard puts an apostrophe before a value that a spreadsheet would take for a formula, which may
// fetch an address with what stands in other cells.
func Guard(v string) string {
	if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
		return "'" + v
	}
	return v
}

// File is a sheet that is written beside its place and put there when it is whole, so that one
// that is there is complete.
type File struct {
	*Sheet
	path string
	temp *os.File
}

// CreateFile begins a file, which its owner alone can read: it is other people's mail.
func CreateFile(path string, guard bool) (*File, error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", path, err)
	}
	f := &File{path: path, temp: temp}
	if f.Sheet, err = NewSheet(temp, true, guard); err != nil {
		f.Discard()
		return nil, err
	}
	return f, nil
}

// Rows is how many it has.
func (f *File) Rows() int { return f.rows }

// Keep puts the file in its place.
func (f *File) Keep() error {
	err := f.temp.Close()
	if err == nil {
		err = os.Rename(f.temp.Name(), f.path)
	}
	if err != nil {
		os.Remove(f.temp.Name())
		return fmt.Errorf("cannot write %s: %w", f.path, err)
	}
	return nil
}

// Discard forgets it; after Keep it does nothing.
func (f *File) Discard() {
	f.temp.Close()
	os.Remove(f.temp.Name())
}
