package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"millrace/internal/capacity"
	"millrace/internal/config"
)

func newCapacity() *cobra.Command {
	var events, retention, kafkaRetention, measured, format string
	var peak float64
	var on capacity.Machine
	c := &cobra.Command{
		Use:   "capacity",
		Short: "Tell how many ingesters, brokers, transformers, shards and disks a load needs",
		Long: `Tell how many ingesters, brokers, partitions, transformers, shards and how much disk a number of events a day needs,
with the arithmetic of each figure. What an event costs is measured: without --measured it is the measurement that comes
with the program, whose source is named below the table; make bench-capacity makes one of your machines.
It asks nobody and changes nothing.`,
		Example: `  millrace capacity --events-per-day 500M --retention 400d
  millrace capacity --events-per-day 864G --peak 1 --retention 30d --cores 32 --network 25 --disk 30
  millrace capacity --events-per-day 2G --retention 90d --measured benchmarks/results/capacity-VERSION.json --format json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if events == "" || retention == "" {
				return usagef("--events-per-day EVENTS and --retention TIME are needed")
			}
			d := capacity.Demand{Peak: peak}
			var err error
			if d.EventsPerDay, err = parseCount(events); err != nil {
				return usagef("--events-per-day %q: %w", events, err)
			}
			if d.Retention, err = config.ParseDuration(retention); err != nil || d.Retention <= 0 {
				return usagef("--retention %q: allowed: how long, as 400d", retention)
			}
			if d.KafkaRetention, err = config.ParseDuration(kafkaRetention); err != nil || d.KafkaRetention <= 0 {
				return usagef("--kafka-retention %q: allowed: how long, as 48h", kafkaRetention)
			}
			if !(peak >= 1) {
				return usagef("--peak %v: the busiest second is not below the mean: allowed 1 or more", peak)
			}
			for _, f := range []struct {
				name  string
				value float64
			}{{"cores", on.Cores}, {"network", on.Network}, {"disk", on.Disk}} {
				if !(f.value > 0) {
					return usagef("--%s %v: allowed more than 0", f.name, f.value)
				}
			}
			if format != "table" && format != "json" {
				return usagef("--format %q: allowed table, json", format)
			}
			m, err := readMeasurement(measured)
			if err != nil {
				return err
			}
			plan := capacity.For(d, capacity.Machine{Cores: on.Cores, Network: on.Network * 1e9 / 8, Disk: on.Disk * 1e12}, m)
			if format == "json" {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(plan)
			}
			return plan.Write(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&events, "events-per-day", "", "how many `EVENTS` come in a day: 500M, 2G, 864e9 (k, M, G: 1e3, 1e6, 1e9)")
	f.StringVar(&retention, "retention", "", "how long ClickHouse keeps them, as `400d`")
	f.StringVar(&measured, "measured", "", "what an event costs: JSON `FILE` of make bench-capacity")
	f.Float64Var(&peak, "peak", 3, "the busiest second is so many times the mean")
	f.StringVar(&kafkaRetention, "kafka-retention", "48h", "how long Kafka keeps them: how long ClickHouse may be away")
	f.Float64Var(&on.Cores, "cores", 8, "cores of each machine")
	f.Float64Var(&on.Network, "network", 10, "network of each machine, `GBIT` a second")
	f.Float64Var(&on.Disk, "disk", 8, "disk of each broker and ClickHouse server, `TB`")
	f.StringVar(&format, "format", "table", "how to print it: table, json")
	oneOfFlag(c, "format", "table", "json")
	_ = c.MarkFlagFilename("measured", "json")
	return c
}

// readMeasurement reads that of a file, or the one that comes with the program.
func readMeasurement(file string) (*capacity.Measurement, error) {
	if file == "" {
		return capacity.Default()
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the measurement: %w", err)
	}
	defer f.Close()
	m, err := capacity.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// parseCount reads a number of events: 864000000000, 864e9, 864G.
func parseCount(text string) (float64, error) {
	digits, unit := text, 1.0
	for suffix, u := range map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			digits, unit = rest, u
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n > 0) || n*unit > 1e18 {
		return 0, errors.New("allowed a number above 0, as 500M, 2G or 864e9")
	}
	return n * unit, nil
}
