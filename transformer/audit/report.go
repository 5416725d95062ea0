package audit

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Report is what an audit has found.
type Report struct {
	OK      bool      `json:"ok"` // nothing is missing and nothing doubled
	At      time.Time `json:"at"`
	Since   time.Time `json:"since,omitzero"`
	Rows    int64     `json:"rows"`
	Missing int64     `json:"missing"`
	Doubled int64     `json:"doubled"`
	Removed int64     `json:"removed"`
	Lag     int64     `json:"lag"`
	Scanned uint64    `json:"scanned"` // rows read, those of before Since included
	Places  []Place   `json:"places"`
	Notes   []string  `json:"notes,omitempty"`
}

// Place is the account of one topic, epoch and partition:
// To - From = Offsets + Before + Missing + Removed, and what is not confirmed yet.
type Place struct {
	Topic     string `json:"topic"` // without prefix
	Epoch     uint16 `json:"epoch"`
	Partition uint16 `json:"partition"`
	Log       string `json:"log"` // Current, OldLog, NewLog, NoLog

	From    int64 `json:"from"` // the offsets that were looked at
	To      int64 `json:"to"`
	Rows    int64 `json:"rows"`
	Refused int64 `json:"refused"` // of the rows, those in rejects that the transformer refused
	Offsets int64 `json:"offsets"` // different ones
	// Of the rows, events that millrace replay has made of rejects, which stay.
	Replayed int64 `json:"replayed,omitempty"`
	// Rows of which there is a later decoding: millrace replay is about to remove them.
	Superseded int64 `json:"superseded,omitempty"`
	Before     int64 `json:"in_epoch_before,omitempty"`

	LogStart  *int64 `json:"log_start,omitempty"`
	LogEnd    *int64 `json:"log_end,omitempty"`
	Committed *int64 `json:"committed,omitempty"` // -1: nothing

	Lag     int64 `json:"lag"`
	Missing int64 `json:"missing"`
	Doubled int64 `json:"doubled"` // rows beyond the first of their offset
	Removed int64 `json:"removed"`

	// The first ones.
	MissingRanges  []Range   `json:"missing_ranges,omitempty"`
	DoubledOffsets []int64   `json:"doubled_offsets,omitempty"`
	RemovedRanges  []Removal `json:"removed_ranges,omitempty"`
}

// Removal is a range that is gone, and why that is no fault.
type Removal struct {
	Range
	Cause string `json:"cause"`
}

// OK tells whether nothing is missing and nothing doubled.
func (p *Place) OK() bool { return p.Missing == 0 && p.Doubled == 0 }

