package retrieve

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/ingester/quarantine"
	"millrace/internal/config"
)

// Options say what is looked for, and what is done with it.
type Options struct {
	Config     *config.Config // its section quarantine, and for Load Kafka
	Password   string
	Directions []string // quarantine.Incoming, quarantine.Outgoing
	Window     quarantine.Window
	NoBounces  bool // leave out what is from mailer-daemon

	Row func(*quarantine.Message) error // gets each message; nil: none is wanted

	Load       bool
	ClickHouse []*clickhouse.Options // where to ask what is loaded already: each shard
	Log        *slog.Logger          // nil: nothing is said

	// Progress may be nil. It hears of messages of a folder whose dates (step 1) or headers (step 2) were read.
	Progress func(folder string, step, done, all int)
}

// Report is what Run found and did. It holds also beside an error, as far as Run came.
type Report struct {
	Folders []string
	Found   int // messages of the time
	Bounces int // of these, left out
	Gone    int // of these, removed by somebody before their header was read
	Rows    int // handed to Row
	Known   int // in ClickHouse already
	Loaded  int // acknowledged by Kafka
}

// Run does it.
func Run(ctx context.Context, o Options) (r Report, err error) {
	run := run{Options: o, report: &r}
	if run.decoder, err = quarantine.NewDecoder(&o.Config.Quarantine.Columns); err != nil {
		return r, err
	}
	if err := run.dial(ctx); err != nil {
		return r, err
	}
	defer run.client.Close()
	if o.Load {
		if run.loader, err = newLoader(ctx, o); err != nil {
			return r, err
		}
	}
	err = run.folders(ctx)
	if run.loader != nil {
		// What was appended is sent, whatever ended the reading.
		loaded, late := run.loader.finish()
		r.Loaded = loaded
		if err == nil {
			err = late
		} else if late != nil {
			err = fmt.Errorf("%w; %w", err, late)
		}
	}
	return r, err
}

// run is one Run.
type run struct {
	Options
	report  *Report
	client  *quarantine.Client
	decoder *quarantine.Decoder
	loader  *loader // nil: nothing is loaded
	message quarantine.Message
}

func (r *run) dial(ctx context.Context) (err error) {
	q := &r.Config.Quarantine
	o := quarantine.Options{
		Host: q.Host, Port: q.PortOrDefault(), StartTLS: q.TLS.Mode == config.TLSStart,
		User: q.Username, Password: r.Password, Timeout: q.Timeout, MaxHeader: int(q.MaxHeader),
	}
	if o.TLS, err = r.Config.QuarantineTLS(); err != nil {
		return err
	}
	r.client, err = quarantine.Dial(ctx, o)
	return err
}

func (r *run) folders(ctx context.Context) error {
	q := &r.Config.Quarantine
	for _, direction := range r.Directions {
		names, key := q.Outgoing, "quarantine.outgoing"
		if direction == quarantine.Incoming {
			names, key = q.Incoming, "quarantine.incoming"
		}
		if len(names) == 0 {
			return fmt.Errorf("cannot search the %s quarantine: %s names no folder", direction, key)
		}
		for _, name := range names {
			if err := r.folder(ctx, name, key, direction); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) folder(ctx context.Context, name, key, direction string) error {
	f, err := r.client.Open(name, key)
	if err != nil {
		return err
	}
	r.report.Folders = append(r.report.Folders, name)
	progress := func(step, done, all int) {
		if r.Progress != nil {
			r.Progress(name, step, done, all)
		}
	}
	found, err := r.client.Find(f, r.Window, func(done, all int) { progress(1, done, all) })
	if err != nil {
		return err
	}
	r.report.Found += len(found)
	q := &r.Config.Quarantine
	at := quarantine.Place{Server: q.Host, Account: q.Username, Peer: r.client.Peer(), Folder: f, Direction: direction}
	var known map[uint32]bool
	if r.loader != nil && len(found) > 0 {
		if known, err = r.loader.known(ctx, at, found); err != nil {
			return err
		}
		r.report.Known += len(known)
		if r.Row == nil {
			found = slices.DeleteFunc(found, func(m quarantine.Found) bool { return known[m.UID] })
		}
	}
	done := 0
	read, err := r.client.Headers(f, found, func(m quarantine.Found, header []byte, cut bool) error {
		done++
		progress(2, done, len(found))
		r.decoder.Decode(&r.message, header, cut, direction)
		if r.NoBounces && r.message.Bounce {
			r.report.Bounces++
			return nil
		}
		if r.Row != nil {
			if err := r.Row(&r.message); err != nil {
				return err
			}
			r.report.Rows++
		}
		if r.loader == nil || known[m.UID] {
			return nil
		}
		return r.loader.add(ctx, &r.message, at, m, header)
	})
	if err == nil {
		r.report.Gone += len(found) - read
	}
	return err
}

// now is when events are made.
var now = time.Now
