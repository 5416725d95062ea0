package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Write shows it to a person.
func (s Status) Write(w io.Writer) error {
	p := &page{now: s.Now}
	state := "ready"
	if !s.Ready {
		state = "NOT READY"
	}
	p.line("millrace %s %s, running for %s: %s", s.Daemon, s.Version, span(s.Now.Sub(s.Started)), state)
	for _, u := range s.Waiting {
		p.line("  %s: %s", u.For, printable(u.Reason))
	}
	if len(s.Listeners) > 0 {
		p.accounts(s.Listeners)
		p.reasons(s.Listeners)
	}
	p.publisher(s.Publisher)
	p.transformer(s.Transformer)
	if len(s.Listeners) > 0 {
		p.peers(s.Listeners)
	}
	p.hosts(s.FilteringHosts)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// page is what is being written.
type page struct {
	b   strings.Builder
	now time.Time
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// table writes rows under a title. Columns whose name begins with ">" stand to the right.
func (p *page) table(title string, columns []string, rows []table.Row) {
	p.line("\n%s", title)
	t := table.NewWriter()
	style := table.StyleLight
	style.Format = table.FormatOptions{} // names as they are, not in capitals
	t.SetStyle(style)
	header := make(table.Row, len(columns))
	configs := make([]table.ColumnConfig, len(columns))
	for i, c := range columns {
		name, right := strings.CutPrefix(c, ">")
		header[i] = name
		configs[i].Number = i + 1
		if right {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	t.AppendRows(rows)
	p.line("%s", t.Render())
}

func (p *page) accounts(listeners []Listener) {
	var rows []table.Row
	amiss := false
	for _, l := range listeners {
		closes := "yes"
		if !l.Closes {
			closes, amiss = "NO", true
		}
		open := none
		if !strings.HasPrefix(l.Address, "udp:") && !strings.HasPrefix(l.Address, "unixgram:") {
			open = count(uint64(max(l.Connections, 0)))
		}
		rows = append(rows, table.Row{
			l.Name, l.Address, count(l.Received), count(l.Published), count(l.Joined), count(total(l.Rejected)), count(total(l.Dropped)), count(uint64(max(l.InFlight, 0))), closes,
			size(l.Bytes), open, p.ago(l.LastEvent),
		})
	}
	p.table("Frames: received = published + joined + rejected + dropped + in flight",
		[]string{"listener", "address", ">received", ">published", ">joined", ">rejected", ">dropped", ">in flight", "adds up", ">bytes", ">open", ">last"}, rows)
	if amiss {
		p.line("An account that does not add up twice in a row is a bug: please report it, with the answer of millrace status --json.")
	}
}

func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (p *page) reasons(listeners []Listener) {
	var rows []table.Row
	for _, l := range listeners {
		for _, of := range []struct {
			what   string
			counts map[string]uint64
		}{{"rejected", l.Rejected}, {"dropped", l.Dropped}} {
			for _, reason := range slices.Sorted(maps.Keys(of.counts)) {
				n := of.counts[reason]
				rows = append(rows, table.Row{l.Name, of.what, printable(reason), count(n), share(n, l.Received)})
			}
		}
	}
	if len(rows) > 0 {
		p.table("Rejected (kept in the table rejects) and dropped (nothing is kept), by reason: docs/errors.md says what to do",
			[]string{"listener", "frames were", "reason", ">frames", ">share"}, rows)
	}
}

func (p *page) publisher(k *Publisher) {
	if k == nil {
		return
	}
	state := "takes records"
	if k.Error != "" {
		state = "takes NO records: " + printable(k.Error)
	}
	p.line("\nKafka %s; %s of %s buffer in use, %s batches acknowledged, %s attempts failed and were repeated, %s possible duplicates",
		state, size(uint64(max(k.BufferedBytes, 0))), size(uint64(max(k.BufferLimitBytes, 0))), count(k.Batches), count(k.Retries), count(k.PossibleDuplicates))
}

func (p *page) transformer(t *Transformer) {
	if t == nil {
		return
	}
	var rows []table.Row
	for _, x := range t.Tables {
		lag := count(uint64(max(x.Lag, 0)))
		if x.Partitions == 0 {
			lag = none
		}
		rows = append(rows, table.Row{x.Name, count(x.Rows), lag, x.Partitions})
	}
	p.table("Into ClickHouse", []string{"table", ">rows inserted", ">lag in records", ">partitions here"}, rows)
	p.line("%s inserts, %s attempts failed and were repeated, %s buffered; %s records were no events, %s were lost to retention",
		count(t.Inserts), count(t.InsertErrors), size(uint64(max(t.BufferedBytes, 0))), count(t.RefusedRecords), count(t.LostRecords))
	for _, b := range t.Blocked {
		p.line("BLOCKED %s", printable(b))
	}
}

const clockNote = "Clock: its own time less the time of arrival, median of the last ones; + is ahead, - behind or sent late."

func (p *page) peers(listeners []Listener) {
	var rows []table.Row
	for _, l := range listeners {
		for _, s := range l.Peers.Shown {
			host := printable(s.FilteringHost)
			if s.SeveralHosts {
				host += ", ..."
			}
			rows = append(rows, table.Row{l.Name, printable(s.Name), host, count(s.Frames), rate(s.Rate), share(s.Rejects, s.Frames),
				count(s.Dropped), size(s.Bytes), clock(&s), p.ago(s.Last)})
		}
	}
	if len(rows) == 0 {
		p.line("\nNobody has sent anything yet.")
		return
	}
	p.table("Peers of each listener, the busiest first", []string{"listener", "peer", "filtering host", ">frames", ">frames/s", ">rejects", ">dropped", ">bytes", ">clock", ">last"}, rows)
	for _, l := range listeners {
		p.others(l.Name, &l.Peers)
	}
	p.line(clockNote)
}

func (p *page) hosts(of *Senders) {
	if of == nil || len(of.Shown) == 0 {
		return
	}
	var rows []table.Row
	unknown := false
	for _, s := range of.Shown {
		rejects := share(s.Rejects, s.Frames+s.Rejects)
		if s.RejectsUnknown {
			rejects, unknown = "?", true
		}
		rows = append(rows, table.Row{printable(s.Name), count(s.Frames), rate(s.Rate), rejects, size(s.Bytes), clock(&s), p.ago(s.Last)})
	}
	p.table("Filtering hosts, the busiest first", []string{"filtering host", ">events", ">events/s", ">rejects", ">bytes", ">clock", ">last"}, rows)
	if n := of.Known - len(of.Shown); n > 0 && of.Others != nil {
		p.line("%s more filtering hosts: %s events (--peers N shows more)", count(uint64(n)), count(of.Others.Frames))
	}
	if unknown {
		p.line("?: its frames come with others' from one peer, without a header that names it; a frame that cannot be decoded is nobody's then.")
	}
}

func clock(s *Sender) string {
	if s.Skew == nil {
		return none
	}
	return signed(*s.Skew)
}

func (p *page) others(listener string, s *Senders) {
	if s.Others == nil {
		return
	}
	more := ""
	if n := s.Known - len(s.Shown); n > 0 {
		more = fmt.Sprintf("%s more peers", count(uint64(n)))
	}
	if s.Gone > 0 {
		if more != "" {
			more += " and "
		}
		more += fmt.Sprintf("%s that made room for others", count(s.Gone))
	}
	p.line("%s: %s: %s frames, %s of them rejects, %s dropped (--peers N shows more)", listener, more,
		count(s.Others.Frames), count(s.Others.Rejects), count(s.Others.Dropped))
}
