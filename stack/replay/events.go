package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/ingester"
	"millrace/schema"
	"millrace/transformer/block"
)

// EventOptions say which events are decoded again, and how.
type EventOptions struct {
	Options
	Kind         *schema.Kind // Message or Status
	Since, Until time.Time    // those received since, and before; a zero Until: all since
	Format       string       // decode as that format alone; "": as their listener's formats
}

// EventResult is what Events found, and did.
type EventResult struct {
	Rows  uint64 // of the time that is meant
	NoRaw uint64 // of these keep no frame, and stay as they are
	// Of the others:
	Same     uint64            // give the row that is there
	Changed  uint64            // give another
	Still    map[string]uint64 // are no event any more, by reason: their rows stay
	Other    uint64            // are an event of another kind: their rows stay
	Strange  map[string]uint64 // came to a listener that the configuration does not have
	Doubled  uint64            // stand there twice, which millrace audit tells of
	Columns  []Change          // what is different, by column, in the table's order
	Left     uint64            // rows that a run which was interrupted has replaced, and not removed
	Replaced uint64
}

// Change is what decoding again changes in a column.
type Change struct {
	Column   string
	Rows     uint64
	Examples [][2]string // the first ones, before and after
}

// Examples is how many of a column are kept.
const Examples = 3

// kept are the columns that a row keeps: how its frame came here, and its header.
var kept = []int{
	schema.ReceivedAt, schema.Listener, schema.Transport, schema.PeerIP, schema.Facility, schema.Severity, schema.SyslogHost, schema.SyslogApp,
	schema.SyslogPID, schema.StructuredData, schema.Raw, schema.KTopic, schema.KEpoch, schema.KPart, schema.KOff, schema.Revision,
}

const (
	// stagedRows and stagedBytes bound the blocks that are held until they are inserted.
	stagedRows  = 250_000
	stagedBytes = 96 << 20
	lastReading = 255 // of a row: revision is a UInt8
)

// Events decodes the frames that events keep again, and replaces the rows that have
// become others. It can be run again after an error.
func Events(ctx context.Context, o EventOptions) (r EventResult, err error) {
	r = EventResult{Still: map[string]uint64{}, Strange: map[string]uint64{}}
	decoder, err := ingester.NewRedecoder(o.Config, o.Format)
	if err != nil {
		return r, err
	}
	s, err := connect(ctx, &o.Options, []*schema.Kind{o.Kind})
	if err != nil {
		return r, err
	}
	defer s.close(ctx)
	x := &events{server: s, o: &o, r: &r, decoder: decoder, changes: make([]Change, len(o.Kind.Fields))}
	err = x.run(ctx)
	for i, c := range x.changes {
		if c.Rows > 0 {
			c.Column = o.Kind.Fields[i].Name
			r.Columns = append(r.Columns, c)
		}
	}
	return r, err
}

// events is one call of Events.
type events struct {
	*server
	o       *EventOptions
	r       *EventResult
	decoder *ingester.Redecoder
	changes []Change // by the position of the field
	stage   *stage   // nil: nothing is replaced
	done    uint64
	all     uint64
}

// week is a partition of the table: what is meant of it.
type week struct {
	monday time.Time
	rows   uint64
	noRaw  uint64
}

func (w week) id() string { return w.monday.Format("20060102") }

func (w week) String() string { return w.monday.Format(time.DateOnly) }

func (x *events) run(ctx context.Context) (err error) {
	if x.o.Insert {
		if err := x.dropStages(ctx, x.o.Kind); err != nil {
			return err
		}
	}
	if x.r.Left, err = x.finish(ctx, x.o.Kind, x.o.Insert); err != nil {
		return err
	}
	weeks, err := x.weeks(ctx)
	if err != nil {
		return fmt.Errorf("cannot count the rows of %s: %w", x.table(x.o.Kind), explain(err))
	}
	for _, w := range weeks {
		x.r.Rows, x.r.NoRaw, x.all = x.r.Rows+w.rows, x.r.NoRaw+w.noRaw, x.all+w.rows-w.noRaw
	}
	if x.o.Insert && x.all > 0 {
		if x.stage, err = x.newStage(ctx, &x.o.Options, x.o.Kind); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, x.stage.drop(ctx)) }()
	}
	for _, w := range weeks {
		if w.rows == w.noRaw {
			continue
		}
		if err := x.week(ctx, w); err != nil {
			return fmt.Errorf("%w\nrun it again: what was left half done is finished first", err)
		}
	}
	return nil
}

// meant is the condition for the rows that are.
func (x *events) meant() (condition string, args []any) {
	condition, args = "received_at >= fromUnixTimestamp64Milli(?)", []any{x.o.Since.UnixMilli()}
	if !x.o.Until.IsZero() {
		condition, args = condition+" AND received_at < fromUnixTimestamp64Milli(?)", append(args, x.o.Until.UnixMilli())
	}
	return condition, args
}

