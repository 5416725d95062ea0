package cmd

import (
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/query"
)

func newTrail() *cobra.Command {
	var path, data, server, format, since, until string
	var limit int
	c := &cobra.Command{
		Use:   "trail ID|ADDRESS|EPOCH/QP",
		Short: "Print what became of a message, in all logs, in order",
		Long: `Print every event of a message in order: Spamdyke's verdict, the SMTP session, the attempts to deliver it, what the filter
did with it and its statuses, reports about it, the quarantine. Ask by the filter's id, by the numbers of qmail's
"250 ok EPOCH qp PID" as EPOCH/PID or qp PID, or by an address, whose whole traffic it is then.

The column link says why a line is there: id or qp when it shares that key, inferred when sender, recipient and time
fit and the logs have no key in common. Times are UTC.`,
		Example: `  millrace trail 1phfsb-0004M4-O4
  millrace trail 1615286631/15309
  millrace trail user@example.com --since 48h
  millrace trail user@example.com --since 2026-11-01 --until 2026-11-08 --format csv`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("which message? millrace trail ID, ADDRESS or EPOCH/QP")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			f, err := query.ParseFormat(format)
			if err != nil {
				return &usageError{err}
			}
			report, params, err := trailOf(args[0], since, until)
			if err != nil {
				return err
			}
			params["limit"] = fmt.Sprint(limit)
			cfg, err := loadConfig(c, path)
			if err != nil {
				return err
			}
			if server != "" {
				cfg.ClickHouse.Addresses, cfg.ClickHouse.Shards = strings.Split(server, ","), nil
			}
			o, err := readerOptions(cfg, data)
			if err != nil {
				return err
			}
			r, err := query.FindReport(report)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			s, err := query.RunReport(ctx, o, r, params, c.OutOrStdout(), f)
			if err != nil {
				return err
			}
			if f == query.Table {
				fmt.Fprintln(c.ErrOrStderr(), s)
			}
			return nil
		},
	}
	configFlag(c, &path, theDefaults)
	set := c.Flags()
	set.StringVar(&since, "since", "", "of an address: events since `TIME`: "+query.TimeForms)
	set.StringVar(&until, "until", "", "of an address: events before `TIME`")
	set.IntVar(&limit, "limit", 1000, "print so many events at most, the first ones")
	set.StringVar(&format, "format", "table", "table, tsv, csv or json")
	set.StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	set.StringVar(&server, "server", "", "ask `HOST:PORT` (native protocol) instead of clickhouse.addresses")
	_ = c.MarkFlagDirname("data")
	oneOfFlag(c, "format", "table", "tsv", "csv", "json")
	return c
}

var (
	eximID = regexp.MustCompile(`^[0-9A-Za-z]{6}-[0-9A-Za-z]{6}(?:[0-9A-Za-z]{5})?-[0-9A-Za-z]{2}(?:[0-9A-Za-z]{2})?$`)
	qmailQ = regexp.MustCompile(`^(?:(?:250 ok )?([0-9]{9,10})(?:/| qp ))?(?:qp )?([0-9]{1,19})$`)
)

// trailOf is the report that answers, and its parameters.
func trailOf(asked, since, until string) (report string, params map[string]string, err error) {
	asked = strings.Trim(strings.TrimSpace(asked), "<>")
	if !strings.Contains(asked, "@") && (since != "" || until != "") {
		return "", nil, usagef("--since and --until are of an address; a message has all its events")
	}
	if eximID.MatchString(asked) {
		return "trail_of_id", map[string]string{"id": asked}, nil
	}
	if m := qmailQ.FindStringSubmatch(asked); m != nil {
		params := map[string]string{"qp": m[2]}
		if m[1] != "" {
			params["epoch"] = m[1]
		}
		return "trail_of_qp", params, nil
	}
	if !strings.Contains(asked, "@") {
		return "", nil, usagef("%q: neither an id as 1phfsb-0004M4-O4, nor an address, nor EPOCH/QP as 1615286631/15309", asked)
	}
	params = map[string]string{"address": asked}
	for name, text := range map[string]string{"since": since, "until": until} {
		if text == "" {
			continue
		}
		at, err := parseTime(name, text, time.Now(), time.UTC)
		if err != nil {
			return "", nil, err
		}
		params[name] = at.UTC().Format(time.DateTime)
	}
	return "trail_of_address", params, nil
}
