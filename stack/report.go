package stack

import (
	"slices"
	"time"

	"millrace/ingester"
	"millrace/internal/service"
	"millrace/internal/status"
	"millrace/schema"
	"millrace/transformer"
)

// report is what a daemon says under /status. Parts that it has not, or not yet, are
// nil.
func (o *Options) report(daemon string, started time.Time, c *service.Conditions, in *ingester.Ingester, t *transformer.Transformer) status.Status {
	s := status.Status{Daemon: daemon, Version: o.Version, Commit: o.Commit, Now: time.Now().UTC(), Started: started.UTC()}
	for _, u := range c.Unmet() {
		s.Waiting = append(s.Waiting, status.Waiting{For: u.Name, Reason: u.Err.Error()})
	}
	s.Ready = len(s.Waiting) == 0
	if in != nil {
		in.Status(&s)
	}
	if t != nil {
		s.Transformer = o.transformed(t)
	}
	return s
}

func (o *Options) transformed(t *transformer.Transformer) *status.Transformer {
	stats := t.Stats()
	s := &status.Transformer{
		BufferedBytes: stats.HeldBytes.Load(), Inserts: stats.Inserts.Load(), InsertErrors: stats.InsertErrors.Load(),
		RefusedRecords: stats.RefusedRecords.Load(), LostRecords: stats.LostRecords.Load(),
	}
	for _, err := range t.State().Blocked {
		s.Blocked = append(s.Blocked, err.Error())
	}
	slices.Sort(s.Blocked)
	lags := stats.Lags()
	for _, k := range schema.Kinds() {
		table := status.Table{Name: k.Table, Rows: stats.Rows(k.Table)}
		for _, l := range lags {
			if l.Topic == o.Config.Kafka.Topic(k.Topic) {
				table.Lag += l.Records
				table.Partitions++
			}
		}
		s.Tables = append(s.Tables, table)
	}
	return s
}
