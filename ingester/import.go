package ingester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"millrace/ingester/files"
	"millrace/ingester/framing"
	"millrace/ingester/mailbox"
	"millrace/ingester/peers"
	"millrace/internal/config"
	"millrace/internal/topics"
	"millrace/schema"
)

// ImportOptions say what is imported, and how it is understood.
type ImportOptions struct {
	Config *config.Config
	As     config.Files // formats, zone and the like; Name is the column listener
	Mail   bool         // the files are abuse reports: mails, mboxes, Maildirs
	Body   bool         // of reports, keep the original's body
	Paths  []string
	// Stored are the offsets of a source's lines whose events ClickHouse has.
	Stored func(ctx context.Context, source string) ([]int64, error)
	Log    *slog.Logger
}

// Imported is what an import has done so far. It may be read while it goes on.
type Imported struct {
	Bytes atomic.Int64 // of the files, compressed as they are
	input *input
}

// Account is what has become of the lines.
func (i *Imported) Account() Account { return i.input.ledger.read() }

// Import reads files to their ends, publishes what is stored neither in ClickHouse nor
// on its way there, and returns when Kafka has it. When ctx ends it stops, and what it has
// read is there: the same files again go on behind that.
func Import(ctx context.Context, o ImportOptions, progress func(*Imported)) (err error) {
	cfg := *o.Config
	cfg.Listeners, cfg.Files = nil, []config.Files{o.As}
	in := &Ingester{log: o.Log, cfg: &cfg, hosts: peers.New(peers.Max)}
	if in.publisher, err = in.newPublisher(&cfg); err != nil {
		return err
	}
	x, err := in.importInput(&cfg, &o)
	if err != nil {
		return err
	}
	in.files, in.ledgers = x.files, []*ledger{x.ledger}

	// What was read is sent also after ctx has ended, for as long as a stop may take.
	soft, drain := context.WithCancel(context.WithoutCancel(ctx))
	hard, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	x.hard = hard
	ended := make(chan error, 1)
	go func() { ended <- in.publisher.Run(soft, hard) }()
	err = in.importAll(ctx, x, &o, progress)
	drain()
	late := time.AfterFunc(cfg.Stop.DrainTimeout, func() {
		if err != nil || ctx.Err() != nil {
			giveUp()
		}
	})
	defer late.Stop()
	return errors.Join(err, <-ended)
}

// importInput is the one input of an import.
func (in *Ingester) importInput(cfg *config.Config, o *ImportOptions) (*fileInput, error) {
	l := o.As.Listener()
	input := in.newInput(l, "file", 0, nil)
	x := &fileInput{input: input, cfg: &cfg.Files[0], sources: map[string]*fileSource{}}
	x.files = &fileInputs{in: in, all: []*fileInput{x}}
	if o.Mail {
		l.Body = "drop"
		if o.Body {
			l.Body = "keep"
		}
		rules := rulesOf(l, nil, nil)
		rules.reports = newReportRules(cfg, l)
		input.rules.Store(rules)
		return x, nil
	}
	known, err := knownFormats(cfg)
	if err != nil {
		return nil, err
	}
	compiled, err := compile(cfg, known, l, "--format")
	if err != nil {
		return nil, err
	}
	input.rules.Store(rulesOf(l, compiled.Set, compiled.Logs))
	return x, nil
}

// importAll imports all files, one after the other.
func (in *Ingester) importAll(ctx context.Context, x *fileInput, o *ImportOptions, progress func(*Imported)) error {
	t, err := topics.FromConfig(in.cfg)
	if err != nil {
		return err
	}
	if c, ok := t.Transport.(interface{ CloseIdleConnections() }); ok {
		defer c.CloseIdleConnections()
	}
	if err := topics.Await(ctx, t, in.log); err != nil {
		return err
	}
	select {
	case <-in.publisher.Ready():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	logs, err := in.openLogs()
	if err != nil {
		return err
	}
	defer logs.close()
	// In this order: what is inserted while this goes on is found in one of the two.
	places, err := logs.uninserted(ctx, in.cfg.Kafka.Group)
	if err != nil {
		return err
	}
	underway, err := logs.sourcesAt(ctx, places)
	if err != nil {
		return err
	}
	done := &Imported{input: x.input}
	stop := in.report(done, progress)
	defer stop()
	for _, path := range o.Paths {
		before := done.Bytes.Load()
		open := func(src files.Source) (*fileSource, error) {
			stored, err := o.Stored(ctx, src.Fingerprint)
			if err != nil {
				return nil, err
			}
			fs := newFileSource(x, src)
			fs.known = sorted(append(stored, underway[src.Fingerprint]...))
			fs.marks = []mark{{}}
			fs.located(src)
			return fs, nil
		}
		if o.Mail {
			err = x.importMail(ctx, path, int(x.cfg.MaxLine), open, &done.Bytes)
		} else {
			err = files.Read(ctx, path, files.Options{
				MaxLine: int(x.cfg.MaxLine), Log: in.log,
				Open: func(src files.Source) (files.Taker, int64, error) {
					fs, err := open(src)
					return fs, 0, err
				},
			}, func(raw int64) { done.Bytes.Store(before + raw) })
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("cannot import all of %q: %w; the same command goes on where it was", path, context.Cause(ctx))
		case err != nil:
			return fmt.Errorf("cannot import %q: %w", path, err)
		}
	}
	return nil
}

// report tells of the progress, until it is told to end.
func (in *Ingester) report(done *Imported, progress func(*Imported)) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			progress(done)
			select {
			case <-stop:
				progress(done)
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// importMail imports the mails of a file or a Maildir.
func (x *fileInput) importMail(ctx context.Context, path string, most int, open func(files.Source) (*fileSource, error), bytes *atomic.Int64) error {
	box, err := mailbox.Open(path, most)
	if err != nil {
		return err
	}
	defer box.Close()
	var fs *fileSource
	at := ""
	end := func() error {
		if fs == nil {
			return nil
		}
		return fs.End(fs.next, true)
	}
	for ctx.Err() == nil {
		m, err := box.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, end())
		}
		if m.Path != at { // of a Maildir each mail is one
			if err := end(); err != nil {
				return err
			}
			src, _, err := files.Identify(m.Path)
			if errors.Is(err, os.ErrNotExist) {
				fs, at = nil, ""
				continue // it was moved meanwhile
			}
			if err != nil {
				return err
			}
			if fs, err = open(src); err != nil {
				return err
			}
			at = m.Path
		}
		f := framing.Frame{Bytes: m.Bytes, Size: int(m.Size)}
		if m.TooLong() {
			f.Reject, f.Detail = schema.ReasonOversize, "the message is longer than --max-line"
		}
		fs.current = m.Offset
		bytes.Add(m.Size)
		x.ledger.transport.Bytes.Add(uint64(m.Size))
		if err := fs.s.Frame(netip.AddrPort{}, f); err != nil {
			return errors.Join(err, end())
		}
		fs.Read(m.End)
	}
	return end()
}
