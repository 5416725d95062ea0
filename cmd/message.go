package cmd

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/query"
	"millrace/query/search"
)

func newMessage() *cobra.Command {
	var ask asking
	var when period
	c := &cobra.Command{
		Use:   "message ID",
		Short: "Print one message's whole life",
		Long: `Print what has become of a message, for each of its recipients, and every event of it in order: what the filter did with
it, its statuses, reports about it, the quarantine, and what in the logs of a qmail server belongs to it (millrace trail).
ID is Exim's, as 1phfsb-0004M4-O4.`,
		Example: "  millrace message 1phfsb-0004M4-O4\n  millrace message 1phfsb-0004M4-O4 --tz Europe/Sofia",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("which message? millrace message ID")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			zone, err := query.ParseZone(when.zone)
			if err != nil {
				return usagef("--tz: %w", err)
			}
			o, _, err := ask.options(c)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			found, err := search.Describe(ctx, o, strings.TrimSpace(args[0]), zone, c.OutOrStdout())
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("cannot find the message %q: there is none, or nothing of it came here", args[0])
			}
			var events bytes.Buffer
			report, err := query.FindReport("trail_of_id")
			if err != nil {
				return err
			}
			if _, err := query.RunReport(ctx, o, report, map[string]string{"id": strings.TrimSpace(args[0])}, &events, query.Table); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "\nevents (times in UTC)\n%s", events.String())
			return nil
		},
	}
	ask.flags(c)
	c.Flags().StringVar(&when.zone, "tz", "UTC", "`ZONE` that its own times are shown in, as Europe/Sofia; events are in UTC")
	return c
}
