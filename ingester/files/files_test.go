package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

const patience = 60 * time.Second

// taken keeps the lines of all sources.
type taken struct {
	mu    sync.Mutex
	lines []string // "OFFSET TEXT"
	next  map[string]int64
	ended int
}

// taker is the Taker of one source.
type taker struct {
	to     *taken
	source string
}

func (t *taker) Line(l Line) error {
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	text := fmt.Sprintf("%d %s", l.Offset, l.Bytes)
	if l.TooLong() {
		text = fmt.Sprintf("%d %d bytes", l.Offset, l.Size)
	}
	if l.Open {
		text += " (open)"
	}
	t.to.lines = append(t.to.lines, text)
	return nil
}

func (t *taker) Read(next int64) {
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	t.to.next[t.source] = next
}

func (t *taker) Silent(int64, time.Duration) error { return nil }

func (t *taker) End(next int64, _ bool) error {
	t.Read(next)
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	t.to.ended++
	return nil
}

func (t *taken) open(s Source) (Taker, int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, known := t.next[s.Fingerprint]
	if !known {
		next = s.Start
		if s.Checkpoint != nil {
			next = s.Checkpoint.Offset
		}
	}
	return &taker{t, s.Fingerprint}, next, nil
}

func (t *taken) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// watch follows dir/* until the test ends, or stop is called.
func watch(t *testing.T, dir string, change func(*Options)) (got *taken, stop func()) {
	t.Helper()
	got = &taken{next: map[string]int64{}}
	o := Options{Paths: []string{filepath.Join(dir, "*.log*")}, MaxLine: 4 << 10, Open: got.open, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); New(o).Run(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return got, stop
}

func (t *taken) want(tt *testing.T, lines ...string) {
	tt.Helper()
	for end := time.Now().Add(patience); len(t.all()) < len(lines); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			break
		}
	}
	if got := t.all(); !slices.Equal(got, lines) {
		tt.Errorf("got %q\nwant %q", got, lines)
	}
}

func put(t *testing.T, path string, text []byte, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// numbered are lines of a log, n from from on, and how they are taken.
func numbered(from, n int) (text []byte, taken []string) {
	at := from * len("line 0000 "+filler+"\n")
	for i := range n {
		line := fmt.Sprintf("line %04d %s", from+i, filler)
		taken = append(taken, fmt.Sprintf("%d %s", at, line))
		text = append(append(text, line...), '\n')
		at += len(line) + 1
	}
	return text, taken
}

var filler = strings.Repeat("x", 50)

// Plain text and what is made of it are one source; each is read to its end.
func TestWatcher_Compressed(t *testing.T) {
	t.Parallel()
	text, lines := numbered(0, 100)
	var gz, zst bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	z.Close()
	bz2, err := os.ReadFile("testdata/lines.bz2")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"a.log": text, "a.log.gz": gz.Bytes(), "a.log.zst": zst.Bytes(), "a.log.bz2": bz2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			put(t, filepath.Join(dir, name), b, time.Hour)
			got, _ := watch(t, dir, nil)
			got.want(t, lines...)
		})
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		put(t, filepath.Join(dir, "a.log"), text, time.Hour)
		put(t, filepath.Join(dir, "a.log.1"), text[:len(text)/2], time.Hour)
		put(t, filepath.Join(dir, "a.log.gz"), gz.Bytes(), time.Hour)
		got, _ := watch(t, dir, nil)
		got.want(t, lines...)
	})
}

// Reading begins where the checkpoint says, at a line in any case, and at the end when no
// more is wanted of what is there at the very first start.
func TestWatcher_Begin(t *testing.T) {
	t.Parallel()
	text, lines := numbered(0, 100)
	c := Checkpoint{Source: fingerprint(text[:fingerprintBytes]), Length: fingerprintBytes, Path: "/elsewhere/a.log"}
	f := func(name string, change func(*Options), want []string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			put(t, filepath.Join(dir, "a.log"), append(slices.Clone(text), "cut"...), time.Hour)
			got, _ := watch(t, dir, change)
			got.want(t, want...)
			file, err := os.OpenFile(filepath.Join(dir, "a.log"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			// After the watcher has come to its end.
			for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
				got.mu.Lock()
				read := got.next[c.Source]
				got.mu.Unlock()
				if read == int64(len(text)) || time.Now().After(end) {
					break
				}
			}
			if _, err := file.WriteString(" off\n"); err != nil {
				t.Fatal(err)
			}
			got.want(t, append(slices.Clone(want), fmt.Sprintf("%d cut off", len(text)))...)
		})
	}
	f("beginning", nil, lines)
	f("end", func(o *Options) { o.AtEnd = true }, nil)
	at := func(offset int64) func(*Options) {
		return func(o *Options) { c := c; c.Offset = offset; o.Checkpoints = []Checkpoint{c} }
	}
	line := int64(len(text) / 100)
	f("checkpoint", at(40*line), lines[40:])
	f("in a line", at(40*line+7), lines[41:])
	f("all", at(100*line), nil)
	f("end, and known", func(o *Options) { o.AtEnd = true; at(90 * line)(o) }, lines[90:])
}

// Long lines, empty ones, NUL bytes and carriage returns are lines as they are; one without
// an end may go on.
func TestWatcher_Lines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("y", 1<<20)
	put(t, filepath.Join(dir, "a.log"), []byte("a\n\n\x00b\r\n"+long+"\nlast"), time.Hour)
	got, _ := watch(t, dir, nil)
	got.want(t, "0 a", "2 ", "3 \x00b\r", "7 1048576 bytes")
	var short, _ = numbered(0, 3) // less than a whole fingerprint, and old enough
	put(t, filepath.Join(dir, "b.log"), short, time.Hour)
	_, lines := numbered(0, 3)
	got.want(t, append([]string{"0 a", "2 ", "3 \x00b\r", "7 1048576 bytes"}, lines...)...)
}

func TestState(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(dir); err == nil || !strings.Contains(err.Error(), "another millrace") {
		t.Errorf("a second one: %v", err)
	}
	c := Checkpoint{Source: "0123456789abcdef", Length: 1024, Path: "/var/log/a", Offset: 77, Clean: true,
		Places: map[string][]Place{"millrace.smtp": {{Partition: 3, Offset: 9}}}, Cuts: []Cut{{80, "smtp"}}, Seen: time.Unix(1_900_000_000, 0).UTC()}
	for _, sync := range []bool{false, true} {
		if err := s.Save(&c, sync); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Load()
	if err != nil || len(all) != 1 || fmt.Sprint(all[0]) != fmt.Sprint(c) {
		t.Errorf("%v, %v", all, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fedcba9876543210.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), "fedcba9876543210.json") || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a damaged one: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenState(dir); err != nil {
		t.Fatal(err)
	}
	s.Close()
}
