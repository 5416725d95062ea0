package search

import (
	"context"
	"strings"
	"time"

	"millrace/query"
	"millrace/query/access"
)

const (
	followEvery = time.Second
	// late is how long an event may take from the ingester into its table and still be seen.
	late = 2 * time.Minute
)

// Follow writes rows as their events come in, until the context ends: of messages the state
// after each event. ready, if not nil, is closed when it has begun to look.
func Follow(ctx context.Context, o query.Options, scope access.Scope, q Query, limits query.Limits, out query.Output, ready chan<- struct{}) error {
	q.Limit, q.Offset, q.After, q.Ascending = 0, 0, "", true
	begun := time.Now()
	seen := map[string]time.Time{} // a row's state, and when it was last looked at
	for first := true; ; first = false {
		now := time.Now()
		q.arrived = begun
		if since := now.Add(-late); since.After(begun) {
			q.arrived = since
		}
		s, err := q.Build(database(o), scope, now)
		if err != nil {
			return err
		}
		out.Hidden, out.NoHeader, out.PlainAddresses = s.Hidden, !first, true
		out.Row = func(hidden []string) bool {
			row := strings.Join(hidden, "\x00")
			_, twice := seen[row]
			seen[row] = now
			return !twice
		}
		stop := s.withLocked(ctx, o, limits, &out)
		_, err = query.RunStatement(ctx, o, query.Statement{SQL: s.SQL, Parameters: s.Parameters, Limits: limits}, out)
		if stop(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for row, at := range seen {
			if now.Sub(at) > late {
				delete(seen, row)
			}
		}
		if first && ready != nil {
			close(ready)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}
