package capacity

import (
	"fmt"
	"math"
	"time"
)

// Demand is what is asked for.
type Demand struct {
	EventsPerDay   float64
	Peak           float64       // the busiest second, in terms of the mean
	Retention      time.Duration // of the rows
	KafkaRetention time.Duration // of the records
}

// Machine is what each of the machines has.
type Machine struct {
	Cores   float64 // of an ingester, a broker, a transformer, a ClickHouse server
	Network float64 // bytes a second, in each direction
	Disk    float64 // bytes, of a broker and of a ClickHouse server
}

// What a plan takes for granted. The reserve is for what a mean does not show: garbage
// collection, merges that come together, a retransmission, growth until somebody looks.
const (
	Busy         = 0.6 // how much of cores and network the peak may use
	Full         = 0.7 // how much of a disk: merges need room for a second copy of a part
	KafkaCopies  = 3
	RowCopies    = 2
	leastBrokers = KafkaCopies + 1 // one may be away, and there are still three copies

	// BlockRows and BlockAge are the transformer's defaults: when an insert leaves.
	BlockRows = 250_000
	BlockAge  = time.Second
	// A row is kept until its week is over and then for the retention, and recompressed a
	// week after its week: schema.Kind.TTL.
	Week  = 7 * 24 * time.Hour
	Fresh = 2 * Week
	// Window is how many inserts a table of ours remembers.
	Window = 10_000
)

// Plan is how many of each, and how that was found.
type Plan struct {
	MeanPerSecond float64 `json:"events_per_second_mean"`
	PeakPerSecond float64 `json:"events_per_second_peak"`
	Ingesters     int     `json:"ingesters"`
	Brokers       int     `json:"brokers"`
	Partitions    int     `json:"partitions"`
	Transformers  int     `json:"transformers"`
	Shards        int     `json:"shards"`
	Servers       int     `json:"clickhouse_servers"`
	KafkaBytes    float64 `json:"kafka_bytes"`      // on all brokers' disks
	RowBytes      float64 `json:"clickhouse_bytes"` // on all servers' disks
	SyslogBytes   float64 `json:"syslog_bytes_per_second"`

	Steps  []Step `json:"steps"`
	Source string `json:"source"`
}

// Step is one figure and its arithmetic, a line for each thing that was looked at.
type Step struct {
	What string   `json:"what"`
	Is   string   `json:"is"`
	How  []string `json:"how"`
}

// For makes the plan.
func For(d Demand, on Machine, m *Measurement) *Plan {
	p := &Plan{Source: m.Source}
	p.rates(d)
	p.ingesters(on, m)
	p.brokers(d, on, m)
	p.transformers(on, m)
	p.shards(d, on, m)
	p.partitions(on, m)
	return p
}

func (p *Plan) step(what, is string, how ...string) {
	p.Steps = append(p.Steps, Step{what, is, how})
}

func (p *Plan) rates(d Demand) {
	p.MeanPerSecond = d.EventsPerDay / (24 * time.Hour).Seconds()
	p.PeakPerSecond = p.MeanPerSecond * d.Peak
	p.step("events/s, mean", number(p.MeanPerSecond), fmt.Sprintf("%s a day / 86,400 s", number(d.EventsPerDay)))
	p.step("events/s, peak", number(p.PeakPerSecond), fmt.Sprintf("%s × %s", number(p.MeanPerSecond), number(d.Peak)))
}

// byCPU is how many machines the peak's processor time fills. One that is joined by
// others may do less than alone: linear says how much is left of it.
func (p *Plan) byCPU(perMillion, linear float64, on Machine) (float64, string) {
	cores := p.PeakPerSecond * perMillion / 1e6
	n := cores / (on.Cores * Busy)
	how := fmt.Sprintf("CPU: %s/s × %s CPU-s a million = %s cores; / (%s cores × %s", number(p.PeakPerSecond), number(perMillion), number(cores), number(on.Cores), number(Busy))
	if linear < 1 {
		n /= linear
		how += " × linearity " + number(linear)
	}
	return n, fmt.Sprintf("%s) = %s", how, number(n))
}

// byNetwork is how many machines a stream fills: copies of it cross the network.
func (p *Plan) byNetwork(what string, bytes, copies float64, on Machine) (float64, string) {
	n := p.PeakPerSecond * bytes * copies / (on.Network * Busy)
	times := ""
	if copies != 1 {
		times = fmt.Sprintf(" × %s", number(copies))
	}
	return n, fmt.Sprintf("network: %s: %s/s × %s B%s = %s/s; / (%s/s × %s) = %s",
		what, number(p.PeakPerSecond), number(bytes), times, size(p.PeakPerSecond*bytes*copies), size(on.Network), number(Busy), number(n))
}

// byDisk is how many disks the bytes fill.
func byDisk(bytes float64, on Machine) (float64, string) {
	n := bytes / (on.Disk * Full)
	return n, fmt.Sprintf("disk: %s / (%s × %s) = %s", size(bytes), size(on.Disk), number(Full), number(n))
}

