package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"millrace/benchmarks/frames"
)

// options are the flags.
type options struct {
	rounds   int
	seconds  float64
	only     string
	away     time.Duration
	frames   int
	millrace string
	tools    string
	version  string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds in which the peers take turns")
	flag.Float64Var(&o.seconds, "seconds", 3, "seconds of one measurement")
	flag.StringVar(&o.only, "only", "", "sections, separated by commas; empty: all")
	flag.DurationVar(&o.away, "away", time.Minute, "how long Kafka is away")
	flag.IntVar(&o.frames, "frames", 20_000, "different frames")
	flag.StringVar(&o.millrace, "millrace", "bin/millrace", "our program")
	flag.StringVar(&o.tools, "tools", ".tools/debian", "where Debian's packages are unpacked")
	flag.StringVar(&o.version, "version", "", "what the results are named after; empty: what our program says")
	flag.Parse()
	raiseFileLimit()
	if err := run(o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench-ingest:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	o        options
	in       *frames.Input
	peers    []*peerProgram
	udpStart map[string]float64 // frames a second, by peer
	report   *Report
	progress io.Writer
	began    time.Time
}

func run(o options, out, progress io.Writer) error {
	b := &bench{o: o, progress: progress, began: time.Now(), udpStart: map[string]float64{}, report: &Report{
		Version: o.version, Time: time.Now().UTC().Truncate(time.Second), Rounds: o.rounds, Seconds: o.seconds, Machine: describeMachine(),
	}}
	var err error
	if b.in, err = frames.New(o.frames); err != nil {
		return err
	}
	b.peers = findPeers(o.millrace, o.tools)
	for _, p := range b.peers {
		b.report.Peers = append(b.report.Peers, Peer{p.name, p.version, p.absent})
		if p.name == ours && p.absent != "" {
			return fmt.Errorf("cannot measure: %s (make build makes it)", p.absent)
		}
	}
	b.measure()
	_, err = io.WriteString(out, b.report.text())
	return err
}

func (b *bench) wants(section string) bool {
	return b.o.only == "" || slices.Contains(strings.Split(b.o.only, ","), section)
}

// peer finds a peer that takes part.
func (b *bench) peer(name string) *peerProgram {
	for _, p := range b.peers {
		if p.name == name && p.absent == "" {
			return p
		}
	}
	return nil
}

// job is one measurement that is made once in each round.
type job struct {
	section, peer, name string
	once                bool // in the first round only
	measure             func(*peerProgram) (Metrics, error)
}

// measure runs the sections.
func (b *bench) measure() {
	if b.wants("decode") {
		b.decode()
	}
	if b.wants("tcp") {
		b.take(b.tcpJobs())
	}
	if b.wants("udp") {
		b.take([]job{b.udpJob(ours), b.udpJob(rsyslog), b.udpJob(syslogng)})
	}
	if b.wants("latency") {
		busy := fmt.Sprintf("%d frames/s", busyRate)
		b.take([]job{
			b.latencyJob(ours, busy, busyRate, connections), b.latencyJob(rsyslog, busy, busyRate, connections), b.latencyJob(syslogng, busy, busyRate, connections),
			b.latencyJob(ours, fmt.Sprintf("%d frames/s", quietRate), quietRate, 1),
		})
	}
	if b.wants("proportion") {
		b.take(b.proportionJobs())
	}
	if b.wants("memory") {
		var jobs []job
		for _, peer := range []string{ours, rsyslog, syslogng} {
			full := b.tcpJob("memory", peer, "1,000 connections at full rate", "", manyConnections, partitions)
			full.once = true
			jobs = append(jobs, full, b.idleJob(peer))
		}
		b.take(append(jobs, b.awayJob()))
	}
}

// take does all jobs once, then all once more: what changes on the machine meanwhile
// meets each of them.
func (b *bench) take(jobs []job) {
	for round := range b.o.rounds {
		for _, j := range jobs {
			if p := b.peer(j.peer); p != nil && (round == 0 || !j.once) {
				m, err := j.measure(p)
				b.keep(j.section, j.peer, j.name, m, err)
			}
		}
	}
}

// keep takes a measurement into the report, or why it is void.
func (b *bench) keep(section, peer, name string, m Metrics, err error) {
	r := b.report.result(section, peer, name)
	said := fmt.Sprintf("%6.1fs  %-12s %-10s %-12s ", time.Since(b.began).Seconds(), section, peer, name)
	if err != nil {
		r.Void = append(r.Void, err.Error())
		fmt.Fprintln(b.progress, said, "void:", err)
		return
	}
	r.Rounds = append(r.Rounds, m)
	for _, k := range m.names() {
		said += fmt.Sprintf(" %s=%.4g", k, m[k])
	}
	fmt.Fprintln(b.progress, said)
}
