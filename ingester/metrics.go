package ingester

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/ingester/peers"
	"millrace/schema"
)

// The metrics. Their names are a contract: dashboards and alerts rest on them.
var (
	descReceived  = desc("millrace_frames_received_total", "Frames that reached the listener, those that the kernel dropped included.", "listener")
	descPublished = desc("millrace_frames_published_total", "Frames whose event Kafka has acknowledged.", "listener")
	descJoined    = desc("millrace_frames_joined_total", "Lines that are in an event that another line was counted for: of a message's or an attempt's lines all but one.", "listener")
	descRejected  = desc("millrace_frames_rejected_total", "Frames whose reject Kafka has acknowledged.", "listener", "reason")
	descDropped   = desc("millrace_frames_dropped_total", "Frames of which nothing is kept.", "listener", "reason")
	descInFlight  = desc("millrace_frames_in_flight", "Frames taken and not yet acknowledged by Kafka.", "listener")
	descLast      = desc("millrace_source_last_event_timestamp_seconds", "When the listener's last frame came; 0: none since the start.", "listener")
	descBytes     = desc("millrace_listener_bytes_total", "Bytes read from the listener's sockets.", "listener")
	descOpen      = desc("millrace_listener_connections", "Open connections.", "listener")
	descRefused   = desc("millrace_listener_connections_refused_total", "Connections beyond listeners[].max_connections and max_connections_per_peer.", "listener")
	descHeaders   = desc("millrace_listener_proxy_header_failures_total", "Connections from listeners[].proxy_from that did not begin with a PROXY header.", "listener")
	descLimited   = desc("millrace_listener_connections_closed_total", "Connections that were closed for a limit: idle_timeout, frame_timeout, open_frames.", "listener", "limit")
	descShakes    = desc("millrace_listener_tls_handshake_failures_total", "TLS handshakes that failed: no certificate that we accept, an old protocol, too late.", "listener")
	descExpiry    = desc("millrace_listener_certificate_expiry_timestamp_seconds", "When the listener's certificate, or one of its chain, expires.", "listener")
	descOwed      = desc("millrace_relp_unanswered_total", "RELP frames whose connection ended before they were answered: their sender repeats them.", "listener")
	descPutOff    = desc("millrace_mail_put_off_total", "Messages answered with 451, so that their sender tries again: Kafka did not take them within answer_timeout (kafka), forward_to did not (forward), those in hand filled open_frames (memory).", "listener", "reason")
	descRcvbuf    = desc("millrace_listener_receive_buffer_bytes", "Receive buffer of a UDP socket, as the kernel granted it.", "listener")

	descPeers     = desc("millrace_peers", "Peers that the listener knows; millrace status lists them.", "listener")
	descForgotten = desc("millrace_peers_forgotten_total", "Peers that made room for others in the account of peers.", "listener")
	descSkew      = desc("millrace_peer_clock_skew_seconds", "Clock skew of the peer whose clock is furthest off, of those heard in ten minutes; positive: ahead.", "listener")
	descHosts     = desc("millrace_filtering_hosts", "Filtering hosts that events have named.")
	descHostSkew  = desc("millrace_filtering_host_clock_skew_seconds", "The same of the filtering hosts.")

	descBatches    = desc("millrace_publish_batches_total", "Record batches that Kafka has acknowledged.")
	descSent       = desc("millrace_publish_bytes_total", "Bytes of acknowledged record batches, compressed.")
	descRaw        = desc("millrace_publish_record_bytes_total", "Bytes of acknowledged record batches, before compression.")
	descRetries    = desc("millrace_publish_retries_total", "Attempts to send a record batch that failed.")
	descDuplicates = desc("millrace_publish_possible_duplicates_total", "Records sent again after Kafka had forgotten the producer.")
	descThrottled  = desc("millrace_publish_throttled_milliseconds_total", "Time for which brokers asked to send less.")
	descBuffered   = desc("millrace_publish_buffered_bytes", "Memory of record batches that are open or on their way.")
	descBufferMax  = desc("millrace_publish_buffer_limit_bytes", "Its limit, kafka.buffer_bytes.")
	descKafkaUp    = prometheus.NewDesc("millrace_kafka_up", "1 while the daemon can work with Kafka, else 0.", nil, prometheus.Labels{"daemon": "ingest"})
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe and Collect make the ingester a prometheus.Collector: it reads its
// counters when it is asked, and the hot path knows nothing of it.
func (in *Ingester) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(in, ch) }

