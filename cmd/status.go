package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/internal/status"
)

func newStatus() *cobra.Command {
	var path, http string
	var senders int
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what a running daemon has received, kept and dropped, and who sends",
		Long: `Show what a running up, ingest or transform has received, published, rejected and dropped, whether that adds up,
how far ClickHouse is behind, and who sends: peers and filtering hosts with their last event, rate, share of rejects
and clock. It asks the daemons where the configuration says that they listen (http.ingest, http.transform).`,
		Example: `  millrace status
  millrace status --http 127.0.0.1:8514 --peers 100
  millrace status --json | jq '.listeners[] | {name, dropped}'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if senders < 0 {
				return usagef("--peers %d: it is negative", senders)
			}
			addresses, err := statusAddresses(c, path, http)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return showStatus(ctx, c, addresses, senders, asJSON)
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.StringVar(&http, "http", "", "ask the daemon at `HOST:PORT` instead of those of the configuration")
	f.BoolVar(&asJSON, "json", false, "print the daemons' answers as they come, one a line")
	f.IntVar(&senders, "peers", status.DefaultSenders, "show `N` peers of each listener, and N filtering hosts; the others are summed")
	return c
}

// statusAddresses are the places where a daemon may answer.
func statusAddresses(c *cobra.Command, path, http string) ([]string, error) {
	if http != "" {
		var e config.Endpoint
		if err := e.Set(http); err != nil || !e.Enabled() {
			return nil, usagef("--http %q: allowed HOST:PORT", http)
		}
		return []string{e.String()}, nil
	}
	cfg, err := loadConfig(c, path)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range []config.Endpoint{cfg.HTTP.Ingest, cfg.HTTP.Transform} {
		if e.Enabled() && !slices.Contains(all, e.String()) {
			all = append(all, e.String())
		}
	}
	if len(all) == 0 {
		return nil, errors.New("cannot ask for the status: http.ingest and http.transform are off; a daemon that serves it elsewhere is named by --http HOST:PORT")
	}
	return all, nil
}

// showStatus shows all daemons that answer. That one of several is not running is
// usual: up serves one address for both.
func showStatus(ctx context.Context, c *cobra.Command, addresses []string, senders int, asJSON bool) error {
	shown := 0
	for _, address := range addresses {
		s, raw, err := status.Get(ctx, address, senders)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			continue
		case err != nil:
			return err
		case asJSON:
			_, err = c.OutOrStdout().Write(raw)
		default:
			if shown > 0 {
				fmt.Fprintln(c.OutOrStdout())
			}
			err = s.Write(c.OutOrStdout())
		}
		if err != nil {
			return err
		}
		shown++
	}
	if shown == 0 {
		return fmt.Errorf("cannot ask %s for its status: %w; millrace up, ingest or transform serves it there, another place is --http HOST:PORT",
			strings.Join(addresses, " or "), syscall.ECONNREFUSED)
	}
	return nil
}
