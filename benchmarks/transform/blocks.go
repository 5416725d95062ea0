package main

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/benchmarks/report"
	"millrace/schema"
	"millrace/transformer"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// blocks inserts the rows of the topic as blocks that were made before: what the server
// needs at least. This process's own part is not measured.
func (b *bench) blocks(ctx context.Context, broker *kfake.Cluster, compression clickhouse.CompressionMethod) (report.Metrics, error) {
	ready, err := b.ready(ctx, broker)
	if err != nil {
		return nil, err
	}
	database, drop, err := b.server.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	c, err := insert.Open(insert.Options{ClickHouse: b.server.options(compression), Database: database})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return b.span(ctx, database, func() error {
		for i, x := range ready {
			if err := c.Insert(ctx, x, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// ready reads the topic into blocks of the transformer's size.
func (b *bench) ready(ctx context.Context, broker *kfake.Cluster) (all []*block.Block, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.ConsumeTopics(ourTopic))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	open := map[int32]*block.Block{}
	for n := 0; n < b.o.rows && err == nil; {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, err
		}
		fetched.EachRecord(func(r *kgo.Record) {
			x := open[r.Partition]
			if x == nil || x.Rows() == transformer.DefaultBlockRows {
				x = block.New(schema.Message)
				x.Reset(block.Place{Topic: schema.Message.Topic, Partition: uint16(r.Partition)})
				open[r.Partition] = x
				all = append(all, x)
			}
			if !x.AppendRecord(r.Value, r.Offset) {
				err = fmt.Errorf("record %d of partition %d is none of the ingester's", r.Offset, r.Partition)
			}
			n++
		})
	}
	return all, err
}
