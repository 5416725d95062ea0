package stack

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"

	"golang.org/x/term"

	"millrace/internal/config"
)

// quietHandler keeps what is below a warning to itself while quiet is true. A
// person at a terminal reads progress lines while the stack starts and stops;
// the log of a normal start and stop would say the same twice.
type quietHandler struct {
	slog.Handler
	quiet *atomic.Bool
}

func (h quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return (level >= slog.LevelWarn || !h.quiet.Load()) && h.Handler.Enabled(ctx, level)
}

func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(attrs), h.quiet}
}

func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name), h.quiet}
}

// always is the quiet of what a progress line says instead.
var always = func() *atomic.Bool { b := new(atomic.Bool); b.Store(true); return b }()

// watched tells whether a person reads the log beside the progress lines, and
// has not asked for more of it.
func (s *Stack) watched() bool {
	return s.line.terminal && term.IsTerminal(int(os.Stderr.Fd())) && s.cfg.Log.Format == "text" && s.cfg.Log.Level == slog.LevelInfo
}

// watchStop shows the begin of a stop to a person, as logStop does to a log.
func (s *Stack) watchStop(soft context.Context) (stop func() bool) {
	return context.AfterFunc(soft, func() {
		s.quiet.Store(true)
		s.progress("stopping: handing over what has been read, for %s at most; another Ctrl-C stops at once", config.FormatDuration(s.cfg.Stop.DrainTimeout))
	})
}
