package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/query"
	"millrace/query/access"
	"millrace/query/search"
)

// searchFlags are the flags of millrace search as they are given.
type searchFlags struct {
	ask                                            asking
	when                                           period
	kind, direction, domain, columns, sort, format string
	ascending, follow, fields                      bool
	limit, page                                    int
}

func newSearch() *cobra.Command {
	var given searchFlags
	c := &cobra.Command{
		Use:   "search [RULES]",
		Short: "Search messages, or the events of any log",
		Long: `Search messages by what is known of them now, or with --kind the events of one log. RULES are

  FIELD is VALUE | is not VALUE | contains VALUE | starts VALUE | ends VALUE | one of VALUE, VALUE, ...
  FIELD in range FROM..TO | in network PREFIX, PREFIX, ...

joined by and, or, not and parentheses. A value with blanks stands in quotes. Texts compare without regard to case.
Without a time it is the last 24 hours, except for the id of a message, which is looked up in all times. The latest
come first. --fields lists the fields; --limit 0 prints all rows as they come, however many there are.`,
		Example: `  millrace search 'sender ends @example.com and status_norm is quarantined' --last 7d
  millrace search 'subject_header contains "your invoice" and not class_norm is not-spam' --domain example.net
  millrace search 'sender_ip in network 192.0.2.0/24' --direction outgoing --columns first_time,auth_user,identity,recipient
  millrace search --kind spamdyke 'code starts DENIED' --follow
  millrace search --domain example.net --last 30d --limit 0 --format csv > november.csv`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if given.fields {
				return printFields(c.OutOrStdout(), given.kind)
			}
			q, zone, err := given.query(strings.Join(args, " "), time.Now())
			if err != nil {
				return err
			}
			o, _, err := given.ask.options(c)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return given.run(ctx, o, q, zone, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	given.ask.flags(c)
	given.when.flags(c, "without it the last 24 hours")
	var kinds []string
	for _, r := range search.Relations() {
		kinds = append(kinds, r.Name)
	}
	f := c.Flags()
	f.StringVar(&given.kind, "kind", kinds[0], "what to search: "+strings.Join(kinds, ", "))
	f.StringVar(&given.direction, "direction", "", "incoming, outgoing or unknown (default all)")
	f.StringVar(&given.domain, "domain", "", "of this `DOMAIN`, which makes a search quick")
	f.StringVar(&given.columns, "columns", "", "columns to be displayed, `NAME,NAME,...`")
	f.StringVar(&given.sort, "sort", "", "sort by `COLUMN` (default the time)")
	f.BoolVar(&given.ascending, "asc", false, "the smallest or earliest first")
	f.IntVar(&given.limit, "limit", 50, "rows of a page; 0: all, in the order of time")
	f.IntVar(&given.page, "page", 1, "number of the page")
	f.StringVar(&given.format, "format", "table", "table, csv, tsv (no header line), json (an array) or ndjson (a line for each row)")
	f.BoolVar(&given.follow, "follow", false, "print rows as they come, until interrupted")
	f.BoolVar(&given.fields, "fields", false, "list the fields of --kind, with what they mean")
	oneOfFlag(c, "kind", kinds...)
	oneOfFlag(c, "direction", "incoming", "outgoing", "unknown")
	oneOfFlag(c, "format", "table", "csv", "tsv", "json", "ndjson")
	return c
}

// query is the search that the flags and the rules ask for.
func (g *searchFlags) query(rules string, now time.Time) (q search.Query, zone *time.Location, err error) {
	q = search.Query{Kind: g.kind, Direction: g.direction, Sort: g.sort, Ascending: g.ascending, Limit: g.limit, Offset: (g.page - 1) * g.limit}
	if g.limit < 0 || g.page < 1 || g.limit == 0 && g.page > 1 {
		return q, nil, usagef("--limit %d --page %d: want a limit from 0 and a page from 1, and of all rows one page", g.limit, g.page)
	}
	switch g.format {
	case "table", "csv", "tsv", "json", "ndjson":
	default:
		return q, nil, usagef("--format %q: want table, csv, tsv, json or ndjson", g.format)
	}
	if q.From, q.Until, zone, err = g.when.times(now); err != nil {
		return q, nil, err
	}
	if g.format != "json" && g.format != "ndjson" {
		q.Zone = zone // JSON says the zone with each time
	}
	if strings.TrimSpace(rules) != "" {
		if q.Where, err = search.Parse(rules); err != nil {
			return q, nil, &usageError{err}
		}
	}
	if g.domain != "" {
		q.Where = search.And(search.Rule{Field: "domain", Op: search.Is, Values: []string{g.domain}}, q.Where)
	}
	if g.columns != "" {
		q.Columns = strings.Split(strings.ReplaceAll(g.columns, " ", ""), ",")
	}
	if q.From.IsZero() && q.Until.IsZero() && !q.Where.NamesID() && !g.follow {
		q.From = now.Add(-24 * time.Hour)
	}
	// A search that cannot be built is known before anybody is asked.
	if _, err := q.Build("millrace", access.Everything(), now); err != nil {
		return q, nil, &usageError{err}
	}
	return q, zone, nil
}

// run searches and prints; what there is to say beside the rows goes to errs.
func (g *searchFlags) run(ctx context.Context, o query.Options, q search.Query, zone *time.Location, w, errs io.Writer) error {
	out := query.Output{To: w, Format: query.Format(g.format)}
	var array io.WriteCloser
	switch g.format {
	case "json":
		out.Format = query.JSON
		if !g.follow {
			array = query.ArrayWriter(w)
			out.To = array
		}
	case "ndjson":
		out.Format = query.JSON
	}
	admin := access.Everything()
	if g.follow {
		if out.Format == query.Table {
			out.Format = query.TSV // how wide a table's columns are is not known before its end
		}
		return search.Follow(ctx, o, admin, q, query.Limits{}, out, nil)
	}
	var r search.Result
	var err error
	if g.limit == 0 {
		r.Summary, err = search.Export(ctx, o, admin, q, query.Limits{}, out)
	} else {
		r, err = search.Run(ctx, o, admin, q, query.Limits{}, out)
	}
	if err == nil && array != nil {
		err = array.Close()
	}
	if err != nil || out.Format != query.Table {
		return err
	}
	fmt.Fprintf(errs, "%s; %s\n", r.Summary, said(q.From, q.Until, zone))
	if r.More {
		fmt.Fprintf(errs, "there are more: --page %d\n", g.page+1)
	}
	return nil
}

func printFields(w io.Writer, kind string) error {
	r, err := search.RelationByName(kind)
	if err != nil {
		return &usageError{err}
	}
	for _, f := range r.Columns() {
		fmt.Fprintf(w, "%-24s %-22s %s\n", f.Name, f.ClickHouse(), f.Doc)
	}
	return nil
}
