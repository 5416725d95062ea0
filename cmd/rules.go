package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/query"
	"millrace/query/guard"
	"millrace/query/lock"
	"millrace/query/state"
)

func newRules() *cobra.Command {
	var path, data, format string
	var dry bool
	c := &cobra.Command{
		Use:   "rules",
		Short: "Print what each rule would lock now",
		Long: `Print what each rule of the configuration would lock or block now, and why not what it would not. Nothing is changed: rules
act in the instance of Millrace that is elected, every few seconds. --dry-run takes all rules as if they had dry_run, so that
what they have fired for already is left out of account. Effects, and how far each is, come on standard error.`,
		Example: `  millrace rules
  millrace rules --dry-run --format csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withState(c, path, func(ctx context.Context, cfg *config.Config, s *state.Store) error {
				reader, err := readerOptions(cfg, data)
				if err != nil {
					return err
				}
				o := guard.Options{Store: s, Query: reader, Logger: slog.New(slog.DiscardHandler)}
				for _, r := range cfg.Rules {
					r.DryRun = r.DryRun || dry
					o.Rules = append(o.Rules, guard.NewRule(cfg, r))
				}
				g, err := guard.New(o)
				if err != nil {
					return err
				}
				var all []guard.Decision
				var failed []error
				for i := range o.Rules {
					list, err := g.Decide(ctx, &o.Rules[i])
					all, failed = append(all, list...), append(failed, err)
				}
				err = printList(c.OutOrStdout(), format, []string{"rule", "subject", "count", "last", "does", "why"}, all, func(d guard.Decision) []string {
					return []string{d.Rule, d.Subject, strconv.FormatUint(d.Count, 10), timeCell(d.Last), string(d.Do), d.Why}
				})
				for _, e := range s.Snapshot().Effects() {
					fmt.Fprintf(c.ErrOrStderr(), "effect %s: last run %s, given up %d", e.Name, timeCell(e.At), e.GivenUp)
					if e.Error != "" {
						fmt.Fprintf(c.ErrOrStderr(), ", the last: %s", oneLine(e.Error))
					}
					fmt.Fprintln(c.ErrOrStderr())
				}
				return errors.Join(append(failed, err)...)
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().BoolVar(&dry, "dry-run", false, "as if all rules had dry_run: also what they have fired for already")
	c.Flags().StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	listFlag(c, &format)
	_ = c.MarkFlagDirname("data")
	return c
}

func newIdentities() *cobra.Command {
	var path, data, format, domain, since, last string
	var limit int
	c := &cobra.Command{
		Use:   "identities",
		Short: "List every identity seen, with counts and whether it is locked",
		Long: `List every identity of outgoing users that was seen in a period, and those that are locked: how many of its messages were
accepted, rejected, temporarily rejected and quarantined, when it was last seen, and whether and why it is locked. What an
identity is, is what the outgoing user's identification method says; without one, it is the identification header. Those with
most messages that were not accepted come first. Times are UTC.`,
		Example: `  millrace identities --last 7d
  millrace identities --domain example.com --since 2026-11-01 --format csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			now := time.Now()
			flag := "last"
			if c.Flags().Changed("since") {
				if c.Flags().Changed("last") {
					return usagef("either --since or --last")
				}
				flag, last = "since", since
			}
			from, err := parseTime(flag, last, now, time.UTC)
			if err != nil {
				return err
			}
			return withState(c, path, func(ctx context.Context, cfg *config.Config, s *state.Store) error {
				reader, err := readerOptions(cfg, data)
				if err != nil {
					return err
				}
				list, err := guard.FindIdentities(ctx, reader, s.Snapshot(), guard.IdentityQuery{Since: from, Until: now.Add(time.Hour), Domain: domain, Limit: limit}, now)
				if err != nil {
					return err
				}
				header := []string{"domain", "user", "identity", "accepted", "rejected", "temporarily_rejected", "quarantined", "other", "last_seen", "locked", "by", "reason"}
				return printList(c.OutOrStdout(), format, header, list, func(i guard.Identity) []string {
					n := func(v uint64) string { return strconv.FormatUint(v, 10) }
					return []string{i.Domain, i.User, i.Identity, n(i.Accepted), n(i.Rejected), n(i.TemporarilyRejected), n(i.Quarantined), n(i.Other),
						timeCell(i.LastSeen), yesNo(i.Locked), i.Lock.Last.Actor, i.Lock.Last.Reason}
				})
			})
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.StringVar(&domain, "domain", "", "of this `DOMAIN` alone")
	f.StringVar(&since, "since", "", "seen at this `TIME` or later: "+query.TimeForms)
	f.StringVar(&last, "last", "24h", "seen within the last `TIME`, as 24h or 7d")
	f.IntVar(&limit, "limit", 1000, "print so many at most; 0: all")
	f.StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	listFlag(c, &format)
	_ = c.MarkFlagDirname("data")
	return c
}

func newLists() *cobra.Command {
	var path, format, domain string
	var names, formats []string
	for _, l := range guard.AllLists {
		names = append(names, string(l))
	}
	for _, f := range guard.AllFormats {
		formats = append(formats, string(f))
	}
	c := &cobra.Command{
		Use:   "lists " + strings.Join(names, "|"),
		Short: "Print what is locked as a table for a mail server's lookups",
		Long: `Print locked identities, locked outgoing users, domains all of whose outgoing users are locked, or blocked senders, in the form in
which a mail server looks them up: plain text, JSON, lsearch of Exim, texthash of Postfix, a map of rspamd's multimap.`,
		Example: `  millrace lists users --format postfix > /etc/postfix/locked_users
  millrace lists senders --format exim --domain example.com`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			l, err := guard.ParseList(args[0])
			if err != nil {
				return &usageError{err}
			}
			f, err := guard.ParseFormat(format)
			if err != nil {
				return &usageError{err}
			}
			return withState(c, path, func(_ context.Context, _ *config.Config, s *state.Store) error {
				_, err := c.OutOrStdout().Write(guard.Render(f, l, guard.ListsOf(s.Snapshot(), l, lock.Filter{Domain: domain}, time.Now())))
				return err
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&format, "format", string(guard.Text), strings.Join(formats, ", "))
	c.Flags().StringVar(&domain, "domain", "", "of this `DOMAIN` alone")
	oneOfFlag(c, "format", formats...)
	return c
}
