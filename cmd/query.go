package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/query"
)

func newQuery() *cobra.Command {
	var path, data, name, server string
	var list bool
	var params map[string]string
	var words []string
	for _, f := range query.Formats() {
		words = append(words, string(f))
	}
	c := &cobra.Command{
		Use:   `query ["SQL" | --report NAME]`,
		Short: "Ask ClickHouse, as a user that can only read",
		Long: `Ask ClickHouse, as a user that can only read, and print an aligned table, or TSV, CSV or JSON lines.
Server, user and password come from the configuration (clickhouse.reader). If it gives no password, they come from
the file that millrace up wrote into its data directory (--data).`,
		Example: `  millrace query "SELECT received_at, sender, recipient, status FROM message_events ORDER BY received_at DESC LIMIT 5"
  millrace query --format json "SELECT reason, count() AS n FROM rejects GROUP BY reason"
  millrace query --report top_senders --param hours=24
  millrace query --reports`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := query.ParseFormat(c.Flag("format").Value.String())
			if err != nil {
				return &usageError{err}
			}
			if list {
				return printReports(c)
			}
			if (len(args) == 1) == (name != "") {
				return usagef("either one SQL statement, in quotes, or --report NAME")
			}
			if name == "" && len(params) > 0 {
				return usagef("--param is for --report")
			}
			cfg, err := loadConfig(c, path)
			if err != nil {
				return err
			}
			if server != "" {
				cfg.ClickHouse.Addresses = strings.Split(server, ",")
			}
			o, err := readerOptions(cfg, data)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			var s query.Summary
			if name != "" {
				r, notFound := query.FindReport(name)
				if notFound != nil {
					return &usageError{notFound}
				}
				s, err = query.RunReport(ctx, o, r, params, c.OutOrStdout(), format)
			} else {
				s, err = query.Run(ctx, o, args[0], c.OutOrStdout(), format)
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("%w; millrace up serves it there, another place is --server HOST:PORT", err)
			}
			if err != nil {
				return err
			}
			if format == query.Table {
				fmt.Fprintln(c.ErrOrStderr(), s)
			}
			return nil
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.String("format", string(query.Table), "how to print it: "+strings.Join(words, ", ")+"; tsv has no header line, json has an object a line")
	f.StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	f.StringVar(&server, "server", "", "ask `HOST:PORT` (native protocol; more than one with commas) instead of clickhouse.addresses")
	f.StringVar(&name, "report", "", "run a report instead of SQL")
	f.StringToStringVar(&params, "param", nil, "parameter of the report, `NAME=VALUE`; may be repeated")
	f.BoolVar(&list, "reports", false, "list the reports and their parameters")
	oneOfFlag(c, "format", words...)
	var reports []string
	for _, r := range query.Reports() {
		reports = append(reports, r.Name)
	}
	oneOfFlag(c, "report", reports...)
	_ = c.MarkFlagDirname("data")
	return c
}

func printReports(c *cobra.Command) error {
	for _, r := range query.Reports() {
		fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", r.Name, r.Title)
		for _, p := range r.Parameters {
			fmt.Fprintf(c.OutOrStdout(), "  --param %s=%s   %s\n", p.Name, p.Default, p.Doc)
		}
	}
	return nil
}

// readerOptions is where and as whom to ask.
func readerOptions(cfg *config.Config, data string) (query.Options, error) {
	ch, err := cfg.ClickHouseReaderOptions()
	if err != nil {
		return query.Options{}, err
	}
	o := query.Options{
		Addresses: ch.Addr, Database: cfg.ClickHouse.ReadDatabase(), User: ch.Auth.Username, Password: ch.Auth.Password,
		TLS: ch.TLS, DialTimeout: ch.DialTimeout,
	}
	if cfg.ClickHouse.Reader.Password.IsSet() && data == "" {
		return o, nil
	}
	given := data != "" || cfg.Up.Data != ""
	if data == "" {
		if data, err = cfg.Up.DataDir(); err != nil {
			return o, nil // no home, so no trial stack either
		}
	}
	line, err := os.ReadFile(filepath.Join(data, "clickhouse-reader"))
	if errors.Is(err, fs.ErrNotExist) && !given {
		return o, nil // a server of one's own whose reader has no password
	}
	if err != nil {
		return o, fmt.Errorf("cannot read the reader's password: %w", err)
	}
	user, password, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
	if !ok {
		return o, fmt.Errorf("cannot read the reader's password: %s has no line user:password", filepath.Join(data, "clickhouse-reader"))
	}
	o.User, o.Password = user, password
	return o, nil
}
