package cmd

import (
	"encoding/json"
	"testing"

	"millrace/internal/capacity"
	"millrace/internal/config"
	"millrace/transformer"
)

func TestCapacity(t *testing.T) {
	t.Parallel()
	r := execute(t, "", "capacity", "--events-per-day", "864G", "--peak", "1", "--retention", "30d")
	r.contains(t, 0, "10,000,000 × 1", "864,000,000,000 a day / 86,400 s", "kept for 30d and until the week is over: up to 37d", "Measured: ")
	r = execute(t, "", "capacity", "--events-per-day", "86.4k", "--retention", "1d", "--format", "json")
	var p capacity.Plan
	if err := json.Unmarshal([]byte(r.out), &p); err != nil || r.code != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	if p.MeanPerSecond != 1 || p.PeakPerSecond != 3 || p.Ingesters != 2 || p.Shards != 1 || len(p.Steps) == 0 || p.Source == "" {
		t.Errorf("%+v", p)
	}
	own := file(t, "measured.json", `{"measurement": {"source": "my own machines", "machine": "a test", "cpu_seconds_per_million": {"ingester": 1, "kafka": 1, "transformer": 1, "clickhouse": 1},
		"bytes_per_event": {"frame": 1, "kafka": 1, "clickhouse": 1, "clickhouse_recompressed": 1}, "events_per_second_and_partition": 1, "linearity": {"ingester": 1, "transformer": 1}}}`)
	execute(t, "", "capacity", "--events-per-day", "1e6", "--retention", "1d", "--measured", own).contains(t, 0, "Measured: my own machines.")

	execute(t, "", "capacity", "--events-per-day", "1e6", "--retention", "1d", "--measured", file(t, "m.json", "{}")).contains(t, 1, "make bench-capacity writes one")
	execute(t, "", "capacity", "--events-per-day", "1e6", "--retention", "1d", "--measured", "nowhere").contains(t, 1, "cannot read the measurement: open nowhere")
	f := func(want string, args ...string) {
		t.Helper()
		execute(t, "", append([]string{"capacity"}, args...)...).contains(t, 2, want)
	}
	f("--events-per-day EVENTS and --retention TIME are needed", "--retention", "1d")
	f(`--events-per-day "many": allowed a number above 0`, "--events-per-day", "many", "--retention", "1d")
	f(`--events-per-day "-1": allowed`, "--events-per-day", "-1", "--retention", "1d")
	f(`--retention "7": allowed: how long, as 400d`, "--events-per-day", "1e6", "--retention", "7")
	f(`--kafka-retention "0s": allowed`, "--events-per-day", "1e6", "--retention", "1d", "--kafka-retention", "0s")
	f("--peak 0.5: the busiest second is not below the mean", "--events-per-day", "1e6", "--retention", "1d", "--peak", "0.5")
	f("--cores 0: allowed more than 0", "--events-per-day", "1e6", "--retention", "1d", "--cores", "0")
	f(`--format "csv": allowed table, json`, "--events-per-day", "1e6", "--retention", "1d", "--format", "csv")
}

// The arithmetic is of blocks as the transformer makes them.
func TestCapacity_Blocks(t *testing.T) {
	t.Parallel()
	d := config.Default().Transform
	if d.BlockRows != capacity.BlockRows || d.BlockAge != capacity.BlockAge || transformer.DefaultBlockRows != capacity.BlockRows {
		t.Errorf("a block is %d rows or %v old; capacity takes %d and %v", d.BlockRows, d.BlockAge, capacity.BlockRows, capacity.BlockAge)
	}
}
