package main

import (
	"maps"
	"slices"
	"time"
)

// Metrics are what one measurement found, by name. The names are the columns of the CSV.
type Metrics map[string]float64

const (
	mFrames        = "frames"
	mSeconds       = "seconds"
	mCPU           = "cpu_seconds"
	mCPUPerM       = "cpu_seconds_per_million"
	mFramesPerSec  = "frames_per_second"
	mFramesPerCPU  = "frames_per_cpu_second"
	mPeakRSS       = "rss_peak_mib"
	mRSS           = "rss_mib"
	mRSSLater      = "rss_later_mib"
	mGrowth        = "rss_growth_mib"
	mDuplicates    = "duplicates_refused"
	mLost          = "lost"
	mLostShare     = "lost_share"
	mReceiveBuffer = "receive_buffer_mib"
	mSenderLimited = "sender_limited"
	mSockets       = "sockets"
	mP50           = "p50_ms"
	mP99           = "p99_ms"
	mP999          = "p999_ms"
	mMax           = "max_ms"
	mNanoseconds   = "nanoseconds"
	mGBPerSec      = "gigabytes_per_second"
	mAllocs        = "allocations"
)

// Report is all that a run found.
type Report struct {
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	Command string    `json:"command"`
	Rounds  int       `json:"rounds"`
	Seconds float64   `json:"seconds"` // of one measurement
	Machine Machine   `json:"machine"`
	Input   InputNote `json:"input"`
	Peers   []Peer    `json:"peers"`
	Results []*Result `json:"results"`
	Goals   []Goal    `json:"goals"`

	Profiles []Profile `json:"profiles"`
}

// InputNote describes the frames.
type InputNote struct {
	Frames    int     `json:"frames"`
	MeanBytes float64 `json:"mean_bytes"`
	ZstdBytes float64 `json:"zstd_bytes"`
	Zstd      string  `json:"zstd"`
}

// Peer says which program took part.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Absent  string `json:"absent,omitempty"`
}

// Result is the measurements of one peer in one case, a round each.
type Result struct {
	Section string    `json:"section"`
	Peer    string    `json:"peer"`
	Case    string    `json:"case"`
	Rounds  []Metrics `json:"rounds"`
	Void    []string  `json:"void,omitempty"` // rounds in which something was lost or failed, and what
}

// median is the middle of a metric over the rounds, 0 and false without any.
func (r *Result) median(metric string) (float64, bool) {
	if r == nil {
		return 0, false
	}
	var all []float64
	for _, m := range r.Rounds {
		if v, ok := m[metric]; ok {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2, true
}

// result finds or makes the place of a result.
func (r *Report) result(section, peer, name string) *Result {
	if found := r.find(section, peer, name); found != nil {
		return found
	}
	n := &Result{Section: section, Peer: peer, Case: name}
	r.Results = append(r.Results, n)
	return n
}

func (r *Report) find(section, peer, name string) *Result {
	for _, x := range r.Results {
		if x.Section == section && x.Peer == peer && x.Case == name {
			return x
		}
	}
	return nil
}

// section lists the results of a section.
func (r *Report) section(name string) []*Result {
	var all []*Result
	for _, x := range r.Results {
		if x.Section == name {
			all = append(all, x)
		}
	}
	return all
}

// names are the metrics' names in order.
func (m Metrics) names() []string { return slices.Sorted(maps.Keys(m)) }

// voids is how many measurements do not count.
func (r *Report) voids() (n int) {
	for _, x := range r.Results {
		n += len(x.Void)
	}
	return n
}
