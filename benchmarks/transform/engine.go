package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/benchmarks/report"
	"millrace/schema"
)

// engineTable is ClickHouse's Kafka engine for one form of the records: the table that
// reads them, and what of it goes into our table.
type engineTable struct {
	topic    string
	settings string
	columns  []string
	values   map[string]string // by our column; what is not here stays at its default
}

// csvEngine reads what the template makes of a message. The values are turned into the
// types of our table and nothing more: none of what our decoder derives or checks.
var csvEngine = engineTable{
	topic: csvTopic, settings: "kafka_format = 'CSV', kafka_flush_interval_ms = 1000", // our transform.block_age
	columns: []string{"id", "filtering_host", "sender", "recipient", "domain", "timestamp", "sender_host", "helo", "sender_ip", "incoming_size", "outgoing_size",
		"status", "classification", "classification_details", "from_header", "to_header", "cc_header", "subject_header"},
	values: map[string]string{
		"received_at": "now64(3, 'UTC')", "event_time": "toDateTime64OrZero(s.timestamp, 3, 'UTC')", "id_time": "toDateTimeOrZero(s.timestamp, 'UTC')",
		"timestamp": "toDateTime64OrZero(s.timestamp, 3, 'UTC')", "sender_ip": "toIPv6OrDefault(s.sender_ip)",
		"incoming_size": "toUInt64OrZero(s.incoming_size)", "outgoing_size": "toUInt64OrZero(s.outgoing_size)",
	},
}

// statements make the engine's table and the view that starts it.
func (e engineTable) statements(database, broker string) []string {
	var columns, selected []string
	values := map[string]string{}
	for _, c := range e.columns {
		columns = append(columns, c+" String")
		values[c] = "s." + c
	}
	for name, v := range e.values {
		values[name] = v
	}
	for _, f := range schema.Message.Fields {
		switch f.Name {
		case "k_topic":
			values[f.Name] = "'message'"
		case "k_part":
			values[f.Name] = "s._partition"
		case "k_off":
			values[f.Name] = "s._offset"
		}
		if v, ok := values[f.Name]; ok {
			selected = append(selected, v+" AS "+f.Name)
		}
	}
	return []string{
		fmt.Sprintf("CREATE TABLE %s.source (%s) ENGINE = Kafka SETTINGS kafka_broker_list = '%s', kafka_topic_list = '%s', kafka_group_name = '%s', kafka_num_consumers = 1, %s",
			database, strings.Join(columns, ", "), broker, e.topic, database, e.settings),
		fmt.Sprintf("CREATE MATERIALIZED VIEW %s.into TO %s.%s AS SELECT %s FROM %s.source AS s",
			database, database, schema.Message.Table, strings.Join(selected, ", "), database),
	}
}

// kafkaEngine is ClickHouse by itself: from the making of the view to the last row.
func (b *bench) kafkaEngine(ctx context.Context, broker *kfake.Cluster, e engineTable) (report.Metrics, error) {
	database, drop, err := b.server.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	return b.span(ctx, database, func() error {
		for _, s := range e.statements(database, broker.ListenAddrs()[0]) {
			if err := b.server.conn.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}
