package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// The causes that a context of Run ends with.
var (
	// ErrStopped is the soft context's cause after a signal.
	ErrStopped = errors.New("asked to stop")
	// ErrDrainTimeout is the hard context's cause when draining took too long.
	ErrDrainTimeout = errors.New("the drain timeout is over")
	// ErrSecondSignal is the hard context's cause after a second signal.
	ErrSecondSignal = errors.New("asked to stop at once")
)

// RunOptions is how Run stops.
type RunOptions struct {
	DrainTimeout time.Duration // 0: 30 s
	Logger       *slog.Logger  // nil: nothing is logged
}

// Run calls f with two contexts. soft ends at the first SIGINT or SIGTERM, or
// with parent: f then stops reading and hands over what it has read. hard ends
// a drain timeout after soft, or at the second signal: f then returns at once.
// A third signal kills the process, as if Run were not there.
//
// Run returns what f returns; an error of f that only repeats why the contexts
// ended says what was cut short. After a drain that f finished, return nil.
func Run(parent context.Context, o RunOptions, f func(soft, hard context.Context) error) error {
	log := orDiscard(o.Logger)
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 30 * time.Second
	}
	soft, stop := context.WithCancelCause(parent)
	hard, kill := context.WithCancelCause(context.WithoutCancel(parent))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	over := make(chan struct{})  // f has returned
	ended := make(chan struct{}) // so has the goroutine
	go func() {
		defer close(ended)
		defer signal.Stop(signals)
		select {
		case s := <-signals:
			log.Info("stopping: handing over what has been read", "signal", s.String(), "drain_timeout", o.DrainTimeout)
			stop(ErrStopped)
		case <-parent.Done():
			stop(context.Cause(parent))
		case <-over:
			return
		}
		timeout := time.NewTimer(o.DrainTimeout)
		defer timeout.Stop()
		select {
		case s := <-signals:
			signal.Stop(signals) // the next one kills
			log.Warn("stopping at once", "signal", s.String())
			kill(ErrSecondSignal)
		case <-timeout.C:
			log.Warn("stopping at once: the drain timeout is over", "drain_timeout", o.DrainTimeout)
			kill(ErrDrainTimeout)
		case <-over:
			return
		}
		<-over
	}()

	err := f(soft, hard)
	close(over)
	<-ended
	cause := context.Cause(hard)
	stop(nil)
	kill(nil)
	if err != nil && cause != nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("cannot finish draining: %w", cause)
	}
	return err
}

// An exitError carries the exit code of the process.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }
func (e *exitError) ExitCode() int { return e.code }

// WithExitCode makes err end the process with that code. 2 is for what the
// person who starts it can mend: usage, configuration, a port that is taken.
func WithExitCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// ExitCode of an error: its own, else 1; of nil: 0.
func ExitCode(err error) int {
	var coded interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return 1
}
