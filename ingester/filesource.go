package ingester

import (
	"bytes"
	"errors"
	"hash/fnv"
	"net/netip"
	"slices"
	"sync"
	"time"

	"millrace/ingester/files"
	"millrace/ingester/framing"
	"millrace/ingester/publish"
	"millrace/ingester/qmail"
	"millrace/schema"
)

// fileSource takes the lines of one source, and knows how far they are safe. It stays as
// long as the ingester, also while nobody reads the source.
//
// An event carries its source and the offset of one of its lines, and goes to one
// partition of its topic. A checkpoint says from which line on reading has to begin again,
// and where in Kafka the events of that line and of later ones can stand: whoever begins
// there reads that part of the partitions, and leaves out what is there already.
type fileSource struct {
	in       *fileInput
	name     []byte // the fingerprint
	length   int
	pin      uint32
	s        *sink
	lane     *publish.Lane // while it is read
	lines    lineSources
	path     []byte
	plain    []byte      // a line without rsyslog's escapes
	modified int64       // of the file, ms since 1970: its lines are no younger
	safe     int64       // of the run before: events of earlier lines are in Kafka
	known    offsets     // further events that are
	crossed  bool        // reading has come to safe
	cuts     []files.Cut // of the run before, and not come to yet
	current  int64       // offset of the line that is decoded
	next     int64       // of the line to come
	last     int64       // offset of the last event that was published, by its lines' order
	markedAt time.Time

	saving sync.Mutex // held while a checkpoint is written

	mu      sync.Mutex // Kept is called by the publisher
	marks   []mark     // the last one is open
	first   uint32     // id of marks[0]
	made    []files.Cut
	broken  bool // an event was lost: no checkpoint may pass it
	changed bool
	saved   time.Time
}

// mark is a stretch of reading.
type mark struct {
	start   int64                    // offset at which it begins
	places  map[string][]files.Place // where events published in it, or later, can stand
	safe    int64                    // of all but the last: the first line that is not wholly in an event of before its end
	waiting int                      // events that Kafka has not acknowledged
}

const (
	// markEvery is the shortest time between two marks, mostMarkEvery the longest; it is
	// twice as long for each manyMarks that there are.
	markEvery     = 200 * time.Millisecond
	mostMarkEvery = time.Minute
	manyMarks     = 128
	// idleSave is how old the places in the checkpoint of a source become that nothing comes of.
	idleSave = time.Minute
	// warmBytes is how far before the checkpoint reading begins, to know what the lines
	// there tell of later ones: the messages whose delivery is tried again, and which of
	// two repeated hours it is.
	warmBytes = 64 << 20
)

func newFileSource(in *fileInput, src files.Source) *fileSource {
	h := fnv.New32a()
	h.Write([]byte(src.Fingerprint))
	fs := &fileSource{
		in: in, name: schema.Padded(src.Fingerprint), length: src.Length, pin: h.Sum32(), last: -1,
		s: in.input.open(nil), crossed: true, first: 1,
	}
	fs.s.file = fs
	return fs
}

// begin makes it ready to be read from a line on.
func (fs *fileSource) begin(src files.Source) {
	fs.located(src)
	fs.lane = fs.in.publisher.Pinned(fs.pin)
	fs.s.own = fs.lane
}

// located notes where the source is now.
func (fs *fileSource) located(src files.Source) {
	fs.path, fs.modified = schema.Padded(src.Path), src.Modified.UnixMilli()
}

// Line implements files.Taker.
func (fs *fileSource) Line(l files.Line) error {
	for len(fs.cuts) > 0 && l.Offset >= fs.cuts[0].Offset {
		fs.endLog(fs.cuts[0].Log)
		fs.cuts = fs.cuts[1:]
	}
	if !fs.crossed && l.Offset >= fs.safe {
		// What is open here was open in front of the checkpoint, and is safe: it has ended
		// another way then.
		fs.current = fs.safe - 1
		fs.endAll()
		fs.crossed = true
	}
	fs.current = l.Offset
	fs.in.ledger.transport.Bytes.Add(uint64(l.Size) + 1)
	f := framing.Frame{Bytes: fs.unescaped(l.Bytes), Size: l.Size}
	if l.TooLong() {
		f.Reject, f.Detail = schema.ReasonOversize, "the line is longer than files[].max_line"
	}
	if l.Open {
		f.Flags |= schema.FlagNoTrailer
	}
	return fs.s.Frame(netip.AddrPort{}, f)
}

// unescaped is a line as its sender wrote it: rsyslog stores a control character as # and
// three octal digits, of which there may be one behind each frame, a NUL. Logs of a mail
// server have not been through it.
func (fs *fileSource) unescaped(line []byte) []byte {
	if fs.in.rules.Load().formats == nil || bytes.IndexByte(line, '#') < 0 {
		return line
	}
	out := fs.plain[:0]
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '#' && i+3 < len(line) {
			high, mid, low := line[i+1]-'0', line[i+2]-'0', line[i+3]-'0'
			if code := high<<6 | mid<<3 | low; high <= 1 && mid <= 7 && low <= 7 && (code < ' ' || code == 0x7f) {
				c = code
				i += 3
			}
		}
		out = append(out, c)
	}
	fs.plain = out
	return out
}

// Read implements files.Taker.
func (fs *fileSource) Read(next int64) {
	fs.s.Flush()
	fs.next = next
	if now := time.Now(); now.Sub(fs.markedAt) >= fs.markEvery() {
		fs.markedAt = now
		fs.mark(now)
	}
}

