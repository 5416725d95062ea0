package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"

	"millrace/benchmarks/report"
)

// sheets are the tables of a run: those of sections that were not measured are left out.
func (r *Report) sheets() []*report.Sheet {
	all := []*report.Sheet{r.GoalSheet(), r.decodeSheet(), r.tcpSheet(), r.udpSheet(), r.latencySheet(), r.memorySheet(), r.proportionSheet()}
	for i := range r.Profiles {
		all = append(all, r.Profiles[i].Sheet())
	}
	return report.Filled(all)
}

func (r *Report) decodeSheet() *report.Sheet {
	s := &report.Sheet{Title: "Decoding: header, template, 18 typed columns, UTF-8; one core, no sockets", Header: table.Row{"program", "ns per frame", "GB/s", "allocations"}, Numbers: 1}
	for _, x := range r.Section("decode") {
		s.Add(x.Peer, x.Cell(mNanoseconds), x.Cell(mGBPerSec), x.Cell(mAllocs))
	}
	return s
}

func (r *Report) tcpSheet() *report.Sheet {
	s := &report.Sheet{
		Title:   fmt.Sprintf("TCP to acknowledged record: %d connections, %d partitions", connections, partitions),
		Header:  table.Row{"program", "does", "codec", "CPU-s per million", "frames/s", "CPU, of rsyslog lz4", "frames/s, of rsyslog lz4", "RSS, MiB", "void"},
		Numbers: 3,
	}
	for _, x := range r.Section("tcp") {
		does := "forwards the text"
		if x.Peer == ours {
			does = "decodes 18 columns"
		}
		cpu, okCPU := r.Ratio("tcp", mCPUPerM, x.Peer, x.Case, rsyslog, caseLZ4)
		rate, okRate := r.Ratio("tcp", mFramesPerSec, x.Peer, x.Case, rsyslog, caseLZ4)
		s.Add(x.Peer, does, x.Case, x.Cell(mCPUPerM), x.Cell(mFramesPerSec), report.RatioCell(cpu, okCPU), report.RatioCell(rate, okRate), x.Cell(mPeakRSS), len(x.Void))
	}
	return s
}

func (r *Report) udpSheet() *report.Sheet {
	s := &report.Sheet{
		Title:   "UDP: the highest rate without a lost datagram",
		Header:  table.Row{"program", "frames/s", "of rsyslog", "CPU-s per million there", "sockets", "SO_RCVBUF in all, MiB", "void"},
		Numbers: 1,
	}
	for _, x := range r.Section("udp") {
		ratio, ok := r.Ratio("udp", mFramesPerSec, x.Peer, caseRate, rsyslog, caseRate)
		rate := x.Cell(mFramesPerSec)
		if limited, _ := x.Median(mSenderLimited); limited > 0 {
			rate = ">= " + rate
		}
		s.Add(x.Peer, rate, report.RatioCell(ratio, ok), x.Cell(mCPUPerM), x.Cell(mSockets), x.Cell(mReceiveBuffer), len(x.Void))
	}
	return s
}

func (r *Report) latencySheet() *report.Sheet {
	s := &report.Sheet{
		Title:   "Latency from the socket to Kafka's acknowledgement, TCP, default settings, ms",
		Header:  table.Row{"program", "load", "p50", "p99", "p99.9", "longest", "void"},
		Numbers: 2,
	}
	for _, x := range r.Section("latency") {
		s.Add(x.Peer, x.Case, x.Cell(mP50), x.Cell(mP99), x.Cell(mP999), x.Cell(mMax), len(x.Void))
	}
	return s
}

func (r *Report) memorySheet() *report.Sheet {
	s := &report.Sheet{Title: "Resident memory, MiB", Header: table.Row{"program", "case", "before", "highest", "after", "void"}, Numbers: 2}
	for _, x := range r.Section("memory") {
		switch x.Case {
		case caseAway:
			seconds, _ := x.Median(mSeconds)
			s.Add(x.Peer, fmt.Sprintf("Kafka away for %.0f s at full rate", seconds), x.Cell(mRSS), x.Cell(mPeakRSS), x.Cell(mRSSLater), len(x.Void))
		case caseFull:
			s.Add(x.Peer, x.Case, "", x.Cell(mPeakRSS), "", len(x.Void))
		default:
			s.Add(x.Peer, x.Case, "", x.Cell(mRSS), "", len(x.Void))
		}
	}
	return s
}

func (r *Report) proportionSheet() *report.Sheet {
	s := &report.Sheet{
		Title:   "Proportion: one thing changed at a time, TCP, default settings",
		Header:  table.Row{"program", "what", "frames per CPU-s", "CPU-s per million", "frames/s", "RSS, MiB", "void"},
		Numbers: 2,
	}
	for _, section := range []string{"connections", "partitions"} {
		for _, x := range r.Section(section) {
			s.Add(x.Peer, x.Case+" "+section, x.Cell(mFramesPerCPU), x.Cell(mCPUPerM), x.Cell(mFramesPerSec), x.Cell(mPeakRSS), len(x.Void))
		}
	}
	return s
}

// notes are what must be known to read the tables.
func (r *Report) notes() []string {
	force := "and no process may exceed it"
	if r.Machine.Root {
		force = "and as root all may exceed it"
	}
	return append(r.CommonNotes("program, load generator and broker", r.Input.String()),
		fmt.Sprintf("net.core.rmem_max %s %s.", report.Number(float64(r.Machine.RmemMax)), force),
		fmt.Sprintf("Figures are medians of %d rounds of %s s, in which the programs took turns; a program's CPU is its own, user and kernel.", r.Rounds, report.Number(r.Seconds)))
}
