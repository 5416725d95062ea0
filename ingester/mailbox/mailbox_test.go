package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const line = "From a@example.org Thu Mar 30 01:00:05 2023\n"

// read returns the messages of an mbox and checks that they follow one another.
func read(t testing.TB, r io.Reader, max int) (texts []string) {
	t.Helper()
	in := New(r, "box", max)
	at := int64(0)
	for {
		m, err := in.Next()
		if err == io.EOF {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Offset != at || m.End < m.Offset || m.Size < int64(len(m.Bytes)) || len(m.Bytes) > max && max > 0 {
			t.Errorf("a message from %d to %d of %d bytes, %d of them here; the one before ended at %d", m.Offset, m.End, m.Size, len(m.Bytes), at)
		}
		at = m.End
		text := string(m.Bytes)
		if m.TooLong() {
			text = fmt.Sprintf("%d of %d: %s", len(m.Bytes), m.Size, text)
		}
		texts = append(texts, text)
	}
}

func TestMbox(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		box  string
		want []string
	}{
		"two":                        {line + "Subject: 1\n\none\n\n" + line + "Subject: 2\n\ntwo\n\n", []string{"Subject: 1\n\none\n", "Subject: 2\n\ntwo\n\n"}},
		"CRLF":                       {"From a Thu Mar 30 01:00:05 2023\r\nS: 1\r\n\r\none\r\n\r\nFrom b Thu Mar 30 01:00:05 2023\r\nS: 2\r\n", []string{"S: 1\r\n\r\none\r\n", "S: 2\r\n"}},
		"without an end":             {line + "S: 1\n\none\n\n" + line + "S: 2\n\ntw", []string{"S: 1\n\none\n", "S: 2\n\ntw"}},
		"without the blank line":     {line + "S: 1\n\none\n" + line + "S: 2\n\ntwo", []string{"S: 1\n\none\n", "S: 2\n\ntwo"}},
		"quoted":                     {line + "S: 1\n\n>From here\n>>From there\n> From\n\n>From a Thu Mar 30 01:00:05 2023\n", []string{"S: 1\n\nFrom here\n>From there\n> From\n\nFrom a Thu Mar 30 01:00:05 2023\n"}},
		"From in a text":             {line + "S: 1\n\n\nFrom now on\nFrom 10:30 on\n", []string{"S: 1\n\n\nFrom now on\nFrom 10:30 on\n"}},
		"other From lines":           {"From MAILER-DAEMON Mon Jan  1 00:00:00 2024\nS: 1\n\n\nFrom a@example.org 2023-03-30T01:00:05Z\nS: 2\n\n\nFrom a@example.org Thu Mar 30 01:00:05 +0000 2023\nS: 3\n", []string{"S: 1\n\n", "S: 2\n\n", "S: 3\n"}},
		"empty messages":             {line + "\n" + line + "\n" + line, []string{"", "", ""}},
		"a lone From line":           {strings.TrimSuffix(line, "\n"), []string{""}},
		"one message":                {"Subject: 1\n\nFrom here\n", []string{"Subject: 1\n\nFrom here\n"}},
		"nothing":                    {"", nil},
		"a From line that is none":   {"From the beginning\n\nx\n\n" + line + "S: 2\n", []string{"From the beginning\n\nx\n", "S: 2\n"}},
		"a long From line":           {"From " + strings.Repeat("x", 100_000) + " 01:00:05\nS: 1\n\n" + line + "S: 2\n", []string{"From " + strings.Repeat("x", 100_000) + " 01:00:05\nS: 1\n", "S: 2\n"}},
		"a line across the buffer":   {line + strings.Repeat("y", bufferSize) + line + "\n" + line + "S: 2\n", []string{strings.Repeat("y", bufferSize) + line, "S: 2\n"}},
		"a blank line of the buffer": {line + strings.Repeat("y", bufferSize-1) + "\n\n" + line + "S: 2\n", []string{strings.Repeat("y", bufferSize-1) + "\n", "S: 2\n"}},
		"NUL and the like":           {line + "\x00\xff\n\n" + line + "\x1b", []string{"\x00\xff\n", "\x1b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if have := read(t, strings.NewReader(c.box), 0); !slices.Equal(have, c.want) {
				t.Errorf("have %.300q\nwant %.300q", have, c.want)
			}
			if len(c.box) < 10_000 {
				if have := read(t, iotest.OneByteReader(strings.NewReader(c.box)), 0); !slices.Equal(have, c.want) {
					t.Errorf("a byte at a time: %.300q", have)
				}
			}
		})
	}
}

