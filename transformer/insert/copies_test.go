package insert

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/transformer/block"
)

// A replica is asked to catch up before it is asked anything. The test's server has no
// replicated tables, so that it refuses; it has read the statement.
func TestQuestion_ReplicaCatchesUpFirst(t *testing.T) {
	t.Parallel()
	c := open(t, options(t, clickhouse.CompressionNone), makeTables(t, embeddedtest.Connect(t, "")))
	ask := func() error {
		return c.Present(context.Background(), schema.Message, block.Place{Topic: "message", Epoch: 1}, 0, 10, func(int64, int64) {})
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	c.copies[schema.Message.Table] = true
	err := ask()
	if err == nil || !strings.Contains(err.Error(), "catch up") || !strings.Contains(err.Error(), "not replicated") {
		t.Error(err)
	}
	c.copies[schema.Message.Table] = false
	if err := ask(); err != nil {
		t.Error("after a refusal:", err)
	}
}

// Two servers that do not know of each other are no place for one partition's rows.
func TestCheck_SeveralAddresses(t *testing.T) {
	t.Parallel()
	database := makeTables(t, embeddedtest.Connect(t, ""))
	o := options(t, clickhouse.CompressionNone)
	if err := open(t, o, database).Check(context.Background(), schema.Kinds()); err != nil {
		t.Fatal(err)
	}
	o.Addr = append(o.Addr, embeddedtest.Second(t).NativeAddr)
	err := open(t, o, database).Check(context.Background(), schema.Kinds())
	if !errors.Is(err, ErrForgetful) || !strings.Contains(err.Error(), "clickhouse.shards") {
		t.Error(err)
	}
}
