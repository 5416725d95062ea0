package cmd

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/internal/service"
	"millrace/stack"
)

func newIngest() *cobra.Command {
	return daemonCommand(&cobra.Command{
		Use:   "ingest --config FILE",
		Short: "Run the ingester: syslog in, Kafka records out",
		Long: `Run the ingester: syslog in, Kafka records out. It keeps no state; run as many as you like behind a load balancer.
Ctrl-C or SIGTERM stops reading, waits for Kafka to acknowledge what was read, and ends; a second one ends at once.`,
		Example: "  millrace ingest --config /etc/millrace.yaml",
	}, stack.RunIngest, func(c *cobra.Command, cfg *config.Config) error { return setHTTP(c, &cfg.HTTP.Ingest) })
}

func newTransform() *cobra.Command {
	var delivery string
	c := daemonCommand(&cobra.Command{
		Use:   "transform --config FILE",
		Short: "Run the transformer: Kafka records in, ClickHouse rows out, exactly once",
		Long: `Run the transformer: Kafka records in, ClickHouse rows out, exactly once. All transformers of a group share the
partitions. Make the tables first: millrace schema apply.
It refuses to start where the settings of a topic or a table do not allow to promise that, and says what to run.
Ctrl-C or SIGTERM inserts what is open and ends; a second one ends at once, and whoever is next finishes its work.`,
		Example: "  millrace schema apply --config /etc/millrace.yaml\n  millrace transform --config /etc/millrace.yaml",
	}, stack.RunTransform, func(c *cobra.Command, cfg *config.Config) error {
		if c.Flags().Changed("delivery") {
			if delivery != config.ExactlyOnce && delivery != config.AtLeastOnce {
				return usagef("--delivery %q; allowed: %s, %s", delivery, config.ExactlyOnce, config.AtLeastOnce)
			}
			cfg.Transform.Delivery = delivery
		}
		return setHTTP(c, &cfg.HTTP.Transform)
	})
	c.Flags().StringVar(&delivery, "delivery", "", "exactly-once or at-least-once, in place of the configuration's: the latter also works where rows may be doubled or lost")
	return c
}

// setHTTP is --http, in place of the configuration's.
func setHTTP(c *cobra.Command, to *config.Endpoint) error {
	if !c.Flags().Changed("http") {
		return nil
	}
	http, _ := c.Flags().GetString("http")
	if err := to.Set(http); err != nil {
		return usagef("--http %q: %w; allowed: HOST:PORT or off", http, err)
	}
	return nil
}

// daemonCommand runs a daemon. override puts flags in the place of what the
// configuration says.
func daemonCommand(c *cobra.Command, run func(soft, hard context.Context, o stack.Options, logTo io.Writer) error, override func(*cobra.Command, *config.Config) error) *cobra.Command {
	var path string
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, load, err := loadReloadable(c, path, func(cfg *config.Config) error { return override(c, cfg) })
		if err != nil {
			return err
		}
		b := buildInfo()
		o := stack.Options{Config: cfg, Load: load, Version: b.Version, Commit: b.Commit, Out: c.OutOrStdout()}
		return service.Run(c.Context(), service.RunOptions{DrainTimeout: cfg.Stop.DrainTimeout}, func(soft, hard context.Context) error {
			return run(soft, hard, o, c.ErrOrStderr())
		})
	}
	configFlag(c, &path, theDefaults)
	c.Flags().String("http", "", "`HOST:PORT` or off: metrics, health and profiles, in place of the configuration's")
	return c
}
