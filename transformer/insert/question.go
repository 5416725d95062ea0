package insert

import (
	"context"
	"time"
)

// askTimeout bounds a question whose context has no deadline.
const askTimeout = 30 * time.Second

// unhurried is a context that has a deadline, which the driver sets on the socket,
// and cannot be cancelled. Cancelling clickhouse-go v2.50 is not safe: a query that
// is cancelled while its answer arrives can end the whole process (conn_query.go
// closes the channel of blocks while the reader that it abandoned sends on it), and
// the watchdog of a batch may close the connection after the batch has given it
// back (context_watchdog.go takes either of two channels that are both ready).
type unhurried struct {
	context.Context
	deadline time.Time
}

func (u unhurried) Deadline() (time.Time, bool) { return u.deadline, true }
func (u unhurried) Done() <-chan struct{}       { return nil }
func (u unhurried) Err() error                  { return nil }

// ask runs a question. When ctx ends first, it returns at once and leaves f to its
// deadline: what f writes is to be used only after nil.
func ask(ctx context.Context, f func(context.Context) error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(askTimeout)
	}
	answer := make(chan error, 1)
	go func() { answer <- f(unhurried{context.WithoutCancel(ctx), deadline}) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
