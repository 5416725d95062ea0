package files

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Source is a file's text, by what it begins with.
type Source struct {
	Fingerprint string
	Length      int // bytes of the beginning that it is of
	Path        string
	Modified    time.Time
	Checkpoint  *Checkpoint // of a run before this one; nil: there is none
	Start       int64       // without a checkpoint, where reading begins: see Options.AtEnd
}

// Options say what is followed.
type Options struct {
	Paths       []string     // of files, or patterns as of package filepath
	MaxLine     int          // bytes; a longer line is given with its beginning
	AtEnd       bool         // of files that are there when Paths are followed for the first time, only what comes
	Checkpoints []Checkpoint // of the run before
	// Open says who takes a source's lines, and where reading begins: at a line's first
	// byte, or somewhere before the line that it wants first. For a source that was open
	// before it goes on where that ended.
	Open func(Source) (Taker, int64, error)
	Log  *slog.Logger
}

// youngFor is how long a file is waited for that is too short for a whole fingerprint.
const youngFor = 10 * time.Second

// fileID is a file on this machine, whatever its names.
type fileID struct{ device, inode uint64 }

// Watcher follows what Options.Paths name.
type Watcher struct {
	o      Options
	begun  bool
	atEnd  bool
	known  map[string]*Checkpoint // by source
	length map[int]int            // of fingerprints: how many sources have one of it
	active map[string]*follower   // by source
	byFile map[fileID]*follower
	closed map[fileID]os.FileInfo // files that were read to their end, as they were then
	said   map[string]string      // errors, by path

	mu    sync.Mutex
	ended []end
	wg    sync.WaitGroup
	wake  chan struct{}
}

// end is a follower that has ended.
type end struct {
	f   *follower
	err error
}

// New makes a Watcher. Run does the work.
func New(o Options) *Watcher {
	w := &Watcher{
		o: o, atEnd: o.AtEnd, known: map[string]*Checkpoint{}, length: map[int]int{}, active: map[string]*follower{},
		byFile: map[fileID]*follower{}, closed: map[fileID]os.FileInfo{}, said: map[string]string{}, wake: make(chan struct{}, 1),
	}
	for i := range o.Checkpoints {
		c := &o.Checkpoints[i]
		w.learn(c.Source, c.Length, c)
		for _, p := range o.Paths {
			if ok, _ := filepath.Match(p, c.Path); ok {
				w.atEnd = false // the paths have been followed before
			}
		}
	}
	return w
}

func (w *Watcher) learn(source string, length int, c *Checkpoint) {
	if _, known := w.known[source]; !known {
		w.length[length]++
	}
	w.known[source] = c
}

// Run follows until ctx ends, and returns when all takers have ended.
func (w *Watcher) Run(ctx context.Context) {
	defer w.wg.Wait()
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		w.o.Log.Warn("the kernel does not tell of changes to files; they are looked at every second", "error", err)
		notify = &fsnotify.Watcher{}
	} else {
		defer notify.Close()
	}
	watched := map[string]bool{}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		for _, dir := range w.dirs() {
			if !watched[dir] && err == nil {
				watched[dir] = notify.Add(dir) == nil
			}
		}
		w.scan(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-w.wake:
		case event := <-notify.Events:
			w.noticed(event, notify.Events)
		case <-notify.Errors: // an overflow: the scan sees what it has missed
		}
	}
}

// noticed wakes the followers of files that have changed.
func (w *Watcher) noticed(event fsnotify.Event, more <-chan fsnotify.Event) {
	changed := map[string]bool{event.Name: true}
	for drained := false; !drained; {
		select {
		case e := <-more:
			changed[e.Name] = true
		default:
			drained = true
		}
	}
	for _, f := range w.active {
		if changed[f.at] {
			select {
			case f.wake <- struct{}{}:
			default:
			}
		}
	}
}

