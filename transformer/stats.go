package transformer

import (
	"sort"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/schema"
)

// Stats count what a transformer has done since it was made.
type Stats struct {
	FetchedRecords   atomic.Uint64 // records read, refused ones included
	FetchedBytes     atomic.Uint64 // bytes of record batches read
	RefusedRecords   atomic.Uint64 // records that were no event: rows of rejects
	Inserts          atomic.Uint64 // INSERTs that succeeded
	InsertErrors     atomic.Uint64 // attempts that failed
	Reannounced      atomic.Uint64 // intents announced again because the lease was over
	RecoveredIntents atomic.Uint64 // intents of an earlier owner, finished
	ReconciledRows   atomic.Uint64 // rows found missing by asking ClickHouse, and inserted
	FoundRows        atomic.Uint64 // rows found present while recovering or reconciling, not inserted again
	Fenced           atomic.Uint64 // generations left because a commit was refused
	UnknownCommits   atomic.Uint64 // generations left because a commit's outcome was unknown
	Generations      atomic.Uint64 // generations joined
	NewEpochs        atomic.Uint64 // topics found to have been made again
	LostRecords      atomic.Uint64 // offsets that Kafka removed before they were inserted
	HeldBytes        atomic.Int64  // fetched and not yet inserted, now
	BlockedParts     atomic.Int64  // partitions whose block ClickHouse refuses now
	StalledParts     atomic.Int64  // partitions with records left that have inserted none for long

	rows    map[string]*atomic.Uint64 // by table; fixed after newStats
	seconds prometheus.Histogram

	mutex      sync.Mutex
	partitions map[topicPartition]*partitionStats
}

type topicPartition struct {
	topic     string
	partition int
}

// partitionStats are one partition's, kept when it is assigned to another member.
type partitionStats struct {
	assigned  atomic.Bool
	end       atomic.Int64 // high watermark, -1 not known
	inserted  atomic.Int64 // everything before is in ClickHouse, -1 not known
	confirmed atomic.Int64 // the same, acknowledged by Kafka
	doing     atomic.Value // string: what it is about
	trouble   atomic.Value // string: its last failure
}

// saw notes the end of the partition's log, which different answers may tell in
// any order. A log that was made again is shorter: recovery sets its end.
func (p *partitionStats) saw(end int64) {
	for was := p.end.Load(); end > was && !p.end.CompareAndSwap(was, end); was = p.end.Load() {
	}
}

func newStats(kinds []*schema.Kind) *Stats {
	s := &Stats{
		rows:       map[string]*atomic.Uint64{schema.Reject.Table: {}},
		partitions: map[topicPartition]*partitionStats{},
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_insert_seconds", Help: "Time of one INSERT into ClickHouse, failed attempts included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}),
	}
	for _, k := range kinds {
		if s.rows[k.Table] == nil {
			s.rows[k.Table] = new(atomic.Uint64)
		}
	}
	return s
}

// Rows is how many rows were inserted into the table.
func (s *Stats) Rows(table string) uint64 {
	if n := s.rows[table]; n != nil {
		return n.Load()
	}
	return 0
}

func (s *Stats) partition(topic string, partition int) *partitionStats {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	k := topicPartition{topic, partition}
	p := s.partitions[k]
	if p == nil {
		p = new(partitionStats)
		p.end.Store(-1)
		p.inserted.Store(-1)
		p.confirmed.Store(-1)
		s.partitions[k] = p
	}
	return p
}

// Lag is one partition's distance between its end in Kafka and what is in ClickHouse.
type Lag struct {
	Topic     string
	Partition int
	Records   int64
}

// Lags are those of the partitions assigned to this member.
func (s *Stats) Lags() []Lag {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var lags []Lag
	for k, p := range s.partitions {
		end, inserted := p.end.Load(), p.inserted.Load()
		if p.assigned.Load() && end >= 0 && inserted >= 0 {
			lags = append(lags, Lag{k.topic, k.partition, max(end-inserted, 0)})
		}
	}
	sort.Slice(lags, func(i, j int) bool {
		if lags[i].Topic != lags[j].Topic {
			return lags[i].Topic < lags[j].Topic
		}
		return lags[i].Partition < lags[j].Partition
	})
	return lags
}

// Describe and Collect make Stats a prometheus.Collector.
func (s *Stats) Describe(ch chan<- *prometheus.Desc) {
	ch <- rowsDesc
	ch <- lagDesc
	for _, m := range counters {
		ch <- m.desc
	}
	ch <- blockedDesc
	ch <- stalledDesc
	ch <- heldDesc
	s.seconds.Describe(ch)
}

