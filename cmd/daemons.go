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
	}, func(c *config.Config) *config.Endpoint { return &c.HTTP.Ingest }, stack.RunIngest)
}

func newTransform() *cobra.Command {
	return daemonCommand(&cobra.Command{
		Use:   "transform --config FILE",
		Short: "Run the transformer: Kafka records in, ClickHouse rows out, exactly once",
		Long: `Run the transformer: Kafka records in, ClickHouse rows out, exactly once. All transformers of a group share the
partitions. Make the tables first: millrace schema apply.
Ctrl-C or SIGTERM inserts what is open and ends; a second one ends at once, and whoever is next finishes its work.`,
		Example: "  millrace schema apply --config /etc/millrace.yaml\n  millrace transform --config /etc/millrace.yaml",
	}, func(c *config.Config) *config.Endpoint { return &c.HTTP.Transform }, stack.RunTransform)
}

func daemonCommand(c *cobra.Command, endpoint func(*config.Config) *config.Endpoint, run func(soft, hard context.Context, o stack.Options, logTo io.Writer) error) *cobra.Command {
	var path, http string
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, load, err := loadReloadable(c, path, func(cfg *config.Config) error {
			if !c.Flags().Changed("http") {
				return nil
			}
			if err := endpoint(cfg).Set(http); err != nil {
				return usagef("--http %q: %w; allowed: HOST:PORT or off", http, err)
			}
			return nil
		})
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
	c.Flags().StringVar(&http, "http", "", "`HOST:PORT` or off: metrics, health and profiles, in place of the configuration's")
	return c
}
