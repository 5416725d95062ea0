package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/internal/service"
	"millrace/stack"
)

func newUp() *cobra.Command {
	var path, data string
	var demo bool
	var limit time.Duration
	addresses := map[string]*string{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Run the whole pipeline on this machine: for trials, tests and small sites",
		Long: `Run the whole pipeline on this machine: syslog listeners, a Kafka-protocol broker in this process and a real
ClickHouse as a child process. For trials, tests and small sites: it is one node, and what it does for the syslog
side the daemons ingest and transform do over a Kafka cluster and a ClickHouse cluster.

When all of it serves, one line on standard output begins "ready " and names every address. Ctrl-C or SIGTERM drains
and ends with exit code 0; a second one ends at once. Data survive either, and kill -9.`,
		Example: `  millrace up --demo                         # a look, on made-up traffic
  millrace up --demo --for 20s               # the same, ending by itself
  millrace up                                # waits for traffic on 127.0.0.1:5514, UDP and TCP
  millrace up --config /etc/millrace.yaml --data /var/lib/millrace
  millrace up --syslog-udp off --http 127.0.0.1:0`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--for %v: a time cannot be negative", limit)
			}
			cfg, load, err := loadReloadable(c, path, func(cfg *config.Config) error {
				for flag, address := range addresses {
					if c.Flags().Changed(flag) {
						if err := setAddress(cfg, flag, *address); err != nil {
							return err
						}
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			ctx := c.Context()
			if limit > 0 {
				// Not a deadline: clients hand that to their sockets, and their timeouts would
				// come as errors a little before the end that explains them.
				var end context.CancelCauseFunc
				ctx, end = context.WithCancelCause(ctx)
				defer end(nil)
				defer time.AfterFunc(limit, func() { end(fmt.Errorf("--for %v is over", limit)) }).Stop()
			}
			b := buildInfo()
			o := stack.Options{Config: cfg, Load: load, Data: data, Demo: demo, Version: b.Version, Commit: b.Commit, Out: c.OutOrStdout()}
			return service.Run(ctx, service.RunOptions{DrainTimeout: cfg.Stop.DrainTimeout}, func(soft, hard context.Context) error {
				return stack.Run(soft, hard, o)
			})
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.StringVar(&data, "data", "", "`DIR` for all data (default ~/.local/share/millrace; with --demo a temporary one)")
	f.BoolVar(&demo, "demo", false, "send made-up traffic to itself and show the first answers")
	f.DurationVar(&limit, "for", 0, "end after this time, as Ctrl-C would")
	for _, a := range []struct{ flag, what, def string }{
		{"syslog-udp", "syslog over UDP", "127.0.0.1:5514"},
		{"syslog-tcp", "syslog over TCP", "127.0.0.1:5514"},
		{"kafka", "the embedded broker", "127.0.0.1:9092"},
		{"clickhouse-native", "ClickHouse's native protocol", "127.0.0.1:9000"},
		{"clickhouse-http", "ClickHouse over HTTP", "127.0.0.1:8123"},
		{"http", "metrics, health and profiles", "127.0.0.1:8514"},
		{"api", "the HTTPS API", "127.0.0.1:8443"},
	} {
		addresses[a.flag] = f.String(a.flag, "", fmt.Sprintf("`HOST:PORT` or off: %s (default %s)", a.what, a.def))
	}
	_ = c.MarkFlagDirname("data")
	return c
}

// setAddress puts the value of an address flag into the configuration.
func setAddress(cfg *config.Config, flag, value string) error {
	var err error
	switch flag {
	case "syslog-udp":
		err = cfg.SetListener("udp", value)
	case "syslog-tcp":
		err = cfg.SetListener("tcp", value)
	case "kafka":
		err = cfg.Up.Kafka.Set(value)
	case "clickhouse-native":
		err = cfg.Up.ClickHouseNative.Set(value)
	case "clickhouse-http":
		err = cfg.Up.ClickHouseHTTP.Set(value)
	case "http":
		err = cfg.HTTP.Ingest.Set(value)
	case "api":
		err = cfg.API.Address.Set(value)
	}
	if err != nil {
		return usagef("--%s %q: %w; allowed: HOST:PORT or off", flag, value, err)
	}
	return nil
}
