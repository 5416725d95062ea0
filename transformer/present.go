package transformer

import (
	"context"
	"fmt"
	"log/slog"

	"millrace/schema"
	"millrace/transformer/block"
)

// offsets is a set of offsets of one range.
type offsets struct {
	from int64
	bits []uint64
}

// maxRange bounds a range whose offsets are asked for at once: 16 MiB of bits.
// A block cannot announce more.
const maxRange = 1 << 27

func (s *offsets) has(o int64) bool {
	i := o - s.from
	return i >= 0 && i>>6 < int64(len(s.bits)) && s.bits[i>>6]&(1<<(i&63)) != 0
}

func (s *offsets) add(o int64) bool {
	i := o - s.from
	if i < 0 || i>>6 >= int64(len(s.bits)) || s.bits[i>>6]&(1<<(i&63)) != 0 {
		return false
	}
	s.bits[i>>6] |= 1 << (i & 63)
	return true
}

// present asks ClickHouse which offsets of [from, to) have a row.
func (p *partition) present(ctx context.Context, from, to int64) (*offsets, int, error) {
	if to-from > maxRange {
		return nil, 0, fmt.Errorf("the range %d to %d of %s/%d is too long to ask ClickHouse about", from, to, p.topic, p.id)
	}
	s := &offsets{from: from, bits: make([]uint64, (to-from+63)/64)}
	n := 0
	err := p.rowsAt(ctx, p.asks, from, to, func(o, _ int64) {
		if s.add(o) {
			n++
		}
	})
	if err != nil {
		return nil, 0, err
	}
	return s, n, nil
}

func (p *partition) log() *slog.Logger {
	return p.t.log.With("topic", p.topic, "partition", p.id)
}

// each calls f for both blocks, or the one.
func (r rows) each(f func(*block.Block)) {
	f(r.main)
	if r.rejects != r.main {
		f(r.rejects)
	}
}

// offsets calls f with the offset of every row.
func (r rows) offsets(f func(int64)) {
	r.each(func(b *block.Block) {
		offsets := &b.Columns()[schema.KOff]
		for i := range b.Rows() {
			f(int64(offsets.Uint64(i)))
		}
	})
}

// times calls f with the offset of every row and when it was received.
func (r rows) times(f func(offset, receivedMillis int64)) {
	r.each(func(b *block.Block) {
		columns := b.Columns()
		offsets, times := &columns[schema.KOff], &columns[schema.ReceivedAt]
		for i := range b.Rows() {
			ms := int64(0)
			if !times.Empty() {
				ms = int64(times.Uint64(i))
			}
			f(int64(offsets.Uint64(i)), ms)
		}
	})
}