// TestMax: of a message that is too long the beginning is there, and the next one follows.
func TestMax(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcde\n", 5000)
	have := read(t, strings.NewReader(line+long+"\n"+line+"S: 2\n\n"+line+strings.Repeat("x", 2000)), 2000)
	want := []string{fmt.Sprintf("1024 of 80000: %s", long[:1024]), "S: 2\n", strings.Repeat("x", 2000)}
	if !slices.Equal(have, want) {
		t.Errorf("%.200q", have)
	}
	if have := read(t, strings.NewReader(long), 2000); !slices.Equal(have, want[:1]) {
		t.Errorf("%.200q", have)
	}
	// Without an end, and endless: nothing but the beginning is held.
	endless := io.LimitReader(repeating("From a@example.org\n\n>"), 64<<20)
	if have := read(t, io.MultiReader(strings.NewReader(line), endless), 2000); len(have) != 1 || !strings.HasPrefix(have[0], "1024 of ") {
		t.Errorf("%.200q", have)
	}
}

type repeating string

func (s repeating) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		n += copy(b[n:], s)
	}
	return n, nil
}

func TestMaildir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"new/1680135061.M1.host":      "S: 2\n\n",
		"cur/1680135060.M1.host:2,S":  "S: 1\n\n",
		"cur/1680135062.M1.host:2,RS": "From x\nS: 3\n\n",
		"tmp/1680135063.M1.host":      "not yet there",
		"cur/.hidden":                 "not ours",
		"new/1680135064.M1.host":      "",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// A mail program looks at the new one meanwhile.
	if err := os.Rename(filepath.Join(dir, "new/1680135061.M1.host"), filepath.Join(dir, "cur/1680135061.M1.host:2,S")); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"S: 1\n\n", "S: 2\n\n", "From x\nS: 3\n\n"} {
		m, err := r.Next()
		if err != nil || string(m.Bytes) != want || m.Offset != 0 || m.End != int64(len(want)) || !strings.HasPrefix(m.Path, dir) {
			t.Fatalf("message %d: %+v %v, want %q", i, m, err, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("%v", err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box, eml := filepath.Join(dir, "box"), filepath.Join(dir, "a.eml")
	for path, text := range map[string]string{box: line + "S: 1\n\n" + line + "S: 2\n", eml: "S: 1\n\nFrom a Thu Mar 30 01:00:05 2023\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{box: 2, eml: 1} {
		r, err := Open(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			m, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil || m.Path != path {
				t.Fatalf("%+v %v", m, err)
			}
			n++
		}
		if n != want {
			t.Errorf("%s has %d messages, want %d", path, n, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for path, part := range map[string]string{dir: "neither new nor cur", filepath.Join(dir, "missing"): "no such file"} {
		if _, err := Open(path, 0); err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) {
			t.Errorf("%s: %v", path, err)
		}
	}
	broken := New(io.MultiReader(strings.NewReader(line+"S: 1\n"), iotest.ErrReader(errors.New("disk on fire"))), "box", 0)
	if _, err := broken.Next(); err == nil || !strings.Contains(err.Error(), `"box" at byte`) || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("%v", err)
	}
	if _, err := broken.Next(); err != io.EOF {
		t.Errorf("after an error: %v", err)
	}
}

// FuzzMbox: the messages of a file follow one another without a gap to its end, each
// within the limit, and what is written from messages is read as them.
func FuzzMbox(f *testing.F) {
	f.Add([]byte(line+"S: 1\n\nx\n\n"+line+"S: 2\n"), "S: 3\n\n>From x\n")
	f.Add([]byte("From "), "From a Thu Mar 30 01:00:05 2023")
	f.Add([]byte("\n\nFrom 10:30\n\n\n"), "")
	f.Fuzz(func(t *testing.T, box []byte, text string) {
		in := New(bytes.NewReader(box), "box", 500)
		end := int64(0)
		for {
			m, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Offset != end || m.End < m.Offset || len(m.Bytes) > 500 {
				t.Fatalf("%+v behind %d", m, end)
			}
			end = m.End
		}
		if end != int64(len(box)) {
			t.Fatalf("%d of %d bytes", end, len(box))
		}
		// As mboxrd is written.
		var quoted strings.Builder
		for l := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimLeft(l, ">"), from) {
				l = ">" + l
			}
			quoted.WriteString(l)
		}
		if len(text) > 400 {
			return
		}
		have := read(t, strings.NewReader(line+quoted.String()+"\n\n"+line+"end"), 500)
		if len(have) != 2 || have[0] != text+"\n" || have[1] != "end" {
			t.Fatalf("%q was read as %q", text, have)
		}
	})
}