// dirs are the directories in which the paths find files.
func (w *Watcher) dirs() (all []string) {
	seen := map[string]bool{}
	for _, p := range w.o.Paths {
		dirs := []string{filepath.Dir(p)}
		if strings.ContainsAny(dirs[0], `*?[\`) {
			dirs, _ = filepath.Glob(dirs[0])
		}
		for _, d := range dirs {
			if !seen[d] {
				seen[d] = true
				all = append(all, d)
			}
		}
	}
	return all
}

// scan looks at what the paths find now.
func (w *Watcher) scan(ctx context.Context) {
	w.reap()
	there := map[fileID]bool{}
	for _, pattern := range w.o.Paths {
		paths, _ := filepath.Glob(pattern) // the pattern has been checked
		for _, path := range paths {
			if err := w.look(ctx, path, there); err != nil && !errors.Is(err, fs.ErrNotExist) {
				w.complain(path, err)
			}
		}
	}
	for id, f := range w.byFile {
		f.gone.Store(!there[id])
	}
	for id := range w.closed {
		if !there[id] {
			delete(w.closed, id)
		}
	}
	w.begun = true
}

// look looks at one file, and follows it if nobody does.
func (w *Watcher) look(ctx context.Context, path string, there map[fileID]bool) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	id, ok := identify(info)
	if !ok || there[id] {
		return nil
	}
	there[id] = true
	if f := w.byFile[id]; f != nil {
		f.at = path // it may have been renamed
		return nil
	}
	if was := w.closed[id]; was != nil && was.Size() == info.Size() && was.ModTime().Equal(info.ModTime()) {
		return nil
	}
	b, err := head(path)
	if err != nil {
		return err
	}
	source, length := w.match(b)
	if source == "" {
		switch {
		case len(b) == fingerprintBytes:
		case bytes.IndexByte(b, '\n') < 0, time.Since(info.ModTime()) < youngFor:
			return nil // it will have more
		default:
			b = b[:bytes.LastIndexByte(b, '\n')+1]
		}
		source, length = fingerprint(b), len(b)
	}
	if w.active[source] != nil {
		return nil // the same text under another name; its turn comes when that one is gone
	}
	checkpoint := w.known[source]
	w.learn(source, length, checkpoint)
	f := &follower{
		o: &w.o, id: id, head: b[:length], wake: make(chan struct{}, 1), at: path,
		source: Source{Fingerprint: source, Length: length, Path: path, Modified: info.ModTime(), Checkpoint: checkpoint},
	}
	if checkpoint == nil && w.atEnd && !w.begun {
		if f.source.Start, err = lastLine(path); err != nil {
			return err
		}
	}
	w.active[source], w.byFile[id] = f, f
	w.wg.Go(func() {
		err := f.run(ctx, path)
		w.mu.Lock()
		w.ended = append(w.ended, end{f, err})
		w.mu.Unlock()
		select {
		case w.wake <- struct{}{}:
		default:
		}
	})
	return nil
}

// match finds the source that begins so, by the longest fingerprint.
func (w *Watcher) match(head []byte) (source string, length int) {
	for n := range w.length {
		if n > length && n <= len(head) {
			if s := fingerprint(head[:n]); w.has(s) {
				source, length = s, n
			}
		}
	}
	return source, length
}

func (w *Watcher) has(source string) bool {
	_, known := w.known[source]
	return known
}

// reap takes leave of followers that have ended.
func (w *Watcher) reap() {
	w.mu.Lock()
	ended := w.ended
	w.ended = nil
	w.mu.Unlock()
	for _, e := range ended {
		delete(w.active, e.f.source.Fingerprint)
		delete(w.byFile, e.f.id)
		switch {
		case e.err == nil && e.f.was != nil:
			w.closed[e.f.id] = e.f.was
		case e.err == nil && e.f.text.packed:
			if info, err := os.Stat(e.f.at); err == nil {
				w.closed[e.f.id] = info
			}
		case e.err != nil && !errors.Is(e.err, errAnew) && !errors.Is(e.err, context.Canceled):
			w.complain(e.f.at, e.err)
		}
	}
}

// complain logs an error, until it is another one.
func (w *Watcher) complain(path string, err error) {
	if text := err.Error(); w.said[path] != text {
		w.said[path] = text
		w.o.Log.Warn("cannot follow a file, will try again", "path", path, "error", err)
	}
}

func identify(info os.FileInfo) (fileID, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, false
	}
	return fileID{uint64(s.Dev), s.Ino}, true
}