func (x *events) weeks(ctx context.Context) (all []week, err error) {
	condition, args := x.meant()
	err = x.ask(ctx, "SELECT toMonday(received_at) AS w, count(), countIf(empty(raw)) FROM "+x.table(x.o.Kind)+" WHERE "+condition+" GROUP BY w ORDER BY w", args,
		func(rows driver.Rows) error {
			var w week
			err := rows.Scan(&w.monday, &w.rows, &w.noRaw)
			all = append(all, w)
			return err
		})
	return all, err
}

// week decodes the frames of a week and replaces its rows.
func (x *events) week(ctx context.Context, w week) error {
	doubled, err := x.doubled(ctx, x.o.Kind, w)
	if err != nil {
		return fmt.Errorf("cannot look for doubled rows of the week of %s: %w", w, err)
	}
	condition, args := x.meant()
	scan := newScanner(x.o.Kind)
	err = x.ask(ctx, "SELECT "+columns(x.o.Kind)+" FROM "+x.table(x.o.Kind)+" WHERE _partition_id = ? AND "+condition+" AND notEmpty(raw)", append([]any{w.id()}, args...),
		func(rows driver.Rows) error {
			old, err := scan.row(rows)
			if err != nil {
				return err
			}
			if x.done++; x.done%1000 == 0 {
				x.o.progress(min(x.done, x.all), x.all)
			}
			if doubled[placeOf(old)] {
				x.r.Doubled++
				return nil
			}
			return x.row(ctx, old)
		})
	x.o.progress(min(x.done, x.all), x.all)
	if err != nil {
		return fmt.Errorf("cannot decode the rows of the week of %s again: %w", w, err)
	}
	if x.stage == nil {
		return nil
	}
	n, err := x.stage.replace(ctx, w)
	x.r.Replaced += n
	return err
}

// row decodes the frame of a row.
func (x *events) row(ctx context.Context, old row) error {
	f := ingester.Stored{
		Listener: old[schema.Listener].text, Transport: old[schema.Transport].text, Peer: plain(old[schema.PeerIP].addr),
		Received: int64(old[schema.ReceivedAt].num), Frame: []byte(old[schema.Raw].text),
	}
	if slices.Contains(old[schema.Flags].names, noTrailer) {
		f.Flags = schema.FlagNoTrailer
	}
	e, reason, err := x.decoder.Decode(f)
	switch {
	case errors.Is(err, ingester.ErrListener):
		x.r.Strange[f.Listener]++
		return nil
	case err != nil:
		return err
	case e == nil:
		x.r.Still[string(reason)]++
		return nil
	case e.Kind != x.o.Kind:
		x.r.Other++
		return nil
	}
	now := rowOf(e)
	for _, i := range kept {
		now[i] = old[i]
	}
	if !x.compare(old, now) {
		x.r.Same++
		return nil
	}
	x.r.Changed++
	if x.stage == nil {
		return nil
	}
	if old[schema.Revision].num == lastReading {
		return fmt.Errorf("cannot replace the row at %s: it was replaced %d times already", placeOf(old), lastReading)
	}
	now[schema.Revision].num++
	return x.stage.add(ctx, now)
}

// noTrailer is what the framing knew of a frame, and its bytes do not tell.
var noTrailer = schema.FlagNoTrailer.Words()[0]

// compare notes what is different, and tells whether anything is.
func (x *events) compare(old, now row) (changed bool) {
	for i := range old {
		if old[i].equal(&now[i]) {
			continue
		}
		changed = true
		c := &x.changes[i]
		c.Rows++
		if t := x.o.Kind.Fields[i].Type; len(c.Examples) < Examples {
			example := [2]string{old[i].show(t), now[i].show(t)}
			if !slices.Contains(c.Examples, example) {
				c.Examples = append(c.Examples, example)
			}
		}
	}
	return changed
}

// place is where in Kafka a row's record stands.
type place struct {
	block.Place
	offset uint64
}

func (p place) String() string {
	return fmt.Sprintf("%s epoch %d partition %d offset %d", p.Topic, p.Epoch, p.Partition, p.offset)
}

func placeOf(r row) place {
	return place{block.Place{Topic: r[schema.KTopic].text, Epoch: uint16(r[schema.KEpoch].num), Partition: uint16(r[schema.KPart].num)}, r[schema.KOff].num}
}

// doubled are the places of a week that have more than one row: first where they are,
// cheaply, then which.
func (s *server) doubled(ctx context.Context, k *schema.Kind, w week) (map[place]bool, error) {
	const bucket = "(k_topic, k_epoch, k_part, bitShiftRight(k_off, 16))"
	from := " FROM " + s.table(k) + " WHERE _partition_id = ?"
	found := map[place]bool{}
	err := s.ask(ctx, "SELECT k_topic, k_epoch, k_part, k_off"+from+" AND "+bucket+" IN (SELECT "+bucket+from+" GROUP BY ALL HAVING count() > groupBitmap(toUInt16(k_off))) GROUP BY ALL HAVING count() > 1",
		[]any{w.id(), w.id()}, func(rows driver.Rows) error {
			var p place
			err := rows.Scan(&p.Topic, &p.Epoch, &p.Partition, &p.offset)
			found[p] = true
			return err
		})
	return found, err
}
