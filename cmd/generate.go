package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/ingester/framing"
	"millrace/internal/config"
	"millrace/internal/history"
	"millrace/internal/traffic"
)

func newGenerate() *cobra.Command {
	var (
		o                 traffic.SendOptions
		metrics, listener string
		from, path        string
		logs, zone        string
		direct            uint64
		days, domains     int
		patience          time.Duration
	)
	c := &cobra.Command{
		Use:   "generate [--to tcp://HOST:PORT]",
		Short: "Send plausible mail traffic, and count it",
		Long: `Send plausible mail traffic to a listener and print what was sent by kind: Zipf domains and senders, messages with
the status events that belong to them, spam runs, bounces, subjects that are not ASCII or hold quotes and commas.
The same seed is the same traffic. With --wait-published the command returns when the ingester's metrics say that
Kafka acknowledged all of it, and fails when a frame was dropped.

--logs writes a mail host's logs of as many messages into a directory instead, in step with each other: the SMTP logs of
ports 25 and 587, the delivery log, Spamdyke's, and an mbox of abuse reports, for "millrace import" and files.

--direct makes up a past of so many messages in ClickHouse, without the pipeline and without Kafka: for a database of its own,
to try searches and reports on. millrace schema apply comes first, and millrace schema count behind it.

--from sends the frames of a file in place of made-up ones, once or, with --count, as often as it takes: what
"millrace capture" wrote, or frames ended by NUL or line ends. They are sent as they are, with their times and ids.`,

		Example: `  millrace generate --count 1000
  millrace generate --to tcp://127.0.0.1:5514 --count 1000000 --connections 4 --wait-published http://127.0.0.1:8514
  millrace generate --to udp://127.0.0.1:5514 --rate 5000 --count 0        # until Ctrl-C
  millrace generate --framing lf --format mixed --seed 42 --count 100000
  millrace generate --logs /tmp/logs --count 100000 --tz Europe/Sofia
  millrace generate --direct 10000000 --days 400 --domains 20000 --config trial.yaml
  millrace generate --from filter.frames --framing octet --rate 100 --count 0`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if _, _, err := traffic.ParseTarget(o.To); err != nil {
				return &usageError{err}
			}
			if logs != "" {
				for _, name := range []string{"from", "to", "rate", "connections", "framing", "header", "format", "wait-published"} {
					if c.Flags().Changed(name) {
						return usagef("--%s is for frames that are sent, not for --logs", name)
					}
				}
				return writeLogs(ctx, c, logs, zone, o.Seed, o.Count)
			}
			if direct > 0 {
				for _, name := range []string{"from", "to", "rate", "connections", "framing", "header", "format", "count", "wait-published"} {
					if c.Flags().Changed(name) {
						return usagef("--%s is for frames that are sent, not for --direct", name)
					}
				}
				return writeHistory(ctx, c, path, history.Options{Messages: direct, Days: days, Domains: domains, Seed: o.Seed})
			}
			for _, name := range []string{"days", "domains", "config"} {
				if c.Flags().Changed(name) {
					return usagef("--%s is for --direct", name)
				}
			}
			if from != "" {
				for _, name := range []string{"format", "seed", "header", "separator-share"} {
					if c.Flags().Changed(name) {
						return usagef("--%s is for traffic that is made up, not for --from", name)
					}
				}
				var err error
				if o.Frames, err = readFrames(c, from); err != nil {
					return err
				}
				if !c.Flags().Changed("count") {
					o.Count = uint64(len(o.Frames))
				}
			}
			var before traffic.Counts
			if metrics != "" {
				var err error
				if before, err = traffic.Published(ctx, metrics, listener); err != nil {
					return err
				}
			}
			line := newProgress(c.ErrOrStderr())
			o.Progress = func(r traffic.Report) { line.show("%s", sent(r)) }
			report, err := traffic.Send(ctx, o)
			line.end()
			printReport(c.OutOrStdout(), report)
			if interrupted := ctx.Err() != nil && errors.Is(err, context.Canceled); err != nil && (!interrupted || o.Count > 0) {
				return err
			}
			if metrics == "" {
				return nil
			}
			return waitPublished(c, metrics, listener, before, report.Frames, patience)
		},
	}
	f := c.Flags()
	f.StringVar(&o.To, "to", "tcp://127.0.0.1:5514", "where to send: `tcp://HOST:PORT` or udp://HOST:PORT")
	f.StringVar(&from, "from", "", "send the frames of this `FILE`; - is standard input")
	f.StringVar(&logs, "logs", "", "write a mail host's logs into this `DIR` instead")
	f.StringVar(&zone, "tz", "UTC", "with --logs: `ZONE` of their stamps")
	f.Uint64Var(&direct, "direct", 0, "make up a past of so many messages in ClickHouse instead")
	f.IntVar(&days, "days", 90, "with --direct: of so many `DAYS` up to now")
	f.IntVar(&domains, "domains", 20_000, "with --direct: of so many domains")
	configFlag(c, &path, theDefaults)
	f.Uint64Var(&o.Count, "count", 1000, "frames in all (with --from: each once); 0: until Ctrl-C")
	f.Float64Var(&o.Rate, "rate", 0, "frames a second in all; 0: as fast as TCP takes them, 20000 over UDP")
	f.IntVar(&o.Connections, "connections", 1, "connections, or UDP sockets")
	f.StringVar(&o.Framing, "framing", "nul", "what ends a frame on TCP: nul, lf, octet")
	f.StringVar(&o.Header, "header", "bare", "syslog header: bare (PRI alone), rfc3164, rfc5424")
	f.StringVar(&o.Format, "format", "m1", "format of the messages: m1, m2, m3, mixed; statuses come in the one that goes with it")
	f.Uint64Var(&o.Seed, "seed", 1, "which traffic")
	f.Float64Var(&o.SeparatorShare, "separator-share", 0, "share of the subjects that hold the columns' separator, at most 0.01")
	f.StringVar(&metrics, "wait-published", "", "wait until the ingester with the metrics at `URL` has settled all of it")
	f.StringVar(&listener, "listener", "", "with --wait-published: count this listener alone")
	f.DurationVar(&patience, "wait-timeout", 5*time.Minute, "with --wait-published: how long")
	oneOfFlag(c, "framing", "auto", "nul", "lf", "octet")
	oneOfFlag(c, "header", "bare", "rfc3164", "rfc5424")
	oneOfFlag(c, "format", traffic.Formats()...)
	return c
}

