package transformer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/transformer/insert"
)

// Shard is a server, or several with copies of the same tables, that the rows of a share
// of the partitions go to.
type Shard struct {
	Name       string // noted with each block in Kafka; "" for the only one
	ClickHouse *clickhouse.Options
}

// shard is one at work. Each has its own connections and places for INSERTs, so that
// one that is away or slow does not keep the others waiting.
type shard struct {
	name     string
	server   *insert.ClickHouse
	inserter insert.Inserter
	inserts  chan struct{} // a place for each INSERT at a time
	health   health
	at       string
}

func openShard(s Shard, o *Options, log *slog.Logger) (*shard, error) {
	server, err := insert.Open(insert.Options{ClickHouse: s.ClickHouse, Database: o.Database, Settings: o.InsertSettings})
	if err != nil {
		return nil, err
	}
	x := &shard{name: s.Name, server: server, inserter: server, inserts: make(chan struct{}, o.Inserters), at: strings.Join(s.ClickHouse.Addr, ", ")}
	title := "ClickHouse"
	if s.Name != "" {
		title = "ClickHouse shard " + s.Name
	}
	x.health.init(log, title, errors.New(title+" has not answered yet"))
	return x, nil
}

// ping keeps the health true while there is nothing to insert.
func (s *shard) ping(ctx context.Context) {
	n := 0
	for sleep(ctx, time.Second) {
		ask, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := s.server.Ping(ask)
		cancel()
		if err != nil {
			err = fmt.Errorf("cannot reach ClickHouse at %s: %w", s.at, err)
		}
		if ctx.Err() != nil {
			return
		}
		// One failure may be a connection that an earlier server left behind.
		if n++; err == nil || n > 1 || s.health.get() != nil {
			s.health.set(err)
		}
		if err == nil {
			n = 0
		}
	}
}

func (t *Transformer) closeShards() {
	for _, s := range t.shards {
		s.server.Close()
	}
}

// shardOf is where a partition's rows go from now on.
func (t *Transformer) shardOf(partition int) *shard { return t.shards[partition%len(t.shards)] }

func (t *Transformer) shardNamed(name string) *shard {
	for _, s := range t.shards {
		if s.name == name {
			return s
		}
	}
	return nil
}

// chooseShards decides, of a partition that is assigned, which shards are asked for its rows, and
// where an announced block is finished: at the shard that it was announced for, which
// may have it already, and whose token it is.
//
// Usually all rows that are not confirmed can only be at the partition's own shard. When
// the list of shards is another than it was, or nobody knows what it was, they may be
// at any.
func (p *partition) chooseShards(f *found) error {
	p.home, p.asks = p.t.shardOf(p.id), p.t.shards
	if !f.marked {
		return nil
	}
	recorded := p.t.shardNamed(f.mark.shard)
	if recorded == p.home && !f.mark.wide {
		p.asks = []*shard{p.home}
	}
	if f.mark.end <= f.offset {
		return nil
	}
	if recorded == nil {
		where := fmt.Sprintf("shard %q, which clickhouse.shards does not name", f.mark.shard)
		if f.mark.shard == "" {
			where = "clickhouse.addresses, and now there are clickhouse.shards"
		}
		return fmt.Errorf("cannot finish the block of offsets %d to %d of %s/%d: its INSERT went to %s; run transform with the configuration that it had and stop it in order first",
			f.offset, f.mark.end, p.topic, p.id, where)
	}
	p.home = recorded
	return nil
}

// settleShards: nothing is left at any shard that is not confirmed.
func (p *partition) settleShards() {
	p.home = p.t.shardOf(p.id)
	p.asks = []*shard{p.home}
}

// askShards calls f for each shard; an error says that one of them cannot tell.
func (p *partition) askShards(shards []*shard, f func(*shard) error) error {
	for _, s := range shards {
		if err := p.asked(s, f(s)); err != nil {
			return err
		}
	}
	return nil
}

// newestRow is the newest epoch of the partition that has rows at any shard, and its
// last offset.
func (p *partition) newestRow(ctx context.Context) (epoch uint16, offset int64, any bool, err error) {
	err = p.askShards(p.t.shards, func(s *shard) error {
		e, o, ok, err := s.server.Last(ctx, p.kind, shortTopic(p.kind), uint16(p.id))
		if ok && (!any || e > epoch || e == epoch && o > offset) {
			epoch, offset, any = e, o, true
		}
		return err
	})
	return epoch, offset, any, err
}

// lastFrom is the last offset at or after from that has a row, or -1.
func (p *partition) lastFrom(ctx context.Context, from int64) (int64, error) {
	last := int64(-1)
	err := p.askShards(p.asks, func(s *shard) error {
		o, err := s.server.LastFrom(ctx, p.kind, p.place(), from)
		last = max(last, o)
		return err
	})
	return last, err
}

// rowsAt calls yield with every offset in [from, to) that has a row at one of the shards.
func (p *partition) rowsAt(ctx context.Context, shards []*shard, from, to int64, yield func(offset, receivedMillis int64)) error {
	return p.askShards(shards, func(s *shard) error { return s.server.Present(ctx, p.kind, p.place(), from, to, yield) })
}
