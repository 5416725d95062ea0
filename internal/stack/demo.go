package stack

import (
	"context"
	"fmt"
	"io"
	"time"

	"millrace/internal/traffic"
	"millrace/query"
)

// What the demo sends, and when it first asks.
const (
	demoRate = 2000 // events a second: a busy filter cluster, and idle here
	demoAsks = 4 * time.Second
)

// demo sends made-up traffic to the first TCP listener, as a mail filter would,
// until ctx ends; after some seconds it shows the first answers.
func (s *Stack) demo(ctx context.Context) error {
	to := ""
	for _, l := range s.ingester.Addrs() {
		if l.Network == "tcp" && to == "" {
			to = "tcp://" + l.Addr.String()
		}
	}
	if to == "" {
		return fmt.Errorf("cannot run the demo: it sends over TCP, and there is no TCP listener (--syslog-tcp)")
	}
	s.progress("\nsending %d made-up mail events a second to %s; Ctrl-C drains and ends\n", demoRate, to)
	answers := make(chan error, 1)
	go func() { answers <- s.answers(ctx) }()
	_, err := traffic.Send(ctx, traffic.SendOptions{To: to, Rate: demoRate, Connections: 2, Seed: 1, Format: "mixed"})
	if ctx.Err() != nil {
		err = nil // the demo ends by being stopped
	}
	if answer := <-answers; err == nil {
		err = answer
	}
	return err
}

// answers runs the reports that show what is in the tables.
func (s *Stack) answers(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(demoAsks):
	}
	for _, name := range []string{"top_senders", "events_by_status"} {
		report, err := query.FindReport(name)
		if err != nil {
			return err
		}
		var failed error
		s.line.interrupt(func(w io.Writer) {
			fmt.Fprintf(w, "\n%s\n", report.Title)
			_, failed = query.RunReport(ctx, s.readerOptions(), report, nil, w, query.Table)
		})
		if failed != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot show the report %s: %w", name, failed)
		}
	}
	s.progress("")
	return nil
}

func (s *Stack) readerOptions() query.Options {
	ch := &s.cfg.ClickHouse
	return query.Options{Addresses: ch.Addresses, Database: ch.Database, User: ch.Reader.Username, Password: ch.Reader.Password.Reveal()}
}