// writeHistory makes messages up in ClickHouse.
func writeHistory(ctx context.Context, c *cobra.Command, path string, o history.Options) error {
	cfg, err := loadConfig(c, path)
	if err != nil {
		return err
	}
	options, err := cfg.ClickHouseOptions()
	if err != nil {
		return err
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return fmt.Errorf("cannot use the ClickHouse options: %w", err)
	}
	defer conn.Close()
	line := newProgress(c.ErrOrStderr())
	o.Progress = func(done uint64) { line.show("made up %d of %d messages", done, o.Messages) }
	begin := time.Now()
	err = history.Write(ctx, conn, o)
	line.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "made up %d messages in %.1f s\n", o.Messages, time.Since(begin).Seconds())
	return nil
}

// writeLogs writes the logs of so many messages.
func writeLogs(ctx context.Context, c *cobra.Command, dir, zone string, seed, messages uint64) (err error) {
	loc, err := config.ParseTimeZone(zone)
	if err != nil {
		return usagef("--tz %q: %w", zone, err)
	}
	h, err := traffic.NewHostLogs(traffic.Options{Seed: seed, Start: time.Now().Add(-time.Duration(messages) * traffic.HostLogStep)}, loc)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the logs' directory: %w", err)
	}
	var texts traffic.HostTexts
	files := make([]*os.File, len(texts))
	for i := range files {
		if files[i], err = os.Create(filepath.Join(dir, traffic.HostLog(i).File())); err != nil {
			return fmt.Errorf("cannot write a log: %w", err)
		}
		defer files[i].Close()
	}
	flush := func() error {
		for i, f := range files {
			if _, err := f.Write(texts[i]); err != nil {
				return fmt.Errorf("cannot write a log: %w", err)
			}
			texts[i] = texts[i][:0]
		}
		return nil
	}
	lines, n := 0, uint64(0)
	for ; (n < messages || messages == 0) && ctx.Err() == nil; n++ {
		lines += h.Next(&texts)
		if n%1000 == 999 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	lines += h.End(&texts)
	if err := flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "wrote %d messages, %d lines, to %s\n", n, lines, dir)
	return nil
}

// readFrames are the frames of a file, without counts and trailers.
func readFrames(c *cobra.Command, path string) ([][]byte, error) {
	data, name, err := readSample(c, path)
	if err != nil {
		return nil, err
	}
	var frames [][]byte
	framer := framing.New(framing.Detect(data), maxSample)
	for {
		f, advance, ok := framer.Next(data, framing.EOF)
		data = data[advance:]
		switch {
		case !ok && len(frames) == 0:
			return nil, fmt.Errorf("cannot find a frame in %s", name)
		case !ok:
			return frames, nil
		case f.Reject != "":
			return nil, fmt.Errorf("cannot read frame %d of %s: %s: %s", len(frames)+1, name, f.Reject, f.Detail)
		case f.Drop == "":
			frames = append(frames, f.Bytes)
		}
	}
}

func waitPublished(c *cobra.Command, metrics, listener string, before traffic.Counts, frames uint64, patience time.Duration) error {
	// Ctrl-C may have ended the sending; it ends the waiting anew.
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s are over (--wait-timeout)", patience))
	defer cancel()
	counts, err := traffic.WaitPublished(ctx, metrics, listener, before, frames)
	fmt.Fprintf(c.OutOrStdout(), "published %d rejected %d dropped %d\n", counts.Published, counts.Rejected, counts.Dropped)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("cannot see all frames published: %w: %w", err, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("cannot see all frames published: %w", err)
	}
	return nil
}

func sent(r traffic.Report) string {
	rate := 0.0
	if s := r.Elapsed.Seconds(); s > 0 {
		rate = float64(r.Frames) / s
	}
	return fmt.Sprintf("sent %d frames, %.1f MB in %.1f s, %.0f/s", r.Frames, float64(r.Bytes)/1e6, r.Elapsed.Seconds(), rate)
}

// printReport prints one line in all and one for each kind: "message 650".
func printReport(out io.Writer, r traffic.Report) {
	fmt.Fprintln(out, sent(r))
	kinds := make([]string, 0, len(r.ByKind))
	for kind := range r.ByKind {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		fmt.Fprintf(out, "%s %d\n", kind, r.ByKind[kind])
	}
}

// progress is one line that is written over, on a terminal only.
type progress struct {
	out   io.Writer
	shown bool
}

func newProgress(out io.Writer) *progress {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progress{out: out}
	}
	return &progress{}
}

func (p *progress) show(format string, args ...any) {
	if p.out == nil {
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K"+format, args...)
	p.shown = true
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