// whole rounds up, and not because of a rounding error.
func whole(n float64) int { return int(math.Ceil(n - 1e-9)) }

func (p *Plan) ingesters(on Machine, m *Measurement) {
	cpu, how := p.byCPU(m.CPU.Ingester, m.Linearity.Ingester, on)
	network, howNetwork := p.byNetwork("frames in", m.Bytes.Frame, 1, on)
	p.SyslogBytes = p.PeakPerSecond * m.Bytes.Frame
	p.Ingesters = max(1, whole(cpu), whole(network)) + 1
	p.step("ingesters", fmt.Sprint(p.Ingesters), how, howNetwork, "and one that may be away")
}

func (p *Plan) brokers(d Demand, on Machine, m *Measurement) {
	p.KafkaBytes = p.MeanPerSecond * m.Bytes.Kafka * KafkaCopies * d.KafkaRetention.Seconds()
	cpu, how := p.byCPU(m.CPU.Kafka, 1, on)
	// In: from the ingesters once, from the leaders for each other copy. Out: the other
	// copies, and once to the transformers. Both are as much.
	network, howNetwork := p.byNetwork(fmt.Sprintf("records, %d copies", KafkaCopies), m.Bytes.Kafka, KafkaCopies, on)
	disk, howDisk := byDisk(p.KafkaBytes, on)
	p.Brokers = max(leastBrokers, whole(max(cpu, network, disk))+1)
	p.step("disk, Kafka", size(p.KafkaBytes), fmt.Sprintf("%s/s × %s B × %d copies × %s", number(p.MeanPerSecond), number(m.Bytes.Kafka), KafkaCopies, span(d.KafkaRetention)))
	p.step("brokers", fmt.Sprint(p.Brokers), how, howNetwork, howDisk, fmt.Sprintf("and one that may be away, %d at least", leastBrokers))
}

func (p *Plan) transformers(on Machine, m *Measurement) {
	cpu, how := p.byCPU(m.CPU.Transformer, m.Linearity.Transformer, on)
	// A row's columns without compression are about as long as its frame.
	network, howNetwork := p.byNetwork("rows out, not compressed", m.Bytes.Frame, 1, on)
	p.Transformers = max(1, whole(cpu), whole(network)) + 1
	p.step("transformers", fmt.Sprint(p.Transformers), how, howNetwork, "and one that may be away")
}

func (p *Plan) shards(d Demand, on Machine, m *Measurement) {
	kept := d.Retention + Week
	fresh := min(kept, Fresh)
	one := p.MeanPerSecond * (m.Bytes.ClickHouse*fresh.Seconds() + m.Bytes.Recompressed*(kept-fresh).Seconds())
	p.RowBytes = one * RowCopies
	cpu, how := p.byCPU(m.CPU.ClickHouse, 1, on)
	disk, howDisk := byDisk(one, on)
	p.Shards = max(1, whole(max(cpu, disk)))
	p.Servers = p.Shards * RowCopies
	p.step("disk, ClickHouse", size(p.RowBytes),
		fmt.Sprintf("kept for %s and until the week is over: up to %s", span(d.Retention), span(kept)),
		fmt.Sprintf("%s/s × (%s B × %s + %s B recompressed × %s) × %d copies", number(p.MeanPerSecond), number(m.Bytes.ClickHouse), span(fresh), number(m.Bytes.Recompressed), span(kept-fresh), RowCopies))
	p.step("shards", fmt.Sprint(p.Shards), how+" (every copy merges)", howDisk)
	p.step("ClickHouse servers", fmt.Sprint(p.Servers), fmt.Sprintf("%d shards × %d copies", p.Shards, RowCopies))
}

// partitions: as many for each shard, so that a shard takes whole partitions.
func (p *Plan) partitions(on Machine, m *Measurement) {
	rate := p.PeakPerSecond / (m.Partition * Busy)
	members := p.Transformers
	least := max(whole(rate), members)
	each := whole(float64(least) / float64(p.Shards))
	p.Partitions = each * p.Shards
	perPartition := p.PeakPerSecond / float64(p.Partitions)
	inserts := float64(each) * max(1/BlockAge.Seconds(), perPartition/BlockRows)
	p.step("partitions of a topic", fmt.Sprint(p.Partitions),
		fmt.Sprintf("rate: %s/s / (%s/s × %s) = %s", number(p.PeakPerSecond), number(m.Partition), number(Busy), number(rate)),
		fmt.Sprintf("each of %d transformers has one at least", members),
		fmt.Sprintf("a multiple of %d shards: %d × %d", p.Shards, p.Shards, each))
	p.step("inserts/s of a shard", number(inserts),
		fmt.Sprintf("%d partitions × the more of 1 in %s and %s rows/s / %s rows", each, BlockAge, number(perPartition), number(BlockRows)),
		fmt.Sprintf("the window of %s inserts is %s long", number(Window), span(time.Duration(Window/inserts*float64(time.Second)).Truncate(time.Minute))))
}
