package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Sheet is one table: for the terminal and for a page of Markdown.
type Sheet struct {
	Title   string
	Header  table.Row
	Numbers int // columns from this one on are numbers
	Rows    []table.Row
}

// Add appends a row.
func (s *Sheet) Add(cells ...any) { s.Rows = append(s.Rows, cells) }

func (s *Sheet) writer() table.Writer {
	w := table.NewWriter()
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	w.AppendHeader(s.Header)
	w.AppendRows(s.Rows)
	var columns []table.ColumnConfig
	for i := s.Numbers; i < len(s.Header); i++ {
		columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	return w
}

// Number prints a figure with three digits that count.
func Number(v float64) string {
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

// Cell is a median, a dash when there is none.
func (r *Result) Cell(metric string) string {
	if v, ok := r.Median(metric); ok {
		return Number(v)
	}
	return "-"
}

// RatioCell is a ratio, a dash when there is none.
func RatioCell(v float64, ok bool) string {
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2fx", v)
}

// GoalSheet is the table of the goals.
func (r *Report) GoalSheet() *Sheet {
	s := &Sheet{Title: "Goals", Header: table.Row{"goal", "limit", "measured", "met"}, Numbers: 2}
	for _, g := range r.Goals {
		value := "-"
		if g.Measured {
			value = Number(g.Value)
		}
		s.Add(g.Name, g.Bound(), value, g.Gap())
	}
	return s
}

// Sheet is the profile as a table.
func (p *Profile) Sheet() *Sheet {
	s := &Sheet{Title: "Profile of millrace: " + p.Load, Header: table.Row{"function", "% of its CPU"}, Numbers: 1}
	for _, part := range p.Parts {
		s.Add(part.Function, Number(part.Percent))
	}
	return s
}

// Filled are the sheets that have rows: sections that were not measured have none.
func Filled(all []*Sheet) (some []*Sheet) {
	for _, s := range all {
		if len(s.Rows) > 0 {
			some = append(some, s)
		}
	}
	return some
}

// Text is the notes and the sheets for a terminal.
func Text(notes []string, sheets []*Sheet) string {
	var b strings.Builder
	for _, n := range notes {
		fmt.Fprintln(&b, n)
	}
	for _, s := range sheets {
		fmt.Fprintf(&b, "\n%s\n%s\n", s.Title, s.writer().Render())
	}
	return b.String()
}

// Markdown is the same for a page.
func Markdown(notes []string, sheets []*Sheet) string {
	var b strings.Builder
	for _, n := range notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	for _, s := range sheets {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", s.Title, s.writer().RenderMarkdown())
	}
	return b.String()
}

// CommonNotes are what must be known of every run to read its tables: which version and
// machine, what stood in the way, and which programs took part. What they share the cores
// with is sharing.
func (r *Report) CommonNotes(sharing, input string) []string {
	m := r.Machine
	notes := []string{
		fmt.Sprintf("Version %s, %s, by `%s`.", r.Version, r.Time.Format("2006-01-02 15:04 UTC"), r.Command),
		fmt.Sprintf("Machine: %s, %d cores for everything (%s), %.0f GiB, Linux %s, %s, %s; load average before the run %s.",
			m.CPU, m.Cores, sharing, m.Memory, m.Kernel, m.OS, m.Go, m.Load),
		input,
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

// String describes the input, and how much it repeats itself.
func (n InputNote) String() string {
	s := fmt.Sprintf("Frames: %s different ones, %.0f bytes on average with their line end, template m1 (18 columns) behind an RFC 3164 header; ", Number(float64(n.Frames)), n.MeanBytes)
	if n.Zstd == "" {
		return s + "not compressed for comparison, because zstd is not installed."
	}
	return s + fmt.Sprintf("%.1f bytes for each under %s of all of them.", n.ZstdBytes, n.Zstd)
}
