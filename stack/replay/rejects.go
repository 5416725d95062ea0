package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/ingester"
	"millrace/schema"
	"millrace/transformer/block"
)

// span is how many offsets are read, decoded and inserted at a time: with the longest
// frames there may be, some 100 MiB.
const span = 1000

// RejectOptions say which rejects are decoded again, and how.
type RejectOptions struct {
	Options
	Reason string    // those of one reason; "": all
	Since  time.Time // those that came since; zero: all
	Format string    // decode as that format alone; "": as their listener's formats
}

// RejectResult is what Rejects found, and did.
type RejectResult struct {
	Rejects uint64 // that were looked at
	// Of these:
	Events  map[string]uint64 // are events now, by format
	There   uint64            // have their event already, by an earlier run
	Cut     uint64            // are not whole: only the frame's beginning is kept
	Still   map[string]uint64 // are none, by the reason of today
	Strange map[string]uint64 // came to a listener that the configuration does not have

	Inserted uint64 // rows
}

// Total is the number of rejects that are events now.
func (r *RejectResult) Total() (n uint64) {
	for _, c := range r.Events {
		n += c
	}
	return n
}

// Rejects decodes stored rejects again. It can be run again after an error: what is there
// is not inserted twice.
func Rejects(ctx context.Context, o RejectOptions) (r RejectResult, err error) {
	r = RejectResult{Events: map[string]uint64{}, Still: map[string]uint64{}, Strange: map[string]uint64{}}
	decoder, err := ingester.NewRedecoder(o.Config, o.Format)
	if err != nil {
		return r, err
	}
	s, err := connect(ctx, &o.Options, schema.Kinds())
	if err != nil {
		return r, err
	}
	defer s.close(ctx)
	x := &rejects{server: s, o: &o, r: &r, decoder: decoder, blocks: map[*schema.Kind]*block.Block{}}
	return r, x.run(ctx)
}

// rejects is one call of Rejects.
type rejects struct {
	*server
	o       *RejectOptions
	r       *RejectResult
	decoder *ingester.Redecoder
	there   map[offset]bool
	blocks  map[*schema.Kind]*block.Block
	offsets map[*schema.Kind][]byte // of the block's rows, for its token
}

// offset is one record of the topic of rejects.
type offset struct {
	epoch, partition uint16
	at               uint64
}

// part is some offsets of one partition, and how many rejects they hold.
type part struct {
	epoch, partition uint16
	from             uint64 // to from + span
	rejects          uint64
}

// where is the condition for the rejects that are meant. Those that the transformer made
// of records which are no event hold no frame.
func (x *rejects) where() (condition string, args []any) {
	condition, args = "k_topic = ?", []any{schema.Reject.Topic}
	if x.o.Reason != "" {
		condition, args = condition+" AND reason = ?", append(args, x.o.Reason)
	} else {
		condition, args = condition+" AND reason != ?", append(args, string(schema.ReasonBadRecord))
	}
	if !x.o.Since.IsZero() {
		condition, args = condition+" AND received_at >= fromUnixTimestamp64Milli(?)", append(args, x.o.Since.UnixMilli())
	}
	return condition, args
}

func (x *rejects) run(ctx context.Context) error {
	parts, all, err := x.parts(ctx)
	if err != nil {
		return fmt.Errorf("cannot count the rejects: %w", err)
	}
	if err := x.already(ctx); err != nil {
		return fmt.Errorf("cannot ask which rejects have an event already: %w", err)
	}
	for _, p := range parts {
		if err := x.part(ctx, p); err != nil {
			return err
		}
		if x.o.Progress != nil {
			x.o.Progress(x.r.Rejects, all)
		}
	}
	return nil
}

// parts are those that hold rejects, in order.
func (x *rejects) parts(ctx context.Context) (parts []part, all uint64, err error) {
	condition, args := x.where()
	sql := fmt.Sprintf("SELECT k_epoch, k_part, intDiv(k_off, %d) AS n, count() FROM %s WHERE %s GROUP BY ALL ORDER BY ALL", span, x.table(schema.Reject), condition)
	err = x.ask(ctx, sql, args, func(rows driver.Rows) error {
		var p part
		err := rows.Scan(&p.epoch, &p.partition, &p.from, &p.rejects)
		p.from *= span
		parts, all = append(parts, p), all+p.rejects
		return err
	})
	return parts, all, err
}

