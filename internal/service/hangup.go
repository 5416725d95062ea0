package service

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// Hangups receives SIGHUP, which does not end the process any more, from Listen to Close:
// one that comes before anybody waits is not lost.
type Hangups struct {
	signals  chan os.Signal
	terminal bool
	log      *slog.Logger
}

// ListenHangups begins.
func ListenHangups(log *slog.Logger) *Hangups {
	h := &Hangups{make(chan os.Signal, 1), term.IsTerminal(int(os.Stdout.Fd())), orDiscard(log)}
	signal.Notify(h.signals, syscall.SIGHUP)
	return h
}

// Close lets SIGHUP end the process again.
func (h *Hangups) Close() { signal.Stop(h.signals) }

// Each calls f for every SIGHUP until ctx ends. The SIGHUP of a terminal that was closed
// is none of those: who sat there has gone, and the process stops as after SIGTERM.
func (h *Hangups) Each(ctx context.Context, f func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.signals:
		}
		if h.terminal && !term.IsTerminal(int(os.Stdout.Fd())) {
			h.log.Info("the terminal has gone")
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Signal(syscall.SIGTERM)
			}
			return
		}
		f()
	}
}