var (
	rowsDesc    = prometheus.NewDesc("millrace_rows_inserted_total", "Rows inserted into ClickHouse.", []string{"table"}, nil)
	lagDesc     = prometheus.NewDesc("millrace_consumer_lag", "Records of an assigned partition that are not in ClickHouse yet.", []string{"topic", "partition"}, nil)
	heldDesc    = prometheus.NewDesc("millrace_buffered_bytes", "Bytes fetched from Kafka and not in ClickHouse yet.", nil, nil)
	stalledDesc = prometheus.NewDesc("millrace_partitions_stalled", "Assigned partitions with records left that have inserted none for half a minute.", nil, nil)
	blockedDesc = prometheus.NewDesc("millrace_partitions_blocked", "Partitions that wait because ClickHouse refuses their block.", nil, nil)
)

type counter struct {
	desc  *prometheus.Desc
	value func(*Stats) *atomic.Uint64
}

func newCounter(name, help string, value func(*Stats) *atomic.Uint64) counter {
	return counter{prometheus.NewDesc(name, help, nil, nil), value}
}

var counters = []counter{
	newCounter("millrace_records_fetched_total", "Records read from Kafka.", func(s *Stats) *atomic.Uint64 { return &s.FetchedRecords }),
	newCounter("millrace_fetched_bytes_total", "Bytes of record batches read from Kafka.", func(s *Stats) *atomic.Uint64 { return &s.FetchedBytes }),
	newCounter("millrace_records_refused_total", "Records that were no event of their topic's kind; they are rows of rejects.", func(s *Stats) *atomic.Uint64 { return &s.RefusedRecords }),
	newCounter("millrace_inserts_total", "INSERTs that succeeded.", func(s *Stats) *atomic.Uint64 { return &s.Inserts }),
	newCounter("millrace_insert_errors_total", "Attempts to insert that failed and were repeated.", func(s *Stats) *atomic.Uint64 { return &s.InsertErrors }),
	newCounter("millrace_intents_reannounced_total", "Intents announced again because their lease was over.", func(s *Stats) *atomic.Uint64 { return &s.Reannounced }),
	newCounter("millrace_intents_recovered_total", "Open intents of an earlier owner that were finished.", func(s *Stats) *atomic.Uint64 { return &s.RecoveredIntents }),
	newCounter("millrace_rows_reconciled_total", "Rows found missing by asking ClickHouse, and inserted.", func(s *Stats) *atomic.Uint64 { return &s.ReconciledRows }),
	newCounter("millrace_rows_found_total", "Rows found present while recovering, and not inserted again.", func(s *Stats) *atomic.Uint64 { return &s.FoundRows }),
	newCounter("millrace_generations_fenced_total", "Group generations left because Kafka refused a commit.", func(s *Stats) *atomic.Uint64 { return &s.Fenced }),
	newCounter("millrace_commits_unknown_total", "Group generations left because a commit's outcome was unknown.", func(s *Stats) *atomic.Uint64 { return &s.UnknownCommits }),
	newCounter("millrace_generations_total", "Group generations joined.", func(s *Stats) *atomic.Uint64 { return &s.Generations }),
	newCounter("millrace_topic_epochs_total", "Partitions found to belong to a topic that was made again.", func(s *Stats) *atomic.Uint64 { return &s.NewEpochs }),
	newCounter("millrace_records_lost_total", "Offsets that Kafka's retention removed before they were inserted.", func(s *Stats) *atomic.Uint64 { return &s.LostRecords }),
}

// Collect implements prometheus.Collector.
func (s *Stats) Collect(ch chan<- prometheus.Metric) {
	for table, n := range s.rows {
		ch <- prometheus.MustNewConstMetric(rowsDesc, prometheus.CounterValue, float64(n.Load()), table)
	}
	for _, l := range s.Lags() {
		ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(l.Records), l.Topic, strconv.Itoa(l.Partition))
	}
	for _, c := range counters {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.value(s).Load()))
	}
	ch <- prometheus.MustNewConstMetric(blockedDesc, prometheus.GaugeValue, float64(s.BlockedParts.Load()))
	ch <- prometheus.MustNewConstMetric(stalledDesc, prometheus.GaugeValue, float64(s.StalledParts.Load()))
	ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(s.HeldBytes.Load()))
	s.seconds.Collect(ch)
}
