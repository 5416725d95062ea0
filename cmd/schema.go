package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/internal/migrate"
	"millrace/internal/service"
	"millrace/schema"
)

func newSchema() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "schema",
		Short: "Make and check the tables in ClickHouse",
		Long: `Make the tables in ClickHouse, and bring those of an older version up to date: database, migrations, retention.
The user is clickhouse.username, which must be allowed to create and alter. With clickhouse.shards each is made by itself;
with clickhouse.cluster one server is asked, and makes all with ON CLUSTER.`,
		Example: `  millrace schema show
  millrace schema plan  --config /etc/millrace.yaml
  millrace schema apply --config /etc/millrace.yaml
  millrace schema check --config /etc/millrace.yaml`,
	})
	c.AddCommand(
		schemaCommand(&cobra.Command{
			Use:     "show",
			Short:   "Print the tables of this version, as SQL; asks no server",
			Example: "  millrace schema show --config /etc/millrace.yaml > millrace.sql",
		}, func(c *cobra.Command, _ *config.Config, s migrate.Settings) error {
			text, err := migrate.Show(s)
			if err != nil {
				return service.WithExitCode(2, err)
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		}),
		schemaCommand(&cobra.Command{
			Use:     "plan",
			Short:   "Print every statement that apply would run, and run none",
			Example: "  millrace schema plan --config /etc/millrace.yaml",
		}, withMigrator(func(ctx context.Context, c *cobra.Command, m *migrate.Migrator) error {
			plan, err := m.Plan(ctx)
			if err != nil {
				return err
			}
			fmt.Fprint(c.OutOrStdout(), plan)
			return nil
		})),
		schemaCommand(&cobra.Command{
			Use:     "apply",
			Short:   "Make the tables, or bring them up to date",
			Long:    "Make the tables, or bring them up to date, and print the statements that were run. It may be run again at any time.",
			Example: "  millrace schema apply --config /etc/millrace.yaml",
		}, withMigrator(func(ctx context.Context, c *cobra.Command, m *migrate.Migrator) error {
			plan, err := m.Apply(ctx)
			if err != nil {
				return err
			}
			fmt.Fprint(c.OutOrStdout(), plan)
			return nil
		})),
		schemaCommand(&cobra.Command{
			Use:     "check",
			Short:   "Compare the tables with what this version expects",
			Long:    "Compare the tables with what this version expects, and print each difference with the statement that mends it.\nExit code 1 when there is one.",
			Example: "  millrace schema check --config /etc/millrace.yaml",
		}, withMigrator(func(ctx context.Context, c *cobra.Command, m *migrate.Migrator) error {
			differences, err := m.Check(ctx)
			if err != nil {
				return err
			}
			for _, d := range differences {
				fmt.Fprintln(c.OutOrStdout(), d)
				if d.Statement != "" {
					fmt.Fprintf(c.OutOrStdout(), "  %s;\n", d.Statement)
				}
			}
			switch len(differences) {
			case 0:
				fmt.Fprintln(c.OutOrStdout(), "the tables are as this version expects")
				return nil
			case 1:
				return errors.New("cannot call the tables good: 1 difference")
			}
			return fmt.Errorf("cannot call the tables good: %d differences", len(differences))
		})),
		schemaCommand(&cobra.Command{
			Use:   "count",
			Short: "Count what is not counted yet by the hour",
			Long: "Fill messages_hourly and senders_hourly with all hours that are not counted yet, now: the server does the same by itself,\n" +
				"five million events an hour. For a database that is older than these views, and after many old events have come.",
			Example: "  millrace schema count --config /etc/millrace.yaml",
		}, withMigrator(func(ctx context.Context, c *cobra.Command, m *migrate.Migrator) error {
			line := newProgress(c.ErrOrStderr())
			counted := map[string]uint64{}
			err := m.Count(ctx, func(rollup string, events uint64) {
				counted[rollup] = events
				line.show("%s: %d events counted", rollup, events)
			})
			line.end()
			if err != nil {
				return err
			}
			for _, r := range schema.Rollups() {
				fmt.Fprintf(c.OutOrStdout(), "%s: %d events counted\n", r.View.Name, counted[r.View.Name])
			}
			return nil
		})),
	)
	return c
}

// schemaCommand adds what the five have in common.
func schemaCommand(c *cobra.Command, f func(c *cobra.Command, cfg *config.Config, s migrate.Settings) error) *cobra.Command {
	var path string
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := loadConfig(c, path)
		if err != nil {
			return err
		}
		return f(c, cfg, migrate.SettingsOf(cfg, buildInfo().Version))
	}
	configFlag(c, &path, theDefaults)
	return c
}

// withMigrator calls f with one server after the other: with each shard or, where they
// are one cluster, with one that passes it on.
func withMigrator(f func(context.Context, *cobra.Command, *migrate.Migrator) error) func(*cobra.Command, *config.Config, migrate.Settings) error {
	return func(c *cobra.Command, cfg *config.Config, s migrate.Settings) error {
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		shards := cfg.ClickHouse.Shards
		if len(shards) == 0 || s.Cluster != "" {
			shards = []config.Shard{{Addresses: cfg.ClickHouse.Addresses}}
		}
		var failed []error
		for _, shard := range shards {
			if shard.Name != "" {
				fmt.Fprintf(c.OutOrStdout(), "-- shard %s\n", shard.Name)
			}
			err := migrateShard(cfg, shard, s, func(m *migrate.Migrator) error { return f(ctx, c, m) })
			if err != nil && shard.Name != "" {
				err = fmt.Errorf("shard %s: %w", shard.Name, err)
			}
			failed = append(failed, err)
		}
		return errors.Join(failed...)
	}
}

func migrateShard(cfg *config.Config, shard config.Shard, s migrate.Settings, f func(*migrate.Migrator) error) error {
	o, err := cfg.ShardOptions(shard)
	if err != nil {
		return err
	}
	o.Auth.Database = "" // it may not exist yet
	conn, err := clickhouse.Open(o)
	if err != nil {
		return fmt.Errorf("cannot connect to ClickHouse: %w", err)
	}
	defer conn.Close()
	m, err := migrate.New(conn, s)
	if err != nil {
		return service.WithExitCode(2, err)
	}
	return f(m)
}
