package cmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"millrace/schema"
	"millrace/stack/replay"
	"millrace/transformer"
)

// account prints a line for each part of a whole, and what of it in brackets. A part of
// nothing has none.
func account(out io.Writer, n uint64, what string, of map[string]uint64) {
	if n == 0 {
		return
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	if len(parts) > 0 {
		what += " (" + strings.Join(parts, ", ") + ")"
	}
	fmt.Fprintf(out, "  %9d %s\n", n, what)
}

func sum(of map[string]uint64) (n uint64) {
	for _, c := range of {
		n += c
	}
	return n
}

// printRejects says what became of the rejects.
func printRejects(out io.Writer, r *replay.RejectResult, inserted bool) {
	fmt.Fprintf(out, "%d rejects\n", r.Rejects)
	account(out, r.Total(), "are events with this configuration", r.Events)
	account(out, r.There, "have become events before", nil)
	account(out, sum(r.Still), "are none", r.Still)
	account(out, r.Cut, "are not whole: only the beginning of the frame was kept", nil)
	account(out, sum(r.Strange), "came to a listener that is not in this configuration", r.Strange)
	switch {
	case inserted:
		fmt.Fprintf(out, "%d rows inserted\n", r.Inserted)
	case r.Total() > 0:
		fmt.Fprintln(out, "nothing was inserted: --insert does that")
	}
}

// printEvents says what became of the events, and what of them is different.
func printEvents(out io.Writer, k *schema.Kind, r *replay.EventResult, inserted bool) {
	fmt.Fprintf(out, "%d rows of %s\n", r.Rows, k.Table)
	account(out, r.NoRaw, "keep no frame: they stay as they are", nil)
	account(out, r.Same, "are the same with this configuration", nil)
	account(out, r.Changed, "are different", nil)
	account(out, sum(r.Still), "are no event with this configuration, and stay as they are", r.Still)
	account(out, r.Other, "are an event of another kind with this configuration, and stay as they are", nil)
	account(out, sum(r.Strange), "came to a listener that is not in this configuration, and stay as they are", r.Strange)
	account(out, r.Doubled, "are there twice, and stay as they are: millrace audit", nil)
	if len(r.Columns) > 0 {
		fmt.Fprintln(out, "what is different:")
		for _, c := range r.Columns {
			for i, e := range c.Examples {
				if i == 0 {
					fmt.Fprintf(out, "  %9d %-22s %s -> %s\n", c.Rows, c.Column, e[0], e[1])
				} else {
					fmt.Fprintf(out, "  %9s %-22s %s -> %s\n", "", "", e[0], e[1])
				}
			}
		}
	}
	switch {
	case inserted && r.Left > 0:
		fmt.Fprintf(out, "%d rows removed that a run which was interrupted had replaced\n", r.Left)
	case r.Left > 0:
		fmt.Fprintf(out, "%d rows are there beside those that replace them, as a run was interrupted: --insert removes them\n", r.Left)
	}
	switch {
	case inserted:
		fmt.Fprintf(out, "%d rows replaced\n", r.Replaced)
	case r.Changed > 0:
		fmt.Fprintln(out, "nothing was replaced: --insert does that")
	}
}

// printTopic says what became of the records.
func printTopic(out io.Writer, k *schema.Kind, r *transformer.RefillResult, inserted bool) {
	fmt.Fprintf(out, "%d records of topic %s\n", r.Records, k.Topic)
	account(out, r.There, "have their row", nil)
	account(out, r.Events, "have none in "+k.Table, nil)
	account(out, r.Refused, "have none in rejects: they are no event", nil)
	account(out, r.Lost, "offsets more are lost: Kafka's retention has taken them, and there is no row", nil)
	account(out, r.Beyond, "offsets more are not confirmed yet: the transformers insert them", nil)
	switch {
	case inserted:
		fmt.Fprintf(out, "%d rows inserted\n", r.Inserted)
	case r.Events+r.Refused > 0:
		fmt.Fprintln(out, "nothing was inserted: --insert does that")
	}
}