// eventKinds are those that a reject can become.
var eventKinds = slices.DeleteFunc(schema.Kinds(), func(k *schema.Kind) bool { return k == schema.Reject })

// already finds the events that rejects have become.
func (x *rejects) already(ctx context.Context) error {
	x.there = map[offset]bool{}
	for _, k := range eventKinds {
		err := x.ask(ctx, "SELECT k_epoch, k_part, k_off FROM "+x.table(k)+" WHERE k_topic = ?", []any{schema.Reject.Topic}, func(rows driver.Rows) error {
			var o offset
			err := rows.Scan(&o.epoch, &o.partition, &o.at)
			x.there[o] = true
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// part decodes the rejects of a part and inserts what they have become.
func (x *rejects) part(ctx context.Context, p part) error {
	x.offsets = map[*schema.Kind][]byte{}
	if err := x.read(ctx, p); err != nil {
		return fmt.Errorf("cannot read rejects: %w", err)
	}
	if !x.o.Insert {
		return nil
	}
	for _, k := range eventKinds {
		b := x.blocks[k]
		if b == nil || b.Rows() == 0 {
			continue
		}
		token := fmt.Sprintf("replay/%s/%d/%d/%d-%d/%08x", k.Name, p.epoch, p.partition, p.from, p.from+span, crc32.ChecksumIEEE(x.offsets[k]))
		if err := x.insert(ctx, b, token); err != nil {
			return fmt.Errorf("%w\nrun it again: what is there is not inserted twice", err)
		}
		x.r.Inserted += uint64(b.Rows())
	}
	return nil
}

func (x *rejects) read(ctx context.Context, p part) error {
	place := block.Place{Topic: schema.Reject.Topic, Epoch: p.epoch, Partition: p.partition}
	for _, k := range eventKinds {
		if x.blocks[k] == nil {
			x.blocks[k] = block.New(k)
		}
		x.blocks[k].Reset(place)
	}
	condition, args := x.where()
	// One that stands there twice, which the audit tells of, becomes one event.
	sql := "SELECT k_off, listener, transport, peer_ip, toUnixTimestamp64Milli(received_at), raw, frame_bytes FROM " + x.table(schema.Reject) +
		" WHERE " + condition + " AND k_epoch = ? AND k_part = ? AND k_off >= ? AND k_off < ? ORDER BY k_off LIMIT 1 BY k_off"
	return x.ask(ctx, sql, append(args, p.epoch, p.partition, p.from, p.from+span), func(rows driver.Rows) error {
		var f ingester.Stored
		var at, bytes uint64
		var raw string
		if err := rows.Scan(&at, &f.Listener, &f.Transport, &f.Peer, &f.Received, &raw, &bytes); err != nil {
			return err
		}
		f.Frame, f.Peer = []byte(raw), plain(f.Peer)
		return x.reject(offset{p.epoch, p.partition, at}, f, bytes)
	})
}

// reject decodes one.
func (x *rejects) reject(o offset, f ingester.Stored, bytes uint64) error {
	x.r.Rejects++
	switch {
	case x.there[o]:
		x.r.There++
		return nil
	case bytes > uint64(len(f.Frame)):
		x.r.Cut++
		return nil
	}
	e, reason, err := x.decoder.Decode(f)
	switch {
	case errors.Is(err, ingester.ErrListener):
		x.r.Strange[f.Listener]++
	case err != nil:
		return err
	case e == nil:
		x.r.Still[string(reason)]++
	default:
		x.r.Events[string(e.Text(schema.Format))]++
		x.blocks[e.Kind].Append(e, int64(o.at))
		x.offsets[e.Kind] = binary.LittleEndian.AppendUint64(x.offsets[e.Kind], o.at)
	}
	return nil
}
