package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/traffic"
	"millrace/query"
)

// What the demo sends, and when it first asks.
const (
	demoRate = 2000 // events a second: a busy filter cluster, and idle here
	demoAsks = 4 * time.Second
)

// demo sends made-up traffic to the first TCP listener (start has seen to it that
// there is one), as a mail filter would, until ctx ends; after some seconds it shows the first answers.
func (s *Stack) demo(ctx context.Context) error {
	to := ""
	for _, l := range s.ingester.Addrs() {
		if l.Network == "tcp" && to == "" {
			to = "tcp://" + l.Addr.String()
		}
	}
	s.progress("\nsending %d made-up mail events a second to %s; Ctrl-C drains and ends\n", demoRate, to)
	answered := make(chan error, 1)
	go func() {
		select {
		case <-ctx.Done():
			answered <- nil // serve shows them at the end
		case <-time.After(demoAsks):
			answered <- s.answer(ctx)
		}
	}()
	_, err := traffic.Send(ctx, traffic.SendOptions{To: to, Rate: demoRate, Connections: 2, Seed: 1, Format: "mixed"})
	if ctx.Err() != nil {
		err = nil // the demo ends by being stopped
	}
	return errors.Join(err, <-answered)
}

// answer runs the reports that show what is in the tables, once.
func (s *Stack) answer(ctx context.Context) error {
	if s.answered {
		return nil
	}
	for _, name := range []string{"top_senders", "events_by_status"} {
		report, err := query.FindReport(name)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if _, err := query.RunReport(ctx, s.readerOptions(), report, nil, &text, query.Table); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot show the report %s: %w", name, err)
		}
		s.progress("\n%s\n%s", report.Title, text.String())
	}
	s.progress("")
	s.answered = true
	return nil
}

func (s *Stack) readerOptions() query.Options {
	ch := &s.cfg.ClickHouse
	return query.Options{Addresses: ch.Addresses, Database: ch.Database, User: ch.Reader.Username, Password: ch.Reader.Password.Reveal()}
}
