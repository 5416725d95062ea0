package ingester

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/ingester/files"
	"millrace/internal/config"
	"millrace/schema"
)

// fileInput is one entry of files, and the sources that it has found.
type fileInput struct {
	*input
	cfg     *config.Files
	files   *fileInputs
	state   *files.State
	rotated rotated

	mu      sync.Mutex
	sources map[string]*fileSource // by fingerprint
}

// fileInputs are all of them.
type fileInputs struct {
	in    *Ingester
	state *files.State
	all   []*fileInput
	log   *kafkaLogs
	ends  map[string]map[int32]int64 // by topic and partition, when following began

	mu     sync.Mutex
	owners map[string]*fileInput // by fingerprint: which entry follows a source
}

// saveEvery is how often checkpoints are written.
const saveEvery = time.Second

// settle is how long after a start that follows no orderly stop Kafka is given for what
// the run before had sent: it may still stand in a broker's queue.
const settle = 2 * time.Second

// openFiles prepares to follow files; nil: the configuration names none.
func (in *Ingester) openFiles(cfg *config.Config) (_ *fileInputs, err error) {
	if len(cfg.Files) == 0 {
		return nil, nil
	}
	f := &fileInputs{in: in, owners: map[string]*fileInput{}}
	dir, err := cfg.CheckpointDir()
	if err != nil {
		return nil, err
	}
	known, err := knownFormats(cfg)
	if err != nil {
		return nil, err
	}
	for i := range cfg.Files {
		c := &cfg.Files[i]
		l := c.Listener()
		compiled, err := compile(cfg, known, l, fmt.Sprintf("files[%d].formats", i))
		if err != nil {
			return nil, err
		}
		input := in.newInput(l, "file", len(cfg.Listeners)+i, nil)
		input.waits = true
		input.rules.Store(rulesOf(l, compiled.Set, compiled.Logs))
		f.all = append(f.all, &fileInput{input: input, cfg: c, files: f, sources: map[string]*fileSource{}})
	}
	if f.state, err = files.OpenState(dir); err != nil {
		return nil, err
	}
	for _, x := range f.all {
		x.state = f.state
	}
	return f, nil
}

// follow follows all files until ctx ends, as soon as Kafka takes records. It returns when
// no source gives lines any more.
func (f *fileInputs) follow(ctx context.Context) error {
	select {
	case <-f.in.publisher.Ready():
	case <-ctx.Done():
		return nil
	}
	checkpoints, err := f.state.Load()
	if err != nil {
		return err
	}
	for _, c := range checkpoints {
		if !c.Clean {
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return nil
			}
			break
		}
	}
	if f.log, err = f.in.openLogs(); err != nil {
		return err
	}
	defer f.log.close()
	if f.ends, err = f.log.ends(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { f.saveAll(ctx) })
	for _, x := range f.all {
		w := files.New(files.Options{
			Paths: x.cfg.Paths, MaxLine: int(x.cfg.MaxLine), AtEnd: x.cfg.From == "end", Checkpoints: checkpoints,
			Open: func(src files.Source) (files.Taker, int64, error) { return x.open(ctx, src) },
			Log:  f.in.log.With("files", x.cfg.Name),
		})
		work.Go(func() { w.Run(ctx) })
	}
	return nil
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// saveAll writes checkpoints until ctx ends.
func (f *fileInputs) saveAll(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := f.each(func(fs *fileSource) error { return fs.save(false, false) })
		if err != nil && err.Error() != said {
			said = err.Error()
			f.in.log.Error("checkpoints of files cannot be written: after a crash more will be read again", "error", err)
		}
	}
}

// finish writes the last checkpoints, when the publisher has ended.
func (f *fileInputs) finish() error {
	err := f.each(func(fs *fileSource) error {
		held := 0
		for _, l := range fs.lines.all() {
			lines, _ := l.heldNow()
			held += lines
		}
		if held > 0 {
			fs.in.ledger.unread(held)
		}
		return fs.save(true, true)
	})
	return errors.Join(err, f.state.Close())
}

func (f *fileInputs) each(do func(*fileSource) error) error {
	var errs []error
	for _, x := range f.all {
		x.mu.Lock()
		var all []*fileSource
		for _, fs := range x.sources {
			all = append(all, fs)
		}
		x.mu.Unlock()
		for _, fs := range all {
			errs = append(errs, do(fs))
		}
	}
	return errors.Join(errs...)
}

// open is files.Options.Open.
func (x *fileInput) open(ctx context.Context, src files.Source) (files.Taker, int64, error) {
	x.mu.Lock()
	fs := x.sources[src.Fingerprint]
	x.mu.Unlock()
	if fs != nil {
		fs.begin(src)
		return fs, fs.next, nil
	}
	if owner := x.files.own(src.Fingerprint, x); owner != x {
		return nil, 0, fmt.Errorf("cannot follow %q: files %q follow it, or a copy of it, already; one entry of files is for each", src.Path, owner.cfg.Name)
	}
	fs = newFileSource(x, src)
	m := mark{start: src.Start, places: x.places(fs.pin)}
	start := src.Start
	if c := src.Checkpoint; c != nil {
		fs.safe, fs.cuts, fs.made = c.Offset, c.Cuts, append([]files.Cut{}, c.Cuts...)
		m.start = c.Offset
		if !c.Clean {
			var err error
			if fs.known, err = x.files.log.offsetsOf(ctx, src.Fingerprint, c.Offset, c.Places); err != nil {
				return nil, 0, fmt.Errorf("cannot see how much of %q is in Kafka: %w", src.Path, err)
			}
			m.places = joinPlaces(c.Places, m.places)
		}
		if start = c.Offset; len(fs.in.rules.Load().logs) > 0 {
			start = max(start-warmBytes, 0)
			fs.crossed = start == c.Offset
		}
	}
	fs.next, fs.marks, fs.changed = start, []mark{m}, true
	// Before the first event of it: whoever comes after a crash must know where to look.
	fs.begin(src)
	if err := fs.save(true, false); err != nil {
		fs.lane.Unpin()
		return nil, 0, err
	}
	x.mu.Lock()
	x.sources[src.Fingerprint] = fs
	x.mu.Unlock()
	return fs, start, nil
}

// own makes x the owner of a source that has none, and returns the owner.
func (f *fileInputs) own(source string, x *fileInput) *fileInput {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owners[source] == nil {
		f.owners[source] = x
	}
	return f.owners[source]
}

// places are where events will stand that are published from now on, by topic.
func (x *fileInput) places(pin uint32) map[string][]files.Place {
	all := map[string][]files.Place{}
	for _, k := range schema.Kinds() {
		topic := x.files.in.cfg.Kafka.Topic(k.Topic)
		partition, end, ok := x.publisher.Place(k, pin)
		if !ok {
			continue
		}
		all[topic] = []files.Place{{Partition: partition, Offset: max(end, x.files.ends[topic][partition])}}
	}
	return all
}

// joinPlaces is where events of either can stand.
func joinPlaces(a, b map[string][]files.Place) map[string][]files.Place {
	all := map[string][]files.Place{}
	for topic, places := range a {
		all[topic] = append(all[topic], places...)
	}
	for topic, places := range b {
		for _, p := range places {
			if !hasPartition(all[topic], p.Partition) {
				all[topic] = append(all[topic], p)
			}
		}
	}
	return all
}

func hasPartition(places []files.Place, partition int32) bool {
	for _, p := range places {
		if p.Partition == partition {
			return true
		}
	}
	return false
}