// markEvery is the time between two marks: longer when there are many, because what is
// open has been so for long.
func (fs *fileSource) markEvery() time.Duration {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return min(markEvery<<min(len(fs.marks)/manyMarks, 10), mostMarkEvery)
}

// mark closes the stretch that is open, and opens the next one.
func (fs *fileSource) mark(now time.Time) {
	if fs.next < fs.safe {
		return // on the way to where the run before was
	}
	safe := fs.next
	if open, ok := fs.lines.open(); ok {
		safe = min(safe, open)
	}
	places := fs.in.places(fs.pin)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	m := &fs.marks[len(fs.marks)-1]
	if m.start == fs.next && m.waiting == 0 { // nothing has come
		m.places = places
		fs.changed = fs.changed || now.Sub(fs.saved) > idleSave
		return
	}
	m.safe = max(safe, fs.safe)
	fs.marks = append(fs.marks, mark{start: fs.next, places: places})
	fs.changed = true
}

// Silent implements files.Taker.
func (fs *fileSource) Silent(next int64, silence time.Duration) error {
	fs.Read(next)
	fs.modified = time.Now().UnixMilli() // what comes from now on is written now
	for _, log := range fs.lines.silent(silence) {
		if err := fs.cut(log); err != nil {
			return err
		}
	}
	return nil
}

// cut ends what is open of a log, and notes it before: a reader who comes after a crash
// would join it with lines that come later, and find the event there already.
func (fs *fileSource) cut(log string) error {
	fs.mu.Lock()
	fs.made = append(fs.made, files.Cut{Offset: fs.next, Log: log})
	fs.changed = true
	fs.mu.Unlock()
	if err := fs.save(true, false); err != nil {
		return err
	}
	fs.endLog(log)
	fs.s.Flush()
	return nil
}

// End implements files.Taker.
func (fs *fileSource) End(next int64, final bool) error {
	fs.next = next
	var err error
	if final {
		for _, log := range fs.lines.silent(1<<63 - 1) {
			err = errors.Join(err, fs.cut(log))
		}
	}
	fs.s.Flush()
	fs.mark(time.Now())
	if fs.lane != nil {
		fs.lane.Unpin()
		fs.lane, fs.s.own = nil, nil
	}
	return err
}

// endLog ends what is open of a log, of all hosts and programs of the file.
func (fs *fileSource) endLog(log string) {
	fs.each(func(l *lineSource) { fs.s.flushSource(l, func(emit qmail.Emit) { l.lines.EndLog(log, emit) }) })
}

func (fs *fileSource) endAll() {
	fs.each(func(l *lineSource) { fs.s.flushSource(l, l.lines.End) })
}

func (fs *fileSource) each(f func(*lineSource)) {
	fs.s.take(netip.AddrPort{}, framing.Frame{})
	for _, l := range fs.lines.all() {
		f(l)
	}
}

// has tells whether the event of a line is in Kafka already.
func (fs *fileSource) has(offset int64) bool {
	if fs.current < fs.safe || offset < fs.safe {
		return true
	}
	return fs.known.has(offset)
}

// published notes an event that is in a batch of the lane, whose lock is held.
func (fs *fileSource) published(k *schema.Kind, offset int64) {
	fs.last = max(fs.last, offset)
	if fs.lane == nil { // of an import: it asks everywhere what is there
		return
	}
	fs.mu.Lock()
	id := fs.first + uint32(len(fs.marks)) - 1
	fs.marks[len(fs.marks)-1].waiting++
	fs.mu.Unlock()
	fs.s.lane.Note(k, fs, id)
}

// lost notes an event that will not be in Kafka.
func (fs *fileSource) lost() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.broken = true
}

// Kept implements publish.Receipts.
func (fs *fileSource) Kept(list []uint32) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, id := range list {
		fs.marks[id-fs.first].waiting--
	}
	fs.changed = true
}

// save writes a checkpoint, if there is something new to say. ended: the publisher has
// ended, and what it has not acknowledged it never will.
func (fs *fileSource) save(sync, ended bool) error {
	if fs.in.state == nil { // of an import, which asks what is there
		return nil
	}
	fs.saving.Lock()
	defer fs.saving.Unlock()
	fs.mu.Lock()
	if !fs.changed && !ended || len(fs.marks) == 0 {
		fs.mu.Unlock()
		return nil
	}
	now := time.Now()
	fs.changed, fs.saved = false, now
	c := fs.checkpoint(now, ended)
	fs.mu.Unlock()
	return fs.in.state.Save(&c, sync)
}

// checkpoint is what is safe. The caller holds the lock.
func (fs *fileSource) checkpoint(now time.Time, ended bool) files.Checkpoint {
	done := 0
	for done < len(fs.marks)-1 && fs.marks[done].waiting == 0 && !fs.broken {
		done++
	}
	offset := fs.marks[0].start
	if done > 0 {
		offset = fs.marks[done-1].safe
	}
	// Events of lines from offset on were published in the stretch that it is in, or later.
	at := 0
	for at < len(fs.marks)-1 && fs.marks[at+1].start <= offset {
		at++
	}
	for len(fs.made) > 0 && fs.made[0].Offset <= offset {
		fs.made = fs.made[1:]
	}
	idle := done == len(fs.marks)-1 && fs.marks[done].waiting == 0
	c := files.Checkpoint{
		Source: string(fs.name), Length: fs.length, Path: string(fs.path), Offset: offset, Places: fs.marks[at].places,
		Cuts: slices.Clone(fs.made), Seen: now, Clean: ended && idle && !fs.broken && fs.last < offset,
	}
	fs.marks = append(fs.marks[:0], fs.marks[at:]...) // those before are done: nobody waits for them
	fs.first += uint32(at)
	return c
}
