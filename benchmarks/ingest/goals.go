package main

import (
	"fmt"
	"math"
)

// Goal is a figure that was set, what was measured, and whether that keeps it.
type Goal struct {
	Name     string  `json:"name"`
	Limit    float64 `json:"limit"`
	AtLeast  bool    `json:"at_least"` // the limit is the least allowed; else the most
	Unit     string  `json:"unit"`
	Measured bool    `json:"measured"`
	Value    float64 `json:"value"`
	Met      bool    `json:"met"`
}

// gap says by how much a goal is missed.
func (g Goal) gap() string {
	switch {
	case !g.Measured:
		return "not measured"
	case g.Met:
		return "yes"
	case g.Limit == 0:
		return fmt.Sprintf("no: %s more", number(g.Value))
	case g.AtLeast:
		return fmt.Sprintf("no: %.0f%% short", math.Ceil(100*(1-g.Value/g.Limit)))
	default:
		return fmt.Sprintf("no: %.0f%% over", math.Ceil(100*(g.Value/g.Limit-1)))
	}
}

// limit is the goal as a text.
func (g Goal) limit() string {
	word := "at most"
	if g.AtLeast {
		word = "at least"
	}
	return fmt.Sprintf("%s %s %s", word, number(g.Limit), g.Unit)
}

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

// goals compares what was measured with what was set.
func (r *Report) goals() []Goal {
	var all []Goal
	add := func(name string, limit float64, atLeast bool, unit string, value float64, measured bool) {
		met := measured && (value <= limit && !atLeast || value >= limit && atLeast)
		all = append(all, Goal{name, limit, atLeast, unit, measured, value, met})
	}
	atMost := func(name string, limit float64, unit, section, peer, c, metric string) {
		v, ok := r.find(section, peer, c).median(metric)
		add(name, limit, false, unit, v, ok)
	}

	v, ok := r.find("decode", ours, "m1").median(mGBPerSec)
	add("decode, one core", 2.5, true, "GB/s", v, ok)
	atMost("decode, allocations", 0, "per frame", "decode", ours, "m1", mAllocs)

	atMost("TCP, snappy", 0.9, "CPU-s per million", "tcp", ours, caseSnappy, mCPUPerM)
	atMost("TCP, no compression", 0.65, "CPU-s per million", "tcp", ours, caseNone, mCPUPerM)
	v, ok = r.ratio("tcp", mCPUPerM, ours, caseSnappy, rsyslog, caseLZ4)
	add("TCP, CPU beside rsyslog's", 1.0/3, false, "of it", v, ok)
	v, ok = r.ratio("tcp", mFramesPerSec, ours, caseSnappy, rsyslog, caseLZ4)
	add("TCP, frames/s beside rsyslog's", 2.5, true, "times as many", v, ok)

	v, ok = r.ratio("udp", mFramesPerSec, ours, caseRate, rsyslog, caseRate)
	add("UDP, rate without loss beside rsyslog's", 1.6, true, "times as high", v, ok)
	atMost("UDP, at that rate", 1.3, "CPU-s per million", "udp", ours, caseRate, mCPUPerM)

	atMost("memory, "+caseFull, 150, "MiB", "memory", ours, caseFull, mPeakRSS)
	atMost("memory, "+caseIdle, 250, "MiB", "memory", ours, caseIdle, mRSS)
	atMost("memory, growth while Kafka is away", bufferMiB, "MiB (kafka.buffer_bytes)", "memory", ours, caseAway, mGrowth)

	atMost("latency at "+caseBusy+", p99", 100, "ms", "latency", ours, caseBusy, mP99)
	atMost("latency at "+caseQuiet+", longest", lingerMillis+wayMillis, fmt.Sprintf("ms (kafka.linger and %d)", wayMillis), "latency", ours, caseQuiet, mMax)

	v, ok = r.spread("connections")
	add("frames per CPU-s, 1 to 1,000 connections", 15, false, "% apart", v, ok)
	v, ok = r.spread("partitions")
	add("frames per CPU-s, 6 to 96 partitions", 15, false, "% apart", v, ok)
	return all
}

// ratio is a metric's median of one case in terms of another's.
func (r *Report) ratio(section, metric, peer, name, otherPeer, otherName string) (float64, bool) {
	v, ok := r.find(section, peer, name).median(metric)
	of, okOf := r.find(section, otherPeer, otherName).median(metric)
	if !ok || !okOf || of == 0 {
		return 0, false
	}
	return v / of, true
}

// spread is how far, in percent of the best, the worst case of a section is from it.
func (r *Report) spread(section string) (float64, bool) {
	least, most := math.Inf(1), 0.0
	all := r.section(section)
	for _, x := range all {
		v, ok := x.median(mFramesPerCPU)
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
