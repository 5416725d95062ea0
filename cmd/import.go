package cmd

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/service"
	"millrace/stack/importer"
)

// importFlags are the command line of millrace import.
type importFlags struct {
	path, data, server, kafka string

	formats   []string
	like      string
	name      string
	zone      string
	port      int
	direction string
	raw       string
	body      bool
	maxLine   int
}

func newImport() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import --format FORMAT FILE...",
		Short: "Load old logs, stored syslog and abuse reports",
		Long: `Load log files that were written before, plain or compressed with gzip, zstd or bzip2, and abuse reports in files of
mail, mboxes and Maildirs (--format arf). Events keep their own time (event_time) and are found by it; they are kept for
as long as retention.events says from today on.

An import that was interrupted goes on where it was when the same command is run again, and a file that is imported
twice, or has been followed by an ingester (files), is there once: what ClickHouse has of it, or Kafka on its way there,
is left out. It is known by what it begins with, under whatever name, compressed or not. Do not import a file while an
ingester follows it.

A time without a zone is read in --tz, one without a year is of the last year that fits the file's age.`,
		Example: `  millrace import --format smtp --smtp-port 25 --tz Europe/Sofia /var/log/qmail/smtp-25.log.*
  millrace import --format builtin /srv/old/relay-2025-*.log.gz
  millrace import --like delivery --config /etc/millrace.yaml delivery.log.1.zst
  millrace import --format arf ~/Maildir abuse.mbox report.eml`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("which files? millrace import --format FORMAT FILE...")
			}
			return nil
		},
		RunE: f.run,
	}
	configFlag(c, &f.path, theDefaults)
	set := c.Flags()
	set.StringSliceVar(&f.formats, "format", nil, "`FORMATS` of the lines: builtin, names of templates, smtp, delivery, spamdyke; or arf")
	set.StringVar(&f.like, "like", "", "read them as the configuration's entry of files, or listener, of this `NAME`")
	set.StringVar(&f.name, "name", "import", "`NAME` for the column listener")
	set.StringVar(&f.zone, "tz", "UTC", "`ZONE` of times that name none, as Europe/Sofia or +02:00")
	set.IntVar(&f.port, "smtp-port", 0, "port that an SMTP log is of: 25, 465 or 587")
	set.StringVar(&f.direction, "direction", "unknown", "which mail the files log: incoming, outgoing or unknown")
	set.StringVar(&f.raw, "raw", "flagged", "which events keep the lines they came from: always, flagged or never")
	set.BoolVar(&f.body, "body", false, "--format arf: keep the bodies of the original messages")
	set.IntVar(&f.maxLine, "max-line", 0, "bytes of the longest line, or mail; a longer one is rejected with its beginning (default 64 KiB, of mail 16 MiB)")
	set.StringVar(&f.data, "data", "", "data `DIR` of millrace up, with its passwords (default: where up keeps it)")
	set.StringVar(&f.server, "server", "", "ask ClickHouse at `HOST:PORT` (native protocol) instead of clickhouse.addresses")
	set.StringVar(&f.kafka, "kafka", "", "publish to the broker at `HOST:PORT` instead of kafka.brokers")
	_ = c.MarkFlagDirname("data")
	oneOfFlag(c, "direction", "incoming", "outgoing", "unknown")
	oneOfFlag(c, "raw", "always", "flagged", "never")
	return c
}

