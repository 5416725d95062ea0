package embeddedtest_test

import (
	"context"
	"os"
	"testing"

	"millrace/internal/embedded/embeddedtest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

func TestDatabase_IsEmptyAndWritable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	database := embeddedtest.Database(t)
	conn := embeddedtest.Connect(t, database)
	for _, q := range []string{
		"CREATE TABLE t (a UInt64, b LowCardinality(String)) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
		"CREATE VIEW v AS SELECT a FROM t",
		"CREATE TABLE sums (a UInt64) ENGINE = SummingMergeTree ORDER BY a",
		"CREATE MATERIALIZED VIEW mv TO sums AS SELECT a FROM t",
		"CREATE MATERIALIZED VIEW r REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY a AS SELECT a FROM t",
		"INSERT INTO t SELECT number, 'x' FROM numbers(1000)",
		"ALTER TABLE t ADD COLUMN c String",
		"OPTIMIZE TABLE t FINAL",
		"SYSTEM STOP MERGES t",
		"SYSTEM START MERGES t",
		"SYSTEM FLUSH LOGS",
		"ALTER TABLE t DROP PARTITION tuple()",
	} {
		if err := conn.Exec(ctx, q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func TestBroker_HasItsTopics(t *testing.T) {
	t.Parallel()
	broker := embeddedtest.Broker(t, "a", "b")
	for _, topic := range []string{"a", "b"} {
		if got := len(broker.Cluster().PartitionInfos(topic)); got != embeddedtest.Partitions {
			t.Fatalf("topic %q has %d partitions, want %d", topic, got, embeddedtest.Partitions)
		}
	}
}
