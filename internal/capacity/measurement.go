package capacity

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Measurement is what one event costs.
type Measurement struct {
	Source  string `json:"source"` // where the figures come from
	Machine string `json:"machine"`

	// CPU seconds for a million events, user and kernel, beyond what brokers and ClickHouse
	// use when there are none.
	CPU struct {
		Ingester    float64 `json:"ingester"`
		Kafka       float64 `json:"kafka"` // all brokers together, with every copy
		Transformer float64 `json:"transformer"`
		ClickHouse  float64 `json:"clickhouse"` // merges included
	} `json:"cpu_seconds_per_million"`

	Bytes struct {
		Frame float64 `json:"frame"`
		Kafka float64 `json:"kafka"` // one copy, compressed
		// One copy, indexes included: of the first weeks, and recompressed.
		ClickHouse   float64 `json:"clickhouse"`
		Recompressed float64 `json:"clickhouse_recompressed"`
	} `json:"bytes_per_event"`

	// What one partition was seen to take in a second.
	Partition float64 `json:"events_per_second_and_partition"`

	// What a second and a third process brought: the rate of three, divided by three
	// times that of one.
	Linearity struct {
		Ingester    float64 `json:"ingester"`
		Transformer float64 `json:"transformer"`
	} `json:"linearity"`
}

//go:embed measured.json
var measured []byte

// Default is the measurement that comes with the program.
func Default() (*Measurement, error) { return Read(bytes.NewReader(measured)) }

// Read reads a measurement: the object "measurement" of a JSON file, which may hold more
// beside it, as that of `make bench-capacity` does.
func Read(r io.Reader) (*Measurement, error) {
	var file struct {
		Measurement *Measurement `json:"measurement"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, fmt.Errorf("cannot read the measurement: %w", err)
	}
	if file.Measurement == nil {
		return nil, errors.New("cannot read the measurement: the file has no object \"measurement\"; make bench-capacity writes one")
	}
	return file.Measurement, file.Measurement.Check()
}

// Check tells of the first figure that nothing can be planned by.
func (m *Measurement) Check() error {
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"cpu_seconds_per_million.ingester", m.CPU.Ingester},
		{"cpu_seconds_per_million.kafka", m.CPU.Kafka},
		{"cpu_seconds_per_million.transformer", m.CPU.Transformer},
		{"cpu_seconds_per_million.clickhouse", m.CPU.ClickHouse},
		{"bytes_per_event.frame", m.Bytes.Frame},
		{"bytes_per_event.kafka", m.Bytes.Kafka},
		{"bytes_per_event.clickhouse", m.Bytes.ClickHouse},
		{"bytes_per_event.clickhouse_recompressed", m.Bytes.Recompressed},
		{"events_per_second_and_partition", m.Partition},
		{"linearity.ingester", m.Linearity.Ingester},
		{"linearity.transformer", m.Linearity.Transformer},
	} {
		if !(f.value > 0) {
			return fmt.Errorf("cannot use the measurement: %s is %v, and must be more than 0; make bench-capacity measures it", f.name, f.value)
		}
	}
	return nil
}