// Collect sends every metric, those that are 0 included.
func (in *Ingester) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for i, input := range in.every() {
		name, a := string(input.name), input.ledger.read()
		counter(descReceived, a.Received, name)
		counter(descPublished, a.Published, name)
		counter(descJoined, a.Joined, name)
		for _, r := range schema.RejectReasons() {
			counter(descRejected, a.Rejected[r.Reason], name, string(r.Reason))
		}
		for _, r := range schema.DropReasons() {
			counter(descDropped, a.Dropped[r.Reason], name, string(r.Reason))
		}
		gauge(descInFlight, float64(a.InFlight), name)
		gauge(descLast, float64(input.ledger.lastTook.Load())/1000, name)
		if i >= len(in.listeners) {
			continue // files
		}
		t := in.listeners[i].Stats()
		counter(descBytes, t.Bytes.Load(), name)
		gauge(descOpen, float64(t.Open.Load()), name)
		counter(descRefused, t.Refused.Load(), name)
		counter(descHeaders, t.BadHeaders.Load(), name)
		counter(descLimited, t.Idle.Load(), name, "idle_timeout")
		counter(descLimited, t.Slow.Load(), name, "frame_timeout")
		counter(descLimited, t.Crowded.Load(), name, "open_frames")
		counter(descShakes, t.Handshakes.Load(), name)
		if at := input.expires.Load(); at != 0 {
			gauge(descExpiry, float64(at), name)
		}
		if string(input.transport) == "relp" {
			counter(descOwed, t.Unanswered.Load(), name)
		}
		if in.inputs[i].rules.Load().reports != nil {
			counter(descPutOff, t.PutOffKafka.Load(), name, "kafka")
			counter(descPutOff, t.PutOffForward.Load(), name, "forward")
			counter(descPutOff, t.PutOffMemory.Load(), name, "memory")
		}
		gauge(descRcvbuf, float64(t.ReceiveBuffer.Load()), name)
	}
	in.collectSenders(gauge, counter)
	s := in.publisher.Stats()
	counter(descBatches, s.Batches.Load())
	counter(descSent, s.Bytes.Load())
	counter(descRaw, s.RecordBytes.Load())
	counter(descRetries, s.Retries.Load())
	counter(descDuplicates, s.PossibleDuplicates.Load())
	counter(descThrottled, s.ThrottleMillis.Load())
	used, limit := in.publisher.Buffered()
	gauge(descBuffered, float64(used))
	gauge(descBufferMax, float64(limit))
	up := 1.0
	if in.publisher.State() != nil {
		up = 0
	}
	gauge(descKafkaUp, up)
}

const (
	// skewFresh is how lately a sender was heard whose clock counts, in milliseconds.
	skewFresh = 10 * 60 * 1000
	// skewSamples is how many samples a clock has that counts: one may be of queued mail.
	skewSamples = 5
)

// collectSenders tells how many there are and the worst clock: a label for each sender
// would let senders make as many time series as they like.
func (in *Ingester) collectSenders(gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, uint64, ...string)) {
	now := time.Now().UnixMilli()
	worst := func(r peers.Reading) (skew float64) {
		for _, s := range r.Senders {
			if now-s.Last < skewFresh && s.Samples >= skewSamples && math.Abs(s.Skew) > math.Abs(skew) {
				skew = s.Skew
			}
		}
		return skew
	}
	for _, input := range in.inputs {
		r := input.peers.Read(now)
		gauge(descPeers, float64(len(r.Senders)), string(input.name))
		counter(descForgotten, r.Evicted, string(input.name))
		gauge(descSkew, worst(r), string(input.name))
	}
	r := in.hosts.Read(now)
	gauge(descHosts, float64(len(r.Senders)))
	gauge(descHostSkew, worst(r))
}