// used tells whether the partition has ever had a record, as far as both servers know.
func (p *Place) used() bool {
	return p.Rows != 0 || p.Missing != 0 || p.LogEnd != nil && *p.LogEnd != 0
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// finish sums up.
func (r *Report) finish() {
	r.OK = true
	for i := range r.Places {
		p := &r.Places[i]
		r.Rows += p.Rows
		r.Missing += p.Missing
		r.Doubled += p.Doubled
		r.Removed += p.Removed
		r.Lag += p.Lag
		r.OK = r.OK && p.OK()
		if p.Superseded > 0 {
			r.note("%s: of %s of its frames there are the row of before and the one that millrace replay --kind has put in its place: it is at work, or was interrupted; run it again",
				p.name(), count(p.Superseded))
		}
		if p.Committed != nil && *p.Committed > *p.LogEnd {
			r.note("%s: Kafka's log ends at %s, before the committed offset %s: it was cut short or made again; the transformer gives what it has now the next epoch",
				p.name(), count(*p.LogEnd), count(*p.Committed))
		}
	}
	slices.Sort(r.Notes)
	r.Notes = slices.Compact(r.Notes) // each shard may have given cause for the same
}

func (p *Place) name() string {
	return fmt.Sprintf("%s epoch %d partition %d", p.Topic, p.Epoch, p.Partition)
}

// Verdict is the report in one line.
func (r *Report) Verdict() string {
	s := english.Sprintf("%d rows of %d partitions: %d missing, %d doubled", r.Rows, len(r.Places), r.Missing, r.Doubled)
	if r.Removed > 0 {
		s += english.Sprintf(", %d removed", r.Removed)
	}
	return s + english.Sprintf(", %d not yet inserted", r.Lag)
}

var english = message.NewPrinter(language.English)

// count is 1,234,567.
func count(n int64) string { return english.Sprintf("%d", n) }

// Write shows it to a person.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	used := 0
	for i := range r.Places {
		if r.Places[i].used() {
			used++
		}
	}
	if used > 0 {
		fmt.Fprintln(&b, r.table())
		if unused := len(r.Places) - used; unused > 0 {
			english.Fprintf(&b, "%d partitions without a record are left out.\n", unused)
		}
	}
	for i := range r.Places {
		r.Places[i].details(&b)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", n)
	}
	fmt.Fprintf(&b, "%s.\n", r.Verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) table() string {
	t := table.NewWriter()
	style := table.StyleLight
	style.Format = table.FormatOptions{} // names as they are, not in capitals
	t.SetStyle(style)
	header := table.Row{"topic", "epoch", "partition", "log", "from", "to", "rows", "refused", "offsets", "removed", "missing", "doubled", "committed", "log end", "lag", "verdict"}
	t.AppendHeader(header)
	var right []table.ColumnConfig
	for i, name := range header {
		if name != "topic" && name != "log" && name != "verdict" {
			right = append(right, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.SetColumnConfigs(right)
	for i := range r.Places {
		p := &r.Places[i]
		if !p.used() {
			continue
		}
		committed, end, lag := "-", "-", "-"
		if p.Committed != nil {
			end, lag = count(*p.LogEnd), count(p.Lag)
			if *p.Committed >= 0 {
				committed = count(*p.Committed)
			}
		}
		t.AppendRow(table.Row{p.Topic, p.Epoch, p.Partition, p.Log, count(p.From), count(p.To), count(p.Rows), count(p.Refused), count(p.Offsets),
			count(p.Removed), count(p.Missing), count(p.Doubled), committed, end, lag, p.verdict()})
	}
	return t.Render()
}

func (p *Place) verdict() string {
	switch {
	case p.Missing > 0 && p.Doubled > 0:
		return "MISSING, DOUBLED"
	case p.Missing > 0:
		return "MISSING"
	case p.Doubled > 0:
		return "DOUBLED"
	}
	return "ok"
}

// details name the offsets.
func (p *Place) details(w io.Writer) {
	rest := func(n int64, shown ranges) string {
		if n -= shown.count(); n > 0 {
			return english.Sprintf(" and %d more", n)
		}
		return ""
	}
	if p.Missing > 0 {
		var all []string
		for _, m := range p.MissingRanges {
			where := ""
			if p.LogStart != nil && m.To <= *p.LogStart {
				where = " (gone from Kafka too)"
			} else if p.LogStart != nil && m.From >= *p.LogStart {
				where = " (still in Kafka)"
			}
			all = append(all, m.text()+where)
		}
		fmt.Fprintf(w, "MISSING %s: offsets %s%s\n", p.name(), strings.Join(all, ", "), rest(p.Missing, p.MissingRanges))
	}
	if p.Doubled > 0 {
		var all []string
		for _, o := range p.DoubledOffsets {
			all = append(all, fmt.Sprint(o))
		}
		fmt.Fprintf(w, "DOUBLED %s: %s rows too many, at offsets %s\n", p.name(), count(p.Doubled), strings.Join(all, ", "))
	}
	var shown ranges
	for _, m := range p.RemovedRanges {
		fmt.Fprintf(w, "Removed %s: offsets %s, %s\n", p.name(), m.text(), m.Cause)
		shown = append(shown, m.Range)
	}
	if more := rest(p.Removed, shown); more != "" {
		fmt.Fprintf(w, "Removed %s:%s\n", p.name(), more)
	}
	if p.Replayed > 0 {
		fmt.Fprintf(w, "%s: %s of its rejects have become events too (millrace replay)\n", p.name(), count(p.Replayed))
	}
	if p.Before > 0 {
		fmt.Fprintf(w, "%s: %s offsets are in the epoch before: the log was cut short there and went on\n", p.name(), count(p.Before))
	}
}

// text names the offsets as a person counts them: the last one included.
func (r Range) text() string {
	if r.Len() == 1 {
		return fmt.Sprint(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To-1)
}
