package cmd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/query/mailing"
	"millrace/query/state"
)

const mailedReports = `REPORT is daily (a day, by outgoing user) or identities (two hours, by identity). Without USER, or with *, it is about all
users of the domain, each with rows of its own.`

func newSchedule() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "schedule",
		Short: "Who gets reports of outgoing mail by mail",
		Long: `Who gets reports of outgoing mail as CSV by mail. What is set here holds above the configuration's reports.recipients.
millrace serve and millrace up send them over mail.relay.`,
		Example: `  millrace schedule set daily example.com abuse@example.com
  millrace schedule list
  millrace schedule run daily example.com --print`,
	})
	c.AddCommand(newScheduleSet(), newScheduleList(), newScheduleRemove(), newScheduleRun())
	return c
}

// parseSchedule reads REPORT and DOMAIN[/USER].
func parseSchedule(args []string) (report, domain, user string) {
	domain, user, _ = strings.Cut(args[1], "/")
	return args[0], domain, user
}

func newScheduleSet() *cobra.Command {
	var path string
	var off bool
	c := &cobra.Command{
		Use:   "set REPORT DOMAIN[/USER] ADDRESS|--off",
		Short: "Say who gets a report",
		Long:  `Say who gets a report; --off: nobody, whatever the configuration says. It begins with the period that ends next. ` + mailedReports,
		Example: `  millrace schedule set daily example.com abuse@example.com
  millrace schedule set identities example.com/192.0.2.1 abuse@example.com
  millrace schedule set daily example.com --off`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(c *cobra.Command, args []string) error {
			if off == (len(args) == 3) {
				return usagef("want either an address or --off")
			}
			recipient := ""
			if !off {
				recipient = args[2]
			}
			report, domain, user := parseSchedule(args)
			return withState(c, path, func(ctx context.Context, _ *config.Config, s *state.Store) error {
				if err := mailing.SetRecipient(ctx, s, operator(), report, domain, user, recipient); err != nil {
					return err
				}
				if off {
					fmt.Fprintf(c.OutOrStdout(), "%s of %s goes to nobody\n", report, args[1])
				} else {
					fmt.Fprintf(c.OutOrStdout(), "%s of %s goes to %s\n", report, args[1], recipient)
				}
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().BoolVar(&off, "off", false, "nobody gets it")
	return c
}

func newScheduleList() *cobra.Command {
	var path, format string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List who gets which report, and what became of the last one",
		Long:    `List who gets which report, by whom it was set (config: the configuration), and what became of the last one.`,
		Example: `  millrace schedule list --format json`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withState(c, path, func(_ context.Context, cfg *config.Config, s *state.Store) error {
				snap := s.Snapshot()
				last := map[[3]string]state.Sent{}
				for _, x := range snap.AllSent() { // the later period comes later
					last[[3]string{x.Report, x.Domain, x.User}] = x
				}
				header := []string{"report", "domain", "user", "recipient", "by", "period", "sent", "rows", "attempts", "trouble"}
				return printList(c.OutOrStdout(), format, header, mailing.Schedules(snap, cfg.Reports.Recipients), func(x mailing.Schedule) []string {
					row := []string{x.Report, x.Domain, x.User, x.Recipient, x.By, "", "", "", "", ""}
					if r, ok := last[[3]string{x.Report, x.Domain, x.User}]; ok {
						trouble := r.Over
						if trouble == "" {
							trouble = r.Error
						}
						copy(row[5:], []string{r.Period, timeCell(r.Sent), fmt.Sprint(r.Rows), fmt.Sprint(r.Attempts), trouble})
					}
					return row
				})
			})
		},
	}
	configFlag(c, &path, theDefaults)
	listFlag(c, &format)
	return c
}

func newScheduleRemove() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:     "remove REPORT DOMAIN[/USER]",
		Short:   "Take back what was set: the configuration holds again",
		Long:    `Take back what millrace schedule set or the API has set: then the configuration's reports.recipients holds again. ` + mailedReports,
		Example: `  millrace schedule remove daily example.com`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			report, domain, user := parseSchedule(args)
			return withState(c, path, func(ctx context.Context, _ *config.Config, s *state.Store) error {
				removed, err := mailing.RemoveRecipient(ctx, s, operator(), report, domain, user)
				if err != nil {
					return err
				}
				if !removed {
					return fmt.Errorf("cannot remove %s of %s: nobody has set it", report, args[1])
				}
				fmt.Fprintf(c.OutOrStdout(), "%s of %s removed\n", report, args[1])
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	return c
}

func newScheduleRun() *cobra.Command {
	var path, data string
	var again, show bool
	c := &cobra.Command{
		Use:   "run REPORT DOMAIN[/USER]",
		Short: "Send the last period's report now, or print it",
		Long: `Send the last period's report now, to whom the schedule says; --print prints its table and sends nothing. One that was
sent, or may have been, is sent only with --again, with the same Message-ID. ` + mailedReports,
		Example: `  millrace schedule run daily example.com
  millrace schedule run identities example.com --print`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			report, domain, user := parseSchedule(args)
			if show {
				cfg, err := loadConfig(c, path)
				if err != nil {
					return err
				}
				m, err := newMailer(cfg, data, nil)
				if err != nil {
					return err
				}
				ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
				defer stop()
				table, _, err := m.Table(ctx, report, domain, user)
				if err != nil {
					return err
				}
				_, err = c.OutOrStdout().Write(table)
				return err
			}
			return withState(c, path, func(ctx context.Context, cfg *config.Config, s *state.Store) error {
				m, err := newMailer(cfg, data, s)
				if err != nil {
					return err
				}
				sent, err := m.SendNow(ctx, report, domain, user, again)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s of %s sent to %s, %d rows\n", report, args[1], sent.Recipient, sent.Rows)
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.BoolVar(&again, "again", false, "send it also if it was sent already")
	f.BoolVar(&show, "print", false, "print the table and send nothing")
	f.StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	_ = c.MarkFlagDirname("data")
	return c
}

// newMailer sends reports as the configuration says.
func newMailer(cfg *config.Config, data string, s *state.Store) (*mailing.Mailer, error) {
	reader, err := readerOptions(cfg, data)
	if err != nil {
		return nil, err
	}
	o, err := mailing.FromConfig(cfg, s, reader, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return mailing.New(o), nil
}
