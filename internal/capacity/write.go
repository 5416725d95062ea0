package capacity

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"millrace/internal/config"
)

// Write shows the plan to a person.
func (p *Plan) Write(w io.Writer) error {
	t := table.NewWriter()
	style := table.StyleLight
	style.Format = table.FormatOptions{} // names as they are, not in capitals
	style.Options.SeparateRows = true
	t.SetStyle(style)
	t.AppendHeader(table.Row{"", "", "how"})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}})
	for _, s := range p.Steps {
		t.AppendRow(table.Row{s.What, s.Is, strings.Join(s.How, "\n")})
	}
	_, err := fmt.Fprintf(w, "%s\nMeasured: %s.\nThe peak may use %s of the cores and of the network, what is kept %s of the disks.\n", t.Render(), p.Source, number(Busy), number(Full))
	return err
}

// number is a figure with three digits that count, or all of them from a thousand on.
// None is negative.
func number(v float64) string {
	switch {
	case v >= 1000:
		s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v < 0.001:
		return "under 0.001"
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// size is a number of bytes in decimal units, as disks and networks are sold.
func size(v float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	at := 0
	for ; v >= 1000 && at < len(units)-1; at++ {
		v /= 1000
	}
	return number(v) + " " + units[at]
}

func span(d time.Duration) string { return config.FormatDuration(d) }
