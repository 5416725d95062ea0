package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// Metrics are what one measurement found, by name. The names are the columns of the CSV.
type Metrics map[string]float64

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

// Record takes a measurement into the report, or why it is void, and says it on progress.
func (r *Report) Record(progress io.Writer, section, peer, name string, m Metrics, err error) {
	x := r.Result(section, peer, name)
	said := fmt.Sprintf("%6.1fs  %-12s %-10s %-12s ", time.Since(r.Time).Seconds(), section, peer, name)
	if err != nil {
		x.Void = append(x.Void, err.Error())
		fmt.Fprintln(progress, said, "void:", err)
		return
	}
	x.Rounds = append(x.Rounds, m)
	for _, k := range m.Names() {
		said += fmt.Sprintf(" %s=%.4g", k, m[k])
	}
	fmt.Fprintln(progress, said)
}

// Median is the middle of a metric over the rounds, 0 and false without any.
func (r *Result) Median(metric string) (float64, bool) {
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

// Result finds or makes the place of a result.
func (r *Report) Result(section, peer, name string) *Result {
	if found := r.Find(section, peer, name); found != nil {
		return found
	}
	n := &Result{Section: section, Peer: peer, Case: name}
	r.Results = append(r.Results, n)
	return n
}

// Find is the result of a peer in a case, nil when there is none.
func (r *Report) Find(section, peer, name string) *Result {
	for _, x := range r.Results {
		if x.Section == section && x.Peer == peer && x.Case == name {
			return x
		}
	}
	return nil
}

// Section lists the results of a section.
func (r *Report) Section(name string) []*Result {
	var all []*Result
	for _, x := range r.Results {
		if x.Section == name {
			all = append(all, x)
		}
	}
	return all
}

// Names are the metrics' names in order.
func (m Metrics) Names() []string { return slices.Sorted(maps.Keys(m)) }

// Voids is how many measurements do not count.
func (r *Report) Voids() (n int) {
	for _, x := range r.Results {
		n += len(x.Void)
	}
	return n
}

// Ratio is a metric's median of one case in terms of another's.
func (r *Report) Ratio(section, metric, peer, name, otherPeer, otherName string) (float64, bool) {
	v, ok := r.Find(section, peer, name).Median(metric)
	of, okOf := r.Find(section, otherPeer, otherName).Median(metric)
	if !ok || !okOf || of == 0 {
		return 0, false
	}
	return v / of, true
}

// Profile is where our program's time went, by function, the largest first.
type Profile struct {
	Load  string  `json:"load"`
	Parts []Share `json:"parts"`
}

// Share is a function's part of the time, without what it calls.
type Share struct {
	Function string  `json:"function"`
	Percent  float64 `json:"percent"`
}
