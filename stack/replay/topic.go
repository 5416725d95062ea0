package replay

import (
	"context"
	"log/slog"

	"millrace/schema"
	"millrace/transformer"
)

// TopicOptions say which records of a topic are read again.
type TopicOptions struct {
	Options
	Kind      *schema.Kind // whose topic
	Partition int          // -1: all
	From, To  transformer.RefillBound
}

// Topic reads records of Kafka again and inserts those that have no row in ClickHouse. It
// can be run again after an error, and beside transformers at work.
func Topic(ctx context.Context, o TopicOptions) (transformer.RefillResult, error) {
	t, err := transformer.FromConfig(o.Config, slog.New(slog.DiscardHandler))
	if err != nil {
		return transformer.RefillResult{}, err
	}
	return t.Refill(ctx, transformer.RefillOptions{
		Kind: o.Kind, Partition: o.Partition, From: o.From, To: o.To, Insert: o.Insert, Progress: o.Progress,
	})
}
