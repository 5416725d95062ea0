package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// sheet is one table: for the terminal and for a page of Markdown.
type sheet struct {
	title   string
	header  table.Row
	rows    []table.Row
	numbers int // columns from this one on are numbers
}

func (s *sheet) add(cells ...any) { s.rows = append(s.rows, cells) }

func (s *sheet) writer() table.Writer {
	w := table.NewWriter()
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	w.AppendHeader(s.header)
	w.AppendRows(s.rows)
	var columns []table.ColumnConfig
	for i := s.numbers; i < len(s.header); i++ {
		columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	return w
}

// number prints a figure with three digits that count.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
		for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case a >= 100 || a == math.Trunc(a):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// cell is a median, a dash when there is none.
func (r *Result) cell(metric string) string {
	if v, ok := r.median(metric); ok {
		return number(v)
	}
	return "-"
}

func ratioCell(v float64, ok bool) string {
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2fx", v)
}

// sheets are the tables of a run: those of sections that were not measured are left out.
func (r *Report) sheets() []*sheet {
	all := []*sheet{r.goalSheet(), r.decodeSheet(), r.tcpSheet(), r.udpSheet(), r.latencySheet(), r.memorySheet(), r.proportionSheet()}
	for i := range r.Profiles {
		all = append(all, r.Profiles[i].sheet())
	}
	var some []*sheet
	for _, s := range all {
		if len(s.rows) > 0 {
			some = append(some, s)
		}
	}
	return some
}

func (r *Report) goalSheet() *sheet {
	s := &sheet{title: "Goals", header: table.Row{"goal", "limit", "measured", "met"}, numbers: 2}
	for _, g := range r.Goals {
		value := "-"
		if g.Measured {
			value = number(g.Value)
		}
		s.add(g.Name, g.limit(), value, g.gap())
	}
	return s
}

func (r *Report) decodeSheet() *sheet {
	s := &sheet{title: "Decoding: header, template, 18 typed columns, UTF-8; one core, no sockets", header: table.Row{"program", "ns per frame", "GB/s", "allocations"}, numbers: 1}
	for _, x := range r.section("decode") {
		s.add(x.Peer, x.cell(mNanoseconds), x.cell(mGBPerSec), x.cell(mAllocs))
	}
	return s
}

func (r *Report) tcpSheet() *sheet {
	s := &sheet{
		title:   fmt.Sprintf("TCP to acknowledged record: %d connections, %d partitions", connections, partitions),
		header:  table.Row{"program", "does", "codec", "CPU-s per million", "frames/s", "CPU, of rsyslog lz4", "frames/s, of rsyslog lz4", "RSS, MiB", "void"},
		numbers: 3,
	}
	for _, x := range r.section("tcp") {
		does := "forwards the text"
		if x.Peer == ours {
			does = "decodes 18 columns"
		}
		cpu, okCPU := r.ratio("tcp", mCPUPerM, x.Peer, x.Case, rsyslog, caseLZ4)
		rate, okRate := r.ratio("tcp", mFramesPerSec, x.Peer, x.Case, rsyslog, caseLZ4)
		s.add(x.Peer, does, x.Case, x.cell(mCPUPerM), x.cell(mFramesPerSec), ratioCell(cpu, okCPU), ratioCell(rate, okRate), x.cell(mPeakRSS), len(x.Void))
	}
	return s
}

func (r *Report) udpSheet() *sheet {
	s := &sheet{
		title:   "UDP: the highest rate without a lost datagram",
		header:  table.Row{"program", "frames/s", "of rsyslog", "CPU-s per million there", "sockets", "SO_RCVBUF in all, MiB", "void"},
		numbers: 1,
	}
	for _, x := range r.section("udp") {
		ratio, ok := r.ratio("udp", mFramesPerSec, x.Peer, caseRate, rsyslog, caseRate)
		rate := x.cell(mFramesPerSec)
		if limited, _ := x.median(mSenderLimited); limited > 0 {
			rate = ">= " + rate
		}
		s.add(x.Peer, rate, ratioCell(ratio, ok), x.cell(mCPUPerM), x.cell(mSockets), x.cell(mReceiveBuffer), len(x.Void))
	}
	return s
}

func (r *Report) latencySheet() *sheet {
	s := &sheet{
		title:   "Latency from the socket to Kafka's acknowledgement, TCP, default settings, ms",
		header:  table.Row{"program", "load", "p50", "p99", "p99.9", "longest", "void"},
		numbers: 2,
	}
	for _, x := range r.section("latency") {
		s.add(x.Peer, x.Case, x.cell(mP50), x.cell(mP99), x.cell(mP999), x.cell(mMax), len(x.Void))
	}
	return s
}

func (r *Report) memorySheet() *sheet {
	s := &sheet{title: "Resident memory, MiB", header: table.Row{"program", "case", "before", "highest", "after", "void"}, numbers: 2}
	for _, x := range r.section("memory") {
		switch x.Case {
		case caseAway:
			seconds, _ := x.median(mSeconds)
			s.add(x.Peer, fmt.Sprintf("Kafka away for %.0f s at full rate", seconds), x.cell(mRSS), x.cell(mPeakRSS), x.cell(mRSSLater), len(x.Void))
		case caseFull:
			s.add(x.Peer, x.Case, "", x.cell(mPeakRSS), "", len(x.Void))
		default:
			s.add(x.Peer, x.Case, "", x.cell(mRSS), "", len(x.Void))
		}
	}
	return s
}

func (r *Report) proportionSheet() *sheet {
	s := &sheet{
		title:   "Proportion: one thing changed at a time, TCP, default settings",
		header:  table.Row{"program", "what", "frames per CPU-s", "CPU-s per million", "frames/s", "RSS, MiB", "void"},
		numbers: 2,
	}
	for _, section := range []string{"connections", "partitions"} {
		for _, x := range r.section(section) {
			s.add(x.Peer, x.Case+" "+section, x.cell(mFramesPerCPU), x.cell(mCPUPerM), x.cell(mFramesPerSec), x.cell(mPeakRSS), len(x.Void))
		}
	}
	return s
}

func (p *Profile) sheet() *sheet {
	s := &sheet{title: "Profile of millrace: " + p.Load, header: table.Row{"function", "% of its CPU"}, numbers: 1}
	for _, part := range p.Parts {
		s.add(part.Function, number(part.Percent))
	}
	return s
}

// notes are what must be known to read the tables.
func (r *Report) notes() []string {
	m := r.Machine
	input := fmt.Sprintf("Frames: %s different ones, %.0f bytes on average with their line end, template m1 (18 columns) behind an RFC 3164 header; ", number(float64(r.Input.Frames)), r.Input.MeanBytes)
	if r.Input.Zstd != "" {
		input += fmt.Sprintf("%.1f bytes for each under %s of all of them.", r.Input.ZstdBytes, r.Input.Zstd)
	} else {
		input += "not compressed for comparison, because zstd is not installed."
	}
	force := "and no process may exceed net.core.rmem_max"
	if m.Root {
		force = "and as root all may exceed net.core.rmem_max"
	}
	notes := []string{
		fmt.Sprintf("Version %s, %s, by `%s`.", r.Version, r.Time.Format("2006-01-02 15:04 UTC"), r.Command),
		fmt.Sprintf("Machine: %s, %d cores for everything (program, load generator and broker), %.0f GiB, Linux %s, %s, %s; load average before the run %s; net.core.rmem_max %s %s.",
			m.CPU, m.Cores, m.Memory, m.Kernel, m.OS, m.Go, m.Load, number(float64(m.RmemMax)), force),
		input,
		fmt.Sprintf("Figures are medians of %d rounds of %s s, in which the programs took turns; a program's CPU is its own, user and kernel.", r.Rounds, number(r.Seconds)),
	}
	for _, p := range r.Peers {
		if p.Absent != "" {
			notes = append(notes, fmt.Sprintf("%s took no part: %s.", p.Name, p.Absent))
		} else {
			notes = append(notes, fmt.Sprintf("%s %s.", p.Name, p.Version))
		}
	}
	for _, x := range r.Results {
		for _, why := range x.Void {
			first, _, _ := strings.Cut(why, "\n")
			notes = append(notes, fmt.Sprintf("Void: %s, %s, %s: %s", x.Section, x.Peer, x.Case, first))
		}
	}
	return notes
}

// text is the report for a terminal.
func (r *Report) text() string {
	var b strings.Builder
	for _, n := range r.notes() {
		fmt.Fprintln(&b, n)
	}
	for _, s := range r.sheets() {
		fmt.Fprintf(&b, "\n%s\n%s\n", s.title, s.writer().Render())
	}
	return b.String()
}

// markdown is the report for a page; the plot is a path relative to it.
func (r *Report) markdown(plot string) string {
	var b strings.Builder
	for _, n := range r.notes() {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	for _, s := range r.sheets() {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", s.title, s.writer().RenderMarkdown())
	}
	fmt.Fprintf(&b, "\n![CPU, rates, loss and latency beside rsyslog and syslog-ng](%s)\n", plot)
	return b.String()
}