func (f *importFlags) run(c *cobra.Command, paths []string) error {
	cfg, err := loadConfig(c, f.path)
	if err != nil {
		return err
	}
	as, err := f.understood(c, cfg)
	if err != nil {
		return err
	}
	if f.server != "" {
		cfg.ClickHouse.Addresses, cfg.ClickHouse.Shards = strings.Split(f.server, ","), nil
	}
	asked, err := auditOptions(cfg, f.data, f.kafka)
	if err != nil {
		return err
	}
	cfg.Kafka.Brokers = asked.Brokers
	log, err := service.NewLogger(c.ErrOrStderr(), slog.LevelWarn, "text")
	if err != nil {
		return err
	}
	size, err := sizeOf(paths)
	if err != nil {
		return err
	}
	o := importer.Options{
		ImportOptions: ingester.ImportOptions{Config: cfg, As: *as, Mail: slices.Equal(as.Formats, []string{config.ReportFormat}), Body: f.body, Paths: paths, Log: log},
		ClickHouse:    asked.ClickHouse, Database: cfg.ClickHouse.Database,
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends it at once
	line, began := newProgress(c.ErrOrStderr()), time.Now()
	var last *ingester.Imported
	err = importer.Run(ctx, o, func(done *ingester.Imported) {
		last = done
		line.show("%s", importBar(done, size, time.Since(began)))
	})
	line.end()
	if last != nil {
		fmt.Fprintln(c.OutOrStdout(), imported(last.Account(), last.Bytes.Load(), time.Since(began)))
	}
	return err
}

// understood is how the lines are read.
func (f *importFlags) understood(c *cobra.Command, cfg *config.Config) (*config.Files, error) {
	zone, err := config.ParseTimeZone(f.zone)
	if err != nil {
		return nil, usagef("--tz %q: %w; allowed a name such as Europe/Sofia, or an offset such as +02:00", f.zone, err)
	}
	as := &config.Files{Name: f.name, TimeZone: zone, Direction: f.direction, Raw: f.raw, SMTPPort: f.port, Formats: f.formats, GroupTimeout: time.Minute}
	switch {
	case f.like != "" && f.formats != nil:
		return nil, usagef("--like and --format: one of them says how the lines are read")
	case f.like != "":
		if as = likeOf(cfg, f.like); as == nil {
			return nil, usagef("--like %q: the configuration has neither files nor a listener of that name", f.like)
		}
		as.RejectLimit = config.RejectLimit{}
	case f.formats == nil:
		return nil, usagef("which format have the lines? --format builtin, smtp, delivery, spamdyke or arf, or --like NAME")
	}
	if as.MaxLine = config.Size(f.maxLine); f.maxLine == 0 {
		as.MaxLine = 64 * config.KiB
		if slices.Contains(as.Formats, config.ReportFormat) {
			as.MaxLine = 16 * config.MiB
		}
	}
	if err := cfg.CheckFormats(as); err != nil {
		return nil, &usageError{err}
	}
	return as, nil
}

// likeOf is how the lines of files, or of a listener, are read.
func likeOf(cfg *config.Config, name string) *config.Files {
	for i := range cfg.Files {
		if cfg.Files[i].Name == name {
			as := cfg.Files[i]
			return &as
		}
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.Name != name {
			continue
		}
		as := &config.Files{
			Name: l.Name, Formats: l.Formats, TimeZone: l.TimeZone, Nulls: l.Nulls, Direction: l.Direction, SMTPPort: l.SMTPPort, GroupTimeout: l.GroupTimeout, Raw: l.Raw,
		}
		if l.Address.Mail() {
			as.Formats = []string{config.ReportFormat}
		}
		return as
	}
	return nil
}

// sizeOf is how many bytes the files are, those of Maildirs included.
func sizeOf(paths []string) (size int64, err error) {
	for _, p := range paths {
		err := filepath.WalkDir(p, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				size += info.Size()
			}
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("cannot import %q: %w", p, err)
		}
	}
	return size, nil
}

// importBar shows how far it is.
func importBar(done *ingester.Imported, size int64, since time.Duration) string {
	read := done.Bytes.Load()
	text := bar(uint64(read), uint64(size))
	if s := since.Seconds(); s > 0.5 && read > 0 {
		left := time.Duration(float64(size-read) / (float64(read) / s) * float64(time.Second))
		text += fmt.Sprintf("  %.1f MB/s, %.0f lines/s, %s left", float64(read)/s/1e6, float64(done.Account().Received)/s, max(left, 0).Round(time.Second))
	}
	return text
}

// imported is an import in one line.
func imported(a ingester.Account, bytes int64, took time.Duration) string {
	return fmt.Sprintf("%d lines, %.1f MB in %.1f s: %d events, %d rejects; %d lines belong to another's event, or were there already, %d dropped",
		a.Received, float64(bytes)/1e6, took.Seconds(), a.Published, a.RejectedTotal(), a.Joined, a.DroppedTotal())
}
