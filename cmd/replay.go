package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/stack/replay"
)

func newReplay() *cobra.Command {
	var path, data, server, since string
	var rejects bool
	var o replay.Options
	c := &cobra.Command{
		Use:   "replay --rejects",
		Short: "Decode stored rejects again, and insert what is an event now, once",
		Long: `Decode stored rejects again with the configuration of today, and insert what is an event now: for the day after a template
was corrected. Without --insert it only says what would become of them. What an earlier run has inserted is not inserted
again, so that one that was interrupted is simply run again. The rejects stay.
It needs the user that writes (clickhouse.username); for millrace up it finds its password in the data directory (--data).`,
		Example: `  millrace replay --rejects --config /etc/millrace.yaml
  millrace replay --rejects --reason no_template --since 48h --config /etc/millrace.yaml --insert
  millrace replay --rejects --format ours --insert`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !rejects {
				return usagef("what is to be decoded again? --rejects")
			}
			var err error
			if o.Since, err = parseSince(since, time.Now()); err != nil {
				return usagef("--since %q: %w", since, err)
			}
			if o.Config, err = loadConfig(c, path); err != nil {
				return err
			}
			if server != "" {
				o.Config.ClickHouse.Addresses = strings.Split(server, ",")
			}
			if err := writeAs(o.Config, data); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			line := newProgress(c.ErrOrStderr())
			o.Progress = func(done, all uint64) { line.show("%d of %d rejects", done, all) }
			r, err := replay.Rejects(ctx, o)
			line.end()
			if errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("%w; millrace up serves it there, another place is --server HOST:PORT", err)
			}
			if err == nil || r.Rejects > 0 {
				printReplay(c.OutOrStdout(), &r, o.Insert)
			}
			return err
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.BoolVar(&rejects, "rejects", false, "decode the table rejects again")
	f.StringVar(&o.Reason, "reason", "", "those of one `REASON` (docs/errors.md)")
	f.StringVar(&since, "since", "", "those that came since: a `TIME` as 2026-11-25 or 2026-11-25T14:00:00Z, or how long ago, as 48h")
	f.StringVar(&o.Format, "format", "", "decode as this `FORMAT` alone, whatever their listener has")
	f.BoolVar(&o.Insert, "insert", false, "insert what is an event now; without it nothing is changed")
	f.StringVar(&data, "data", "", "data `DIR` of millrace up, with its password (default: where up keeps it)")
	f.StringVar(&server, "server", "", "`HOST:PORT` (native protocol; more than one with commas) instead of clickhouse.addresses")
	_ = c.MarkFlagDirname("data")
	return c
}

// parseSince reads a time, or how long ago it was. Empty is the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := config.ParseDuration(s); err == nil {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("allowed: a time as 2026-11-25 or 2026-11-25T14:00:00Z, or how long ago, as 48h or 7d")
}

// writeAs lets the configuration write to the ClickHouse of millrace up, whose user's
// password is in its data directory, unless it names a user of its own.
func writeAs(cfg *config.Config, data string) error {
	if data == "" {
		if cfg.ClickHouse.Password.IsSet() || cfg.ClickHouse.Username != config.Default().ClickHouse.Username {
			return nil
		}
		var err error
		if data, err = cfg.Up.DataDir(); err != nil {
			return nil // no home, so no trial stack either
		}
	}
	file := filepath.Join(data, "clickhouse", "admin")
	line, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && data != cfg.Up.Data {
		return nil // a server of one's own
	}
	if err != nil {
		return fmt.Errorf("cannot read the password of the user that writes: %w", err)
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(line)), ":")
	if !ok {
		return fmt.Errorf("cannot read the password of the user that writes: %s has no line user:password", file)
	}
	cfg.ClickHouse.Username, cfg.ClickHouse.Password = user, config.NewSecret(password)
	return nil
}

// printReplay says what became of the rejects: a line each, and what of them in brackets.
func printReplay(out io.Writer, r *replay.Result, inserted bool) {
	line := func(n uint64, what string, of map[string]uint64) {
		if n == 0 {
			return
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(of)) {
			parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
		}
		if len(parts) > 0 {
			what += " (" + strings.Join(parts, ", ") + ")"
		}
		fmt.Fprintf(out, "  %9d %s\n", n, what)
	}
	sum := func(of map[string]uint64) (n uint64) {
		for _, c := range of {
			n += c
		}
		return n
	}
	fmt.Fprintf(out, "%d rejects\n", r.Rejects)
	line(r.Total(), "are events with this configuration", r.Events)
	line(r.There, "have become events before", nil)
	line(sum(r.Still), "are none", r.Still)
	line(r.Cut, "are not whole: only the beginning of the frame was kept", nil)
	line(sum(r.Strange), "came to a listener that is not in this configuration", r.Strange)
	switch {
	case inserted:
		fmt.Fprintf(out, "%d rows inserted\n", r.Inserted)
	case r.Total() > 0:
		fmt.Fprintln(out, "nothing was inserted: --insert does that")
	}
}
