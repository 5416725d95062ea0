package capacity

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// easy is a measurement of round figures.
func easy() *Measurement {
	m := &Measurement{Source: "a test", Partition: 100_000}
	m.CPU.Ingester, m.CPU.Kafka, m.CPU.Transformer, m.CPU.ClickHouse = 2, 1, 1, 6
	m.Bytes.Frame, m.Bytes.Kafka, m.Bytes.ClickHouse, m.Bytes.Recompressed = 400, 100, 50, 25
	m.Linearity.Ingester, m.Linearity.Transformer = 1, 1
	return m
}

var large = Machine{Cores: 10, Network: 1e9, Disk: 10e12}

func TestFor(t *testing.T) {
	t.Parallel()
	// A million a second, and twice that at the peak.
	d := Demand{EventsPerDay: 86.4e9, Peak: 2, Retention: 21 * day, KafkaRetention: day}
	f := func(change func(*Demand, *Machine, *Measurement), want Plan) {
		t.Helper()
		d, on, m := d, large, easy()
		if change != nil {
			change(&d, &on, m)
		}
		p := For(d, on, m)
		for _, s := range p.Steps {
			if s.What == "" || s.Is == "" || len(s.How) == 0 {
				t.Errorf("a step without its arithmetic: %+v", s)
			}
		}
		p.Steps, p.Source = nil, ""
		got, _ := json.Marshal(p)
		expected, _ := json.Marshal(want)
		if !bytes.Equal(got, expected) {
			t.Errorf("got  %s\nwant %s", got, expected)
		}
	}
	// Ingesters: 4 cores of 6, frames 0.8 GB/s of 0.6. Brokers: 2 cores of 6, 0.6 GB/s of 0.6, 25.92 TB of 7. Shards: 12 cores of 6,
	// 90.72 TB of 7: two weeks of 50 bytes and two of 25. Partitions: 2M/s of 60,000 are 34, a multiple of 13.
	f(nil, Plan{MeanPerSecond: 1e6, PeakPerSecond: 2e6, Ingesters: 3, Brokers: 5, Partitions: 39, Transformers: 3, Shards: 13, Servers: 26,
		KafkaBytes: 25.92e12, RowBytes: 181.44e12, SyslogBytes: 8e8})
	// One core: the processor decides. 4 of 0.6, 2 of 0.6, 2 of 0.6, 12 of 0.6.
	f(func(_ *Demand, on *Machine, _ *Measurement) { on.Cores = 1 }, Plan{MeanPerSecond: 1e6, PeakPerSecond: 2e6, Ingesters: 8, Brokers: 5, Partitions: 40,
		Transformers: 5, Shards: 20, Servers: 40, KafkaBytes: 25.92e12, RowBytes: 181.44e12, SyslogBytes: 8e8})
	// What a second one does not bring is more machines: 4 / 0.3.
	f(func(_ *Demand, on *Machine, m *Measurement) { on.Cores, m.Linearity.Ingester = 1, 0.5 }, Plan{MeanPerSecond: 1e6, PeakPerSecond: 2e6, Ingesters: 15, Brokers: 5,
		Partitions: 40, Transformers: 5, Shards: 20, Servers: 40, KafkaBytes: 25.92e12, RowBytes: 181.44e12, SyslogBytes: 8e8})
	// A small site: one of each, and one that may be away.
	f(func(d *Demand, _ *Machine, _ *Measurement) { d.EventsPerDay, d.Peak = 86_400, 1 }, Plan{MeanPerSecond: 1, PeakPerSecond: 1, Ingesters: 2, Brokers: 4, Partitions: 2,
		Transformers: 2, Shards: 1, Servers: 2, KafkaBytes: 25.92e6, RowBytes: 181.44e6, SyslogBytes: 400})
	// Each transformer has a partition, also where these are few.
	f(func(d *Demand, _ *Machine, m *Measurement) { d.Peak, m.CPU.Transformer, m.Partition = 1, 60, 1e9 }, Plan{MeanPerSecond: 1e6, PeakPerSecond: 1e6, Ingesters: 2, Brokers: 5,
		Partitions: 13, Transformers: 11, Shards: 13, Servers: 26, KafkaBytes: 25.92e12, RowBytes: 181.44e12, SyslogBytes: 4e8})
}

func TestWrite(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := For(Demand{EventsPerDay: 86.4e9, Peak: 2, Retention: 21 * day, KafkaRetention: day}, large, easy()).Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1,000,000 × 2",
		"CPU: 2,000,000/s × 2 CPU-s a million = 4 cores; / (10 cores × 0.6) = 0.667",
		"network: frames in: 2,000,000/s × 400 B = 800 MB/s; / (1 GB/s × 0.6) = 1.33",
		"1,000,000/s × 100 B × 3 copies × 24h",
		"1,000,000/s × (50 B × 14d + 25 B recompressed × 14d) × 2 copies",
		"disk: 90.7 TB / (10 TB × 0.7) = 13",
		"a multiple of 13 shards: 13 × 3",
		"3 partitions × the more of 1 in 1s and 51,282 rows/s / 250,000 rows",
		"the window of 10,000 inserts is 55m long",
		"Measured: a test.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

// The measurement that comes with the program is whole, and says whose it is.
func TestDefault(t *testing.T) {
	t.Parallel()
	m, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(m.Source, "docs/performance.md") || m.Machine == "" {
		t.Errorf("%+v", m)
	}
}

func TestRead_Failure(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if _, err := Read(strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	f("{}", `cannot read the measurement: the file has no object "measurement"; make bench-capacity writes one`)
	f(`{"measurement": {}}`, "cannot use the measurement: cpu_seconds_per_million.ingester is 0, and must be more than 0; make bench-capacity measures it")
	f("x", "cannot read the measurement: invalid character 'x' looking for beginning of value")
	m := easy()
	m.Linearity.Transformer = -1
	text, err := json.Marshal(map[string]any{"measurement": m, "more": 1})
	if err != nil {
		t.Fatal(err)
	}
	f(string(text), "cannot use the measurement: linearity.transformer is -1, and must be more than 0; make bench-capacity measures it")
}
