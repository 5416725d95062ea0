package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	rounds   int
	seconds  float64
	only     string
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
	flag.IntVar(&o.frames, "frames", 20_000, "different frames")
	flag.StringVar(&o.millrace, "millrace", "bin/millrace", "our program")
	flag.StringVar(&o.tools, "tools", ".tools/debian", "where Debian's packages are unpacked")
	flag.StringVar(&o.version, "version", "", "what the results are named after; empty: what our program says")
	flag.Parse()
	if err := run(o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench-ingest:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	o        options
	in       *Input
	peers    []*peer
	report   *Report
	progress io.Writer
	began    time.Time
}

func run(o options, out, progress io.Writer) error {
	b := &bench{o: o, progress: progress, began: time.Now(), report: &Report{
		Version: o.version, Time: time.Now().UTC().Truncate(time.Second), Rounds: o.rounds, Seconds: o.seconds, Machine: describeMachine(),
	}}
	var err error
	if b.in, err = newInput(o.frames); err != nil {
		return err
	}
	b.peers = findPeers(o.millrace, o.tools)
	for _, p := range b.peers {
		b.report.Peers = append(b.report.Peers, Peer{p.name, p.version, p.absent})
		if p.name == "millrace" && p.absent != "" {
			return fmt.Errorf("cannot measure: %s (make build makes it)", p.absent)
		}
	}
	if b.wants("tcp") {
		b.rounds(tcpCases)
	}
	if b.wants("proportion") {
		b.rounds(proportionCases())
	}
	_, err = io.WriteString(out, b.report.text())
	return err
}

func (b *bench) wants(section string) bool {
	return b.o.only == "" || slices.Contains(strings.Split(b.o.only, ","), section)
}

// peer finds a peer that takes part.
func (b *bench) peer(name string) *peer {
	for _, p := range b.peers {
		if p.name == name && p.absent == "" {
			return p
		}
	}
	return nil
}

// rounds measures all cases once, then all once more: what changes on the machine
// meanwhile meets each of them.
func (b *bench) rounds(cases []tcpCase) {
	for range b.o.rounds {
		for _, c := range cases {
			if p := b.peer(c.peer); p != nil {
				m, err := b.tcp(c, p)
				b.keep(c.section, c.peer, c.name, m, err)
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
