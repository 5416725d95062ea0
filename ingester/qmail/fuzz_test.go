package qmail

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/schema"
)

// FuzzSet decodes any text as a source's lines: nothing panics; each line is in one
// event's raw, or tells of later ones, or is rejected; no two events begin at one place;
// memory stays within its bounds; what is emitted is a record that can be read.
func FuzzSet(f *testing.F) {
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) == 0 {
		f.Fatalf("no logs: %v", err)
	}
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, byte(7), byte(i))
		f.Add(text, byte(1<<(i%3)), byte(0))
	}
	zone, err := time.LoadLocation("Europe/Sofia")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, which, silence byte) {
		var logs []string
		for i, name := range Logs() {
			if which&(1<<i) != 0 {
				logs = append(logs, name)
			}
		}
		d, err := NewSet(logs, Options{Zone: zone, Port: 25})
		if err != nil {
			t.Fatal(err)
		}
		var (
			lines, emitted, rejected int
			raw                      = map[string]int{}
			places                   = map[uint64]bool{}
			back                     schema.Event
			record                   []byte
		)
		emit := func(e *schema.Event) {
			emitted++
			at := e.Uint(schema.SourceOffset)
			if places[at] || at >= uint64(len(text)) && at > 0 {
				t.Fatalf("a second event at %d, or one beyond the text", at)
			}
			places[at] = true
			for line := range bytes.Lines(e.Text(schema.Raw)) {
				raw[string(bytes.TrimSuffix(line, []byte("\n")))]++
			}
			record = schema.AppendRecord(record[:0], e)
			if err := (schema.Reader{}).Read(e.Kind, record, &back); err != nil {
				t.Fatalf("%s: the record cannot be read: %v", e.Kind.Name, err)
			}
		}
		now, offset := int64(1_900_000_000_000), int64(0)
		for line := range bytes.Lines(text) {
			at := offset
			offset += int64(len(line))
			if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
				continue
			}
			lines++
			now += int64(silence) * 1000
			before, _ := d.Held()
			was := emitted
			kept := bytes.Clone(line)
			reason, detail := d.Line(Line{Bytes: line, Offset: at, Received: now}, emit)
			if !bytes.Equal(kept, line) {
				t.Fatal("the line was written to")
			}
			clear(line) // it was borrowed
			after, size := d.Held()
			if reason != "" {
				rejected++
				if detail == "" || after != before && emitted == was {
					t.Fatalf("rejected as %q (%s), held %d before and %d after", reason, detail, before, after)
				}
			}
			if size > maxGroupBytes+maxAttempts*(64<<10)+2*len(text) || after > lines {
				t.Fatalf("%d lines, %d bytes are held", after, size)
			}
			if o, open := d.Open(); open && (o < 0 || o > at) || open != (after > 0) {
				t.Fatalf("open %v at %d, %d lines held", open, o, after)
			}
			d.Expire(now, emit)
			copy(line, kept)
		}
		d.End(emit)
		if held, size := d.Held(); held != 0 || size != 0 {
			t.Fatalf("%d lines of %d bytes are left", held, size)
		}
		if emitted+rejected > lines {
			t.Fatalf("%d events and %d rejects of %d lines", emitted, rejected, lines)
		}
		for line, n := range raw {
			// One that splogger cut stands in raw in one piece.
			if have := bytes.Count(text, []byte(line)); have < n && len(line) < foldAt {
				t.Fatalf("%q is in %d events, and %d times in the text", line, n, have)
			}
		}
	})
}
