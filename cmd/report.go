package cmd

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/query"
	"millrace/schema"
)

// invalidSenders is the configuration's reports.invalid_sender.
func invalidSenders(cfg *config.Config) []schema.Invalid {
	var all []schema.Invalid
	for _, i := range cfg.Reports.InvalidSender {
		all = append(all, schema.Invalid(i))
	}
	return all
}

func newReport() *cobra.Command {
	var path, data, server, format, dir, last string
	var params []string
	flags := map[string]*string{} // parameters that have a flag of their own
	c := &cobra.Command{
		Use:   "report [NAME]",
		Short: "Ask a question that has a name: who sends spam, what fails, what waits",
		Long: `Ask a question that has a name, over a period; alone it lists the questions. Each has parameters, of which the common ones
are flags and the others --param NAME=VALUE; millrace report NAME --help-report says what they are.

A folder of your own reports (--dir, or reports.dir in the configuration) stands beside the built-in ones; docs/reports.md
says how a file looks. What has to be known about an answer, such as a column that is empty everywhere because the filter's
template lacks a variable, comes as a note on standard error. Times are UTC, or of the zone of --tz.`,
		Example: `  millrace report
  millrace report outgoing --group-by identity --class rejected --last 12h
  millrace report top_spammers --domain example.com --format csv
  millrace report senders_over --param threshold=500 --param window=600
  millrace report top_spammers --group-by identity --format ndjson | millrace lock --from - --reason "spam run" --dry-run
  millrace report volume --since 2026-11-01 --until 2026-11-08 --group-by day --tz Europe/Sofia`,
		Args: cobra.MaximumNArgs(1),
	}
	var help bool
	c.RunE = func(c *cobra.Command, args []string) error {
		if format == "ndjson" {
			format = string(query.JSON) // as millrace search calls it
		}
		f, err := query.ParseFormat(format)
		if err != nil {
			return &usageError{err}
		}
		cfg, err := loadConfig(c, path)
		if err != nil {
			return err
		}
		if !c.Flags().Changed("dir") {
			dir = cfg.Reports.Dir
		}
		list, broken := query.ReadReports(dir)
		if broken != nil {
			fmt.Fprintf(c.ErrOrStderr(), "millrace: warning: %v\n", broken)
		}
		if len(args) == 0 {
			return query.WriteReports(c.OutOrStdout(), list)
		}
		r, err := query.FindIn(list, args[0])
		if err != nil {
			return &usageError{err}
		}
		if help {
			return r.WriteHelp(c.OutOrStdout())
		}
		given := map[string]string{}
		for name, value := range flags {
			if c.Flags().Changed(strings.ReplaceAll(name, "_", "-")) {
				given[name] = *value
			}
		}
		if c.Flags().Changed("last") {
			if given["since"] != "" {
				return usagef("either --since or --last")
			}
			given["since"] = last
		}
		for _, p := range params {
			name, value, ok := strings.Cut(p, "=")
			if !ok {
				return usagef("--param %q: want NAME=VALUE", p)
			}
			given[name] = value
		}
		for _, p := range r.Parameters {
			if _, ok := given[p.Name]; !ok && p.Default == query.ConfiguredInvalidSender {
				given[p.Name] = query.InvalidWords(invalidSenders(cfg))
			}
		}
		asked, err := r.Ask(given, time.Now())
		if err != nil {
			return &usageError{err}
		}
		if server != "" {
			cfg.ClickHouse.Addresses, cfg.ClickHouse.Shards = strings.Split(server, ","), nil
		}
		o, err := readerOptions(cfg, data)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		s, err := asked.Run(ctx, o, c.OutOrStdout(), f)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%w; millrace up serves it there, another place is --server HOST:PORT", err)
		}
		if err != nil {
			return err
		}
		if f == query.Table {
			fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", asked, s)
		}
		notes, err := asked.Notes(ctx, o)
		for _, note := range notes {
			fmt.Fprintf(c.ErrOrStderr(), "note: %s\n", note)
		}
		return err
	}
	configFlag(c, &path, theDefaults)
	set := c.Flags()
	for _, f := range []struct{ name, doc string }{
		{"since", "of this `TIME` and later: " + query.TimeForms + " (default: what the report says, mostly 24h)"},
		{"until", "before this `TIME` (default: now)"},
		{"domain", "only these `DOMAINS`, with commas"},
		{"group_by", "what a row is, one of the report's `WORDS`"},
		{"class", "only these `CLASSES` or groups, with commas: spam, phish, ..., accepted, rejected, quarantined"},
		{"direction", "incoming, outgoing or unknown, with commas; '' for all"},
		{"tz", "`ZONE` of the times, given and printed, as Europe/Sofia (default: UTC)"},
		{"limit", "print so many `ROWS` at most"},
	} {
		value := new(string)
		flags[f.name] = value
		set.StringVar(value, strings.ReplaceAll(f.name, "_", "-"), "", f.doc)
	}
	set.StringVar(&last, "last", "", "of the last `TIME`, as 24h or 7d; the same as --since")
	set.StringArrayVar(&params, "param", nil, "another parameter of the report, `NAME=VALUE`; may be repeated")
	set.BoolVar(&help, "help-report", false, "print the report's parameters instead of asking it")
	set.StringVar(&format, "format", "table", "table, tsv, csv, json or ndjson; tsv has no header line, json and ndjson have an object a line")
	set.StringVar(&dir, "dir", "", "folder of reports of your own, instead of reports.dir")
	set.StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	set.StringVar(&server, "server", "", "ask `HOST:PORT` (native protocol; more than one with commas) instead of clickhouse.addresses")
	_ = c.MarkFlagDirname("data")
	_ = c.MarkFlagDirname("dir")
	oneOfFlag(c, "format", "table", "tsv", "csv", "json", "ndjson")
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, r := range query.Reports() {
			names = append(names, r.Name+"\t"+r.Title)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}
