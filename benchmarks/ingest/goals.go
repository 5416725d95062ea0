package main

import (
	"fmt"
	"math"
)

// The cases that goals and tables speak of.
const (
	caseSnappy, caseNone, caseLZ4 = "snappy", "none", "lz4"

	idleConnections = " idle connections"
	caseRate        = "highest rate without loss"
	caseFull        = "1,000 connections at full rate"
	caseIdle        = "10,000" + idleConnections
	caseAway        = "Kafka away"
	caseBusy        = "50,000 frames/s"
	caseQuiet       = "20 frames/s"
	bufferMiB       = 64 // kafka.buffer_bytes, at its default
	lingerMillis    = 50 // kafka.linger, at its default
	wayMillis       = 10 // for what is not lingering: both ways through the kernel, and the broker
)

// setGoals compares what was measured with what was set.
func (r *Report) setGoals() {
	atMost := func(name string, limit float64, unit, section, peer, c, metric string) {
		v, ok := r.Find(section, peer, c).Median(metric)
		r.AtMost(name, limit, unit, v, ok)
	}

	v, ok := r.Find("decode", ours, "m1").Median(mGBPerSec)
	r.AtLeast("decode, one core", 2.5, "GB/s", v, ok)
	atMost("decode, allocations", 0, "per frame", "decode", ours, "m1", mAllocs)

	atMost("TCP, snappy", 0.9, "CPU-s per million", "tcp", ours, caseSnappy, mCPUPerM)
	atMost("TCP, no compression", 0.65, "CPU-s per million", "tcp", ours, caseNone, mCPUPerM)
	v, ok = r.Ratio("tcp", mCPUPerM, ours, caseSnappy, rsyslog, caseLZ4)
	r.AtMost("TCP, CPU beside rsyslog's", 1.0/3, "of it", v, ok)
	v, ok = r.Ratio("tcp", mFramesPerSec, ours, caseSnappy, rsyslog, caseLZ4)
	r.AtLeast("TCP, frames/s beside rsyslog's", 2.5, "times as many", v, ok)

	v, ok = r.Ratio("udp", mFramesPerSec, ours, caseRate, rsyslog, caseRate)
	r.AtLeast("UDP, rate without loss beside rsyslog's", 1.6, "times as high", v, ok)
	atMost("UDP, at that rate", 1.3, "CPU-s per million", "udp", ours, caseRate, mCPUPerM)

	atMost("memory, "+caseFull, 150, "MiB", "memory", ours, caseFull, mPeakRSS)
	atMost("memory, "+caseIdle, 250, "MiB", "memory", ours, caseIdle, mRSS)
	atMost("memory, growth while Kafka is away", bufferMiB, "MiB (kafka.buffer_bytes)", "memory", ours, caseAway, mGrowth)

	atMost("latency at "+caseBusy+", p99", 100, "ms", "latency", ours, caseBusy, mP99)
	atMost("latency at "+caseQuiet+", longest", lingerMillis+wayMillis, fmt.Sprintf("ms (kafka.linger and %d)", wayMillis), "latency", ours, caseQuiet, mMax)

	v, ok = r.spread("connections")
	r.AtMost("frames per CPU-s, 1 to 1,000 connections", 15, "% apart", v, ok)
	v, ok = r.spread("partitions")
	r.AtMost("frames per CPU-s, 6 to 96 partitions", 15, "% apart", v, ok)
}

// spread is how far, in percent of the best, the worst case of a section is from it.
func (r *Report) spread(section string) (float64, bool) {
	least, most := math.Inf(1), 0.0
	all := r.Section(section)
	for _, x := range all {
		v, ok := x.Median(mFramesPerCPU)
		if !ok {
			return 0, false
		}
		least, most = min(least, v), max(most, v)
	}
	if len(all) < 2 {
		return 0, false
	}
	return 100 * (1 - least/most), true
}
