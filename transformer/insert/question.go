package insert

import (
	"context"
	"time"
)

// askTimeout bounds a question whose context has no deadline.
const askTimeout = 30 * time.Second

// unhurried is a context that has a deadline, which the driver sets on the socket,
// and cannot be cancelled. Cancelling a query of clickhouse-go v2.50 while its
// answer arrives can end the whole process: one goroutine closes the channel of
// blocks (conn_query.go) while the reader that it abandoned sends on it.
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
