package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/query"
	"millrace/transformer/audit"
)

func newAudit() *cobra.Command {
	var path, data, server, kafka, since string
	var asJSON bool
	c := &cobra.Command{
		Use:   "audit",
		Short: "Prove that every record in Kafka is in ClickHouse once, or name those that are not",
		Long: `Prove on live data that every record of Kafka's topics is in ClickHouse once. For each topic, epoch and partition
it compares the offsets that have a row, those in rejects included, with the offset that the transformers have
confirmed and with the bounds of Kafka's log. Below the confirmed offset a record without a row is missing, behind it
it is lag. What Kafka's retention, the table's TTL or a DELETE has removed is called removed, not missing.
The exit code is 0 when nothing is missing or doubled, 1 when something is or it cannot be looked at, 2 for wrong usage.
It changes nothing, asks as the read-only user, and may run while the pipeline does. Server, user and password are found
as by millrace query, Kafka by the configuration (kafka).`,
		Example: `  millrace audit
  millrace audit --since 7d
  millrace audit --since 2026-11-02 --config /etc/millrace.yaml
  millrace audit --json | jq '.places[] | select(.missing > 0 or .doubled > 0)'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := parseTime("since", since, time.Now(), time.UTC)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c, path)
			if err != nil {
				return err
			}
			if server != "" {
				cfg.ClickHouse.Addresses, cfg.ClickHouse.Shards = strings.Split(server, ","), nil
			}
			o, err := auditOptions(cfg, data, kafka)
			if err != nil {
				return err
			}
			o.Since = from
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runAudit(ctx, c, o, asJSON)
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.StringVar(&since, "since", "", "leave out what was received before `TIME`: "+query.TimeForms)
	f.BoolVar(&asJSON, "json", false, "print the report as one JSON object")
	f.StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	f.StringVar(&server, "server", "", "ask `HOST:PORT` (native protocol; more than one with commas) instead of clickhouse.addresses, or of clickhouse.shards")
	f.StringVar(&kafka, "kafka", "", "ask the broker at `HOST:PORT` (more than one with commas) instead of kafka.brokers; off: look at the tables alone")
	_ = c.MarkFlagDirname("data")
	return c
}

// auditOptions are where and as whom to ask both.
func auditOptions(cfg *config.Config, data, brokers string) (audit.Options, error) {
	reader, err := readerOptions(cfg, data)
	if err != nil {
		return audit.Options{}, err
	}
	all, err := cfg.ShardReaderOptions()
	if err != nil {
		return audit.Options{}, err
	}
	for _, ch := range all {
		ch.Auth.Username, ch.Auth.Password = reader.User, reader.Password
	}
	k := &cfg.Kafka
	o := audit.Options{ClickHouse: all, Database: cfg.ClickHouse.Database, Brokers: k.Brokers, TopicPrefix: k.TopicPrefix, Group: k.Group}
	switch brokers {
	case "off":
		o.Brokers = nil
		return o, nil
	case "":
	default:
		o.Brokers = strings.Split(brokers, ",")
	}
	if err := trialLogin(cfg, data); err != nil {
		return o, err
	}
	o.Transport, err = cfg.KafkaTransport()
	return o, err
}

// trialLogin takes the credentials that millrace up demands beyond loopback, when
// the configuration has none.
func trialLogin(cfg *config.Config, data string) error {
	if data == "" || cfg.Kafka.SASL.Mechanism != "none" {
		return nil
	}
	line, err := os.ReadFile(filepath.Join(data, "kafka-credentials"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the broker's credentials: %w", err)
	}
	user, password, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
	cfg.Kafka.SASL = config.SASL{Mechanism: "plain", Username: user, Password: config.NewSecret(password)}
	return nil
}

func runAudit(ctx context.Context, c *cobra.Command, o audit.Options, asJSON bool) error {
	line := newProgress(c.ErrOrStderr())
	o.Progress = func(done, rows uint64) { line.show("%s", auditBar(done, rows)) }
	report, err := audit.Run(ctx, o)
	line.end()
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(c.OutOrStdout()).Encode(report)
	} else {
		err = report.Write(c.OutOrStdout())
	}
	if err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	if !report.OK {
		return fmt.Errorf("cannot call it exactly once: %s; docs/operations.md, section millrace audit, says how to mend it", report.Verdict())
	}
	return nil
}

// auditBar shows how far it is.
func auditBar(done, rows uint64) string {
	return fmt.Sprintf("%s of %.1f million rows", bar(done, rows), float64(rows)/1e6)
}

// bar is how much of all is done.
func bar(done, all uint64) string {
	const width = 40
	share := 1.0
	if all > 0 {
		share = float64(done) / float64(all)
	}
	full := int(share * width)
	return fmt.Sprintf("[%s%s] %3.0f%%", strings.Repeat("#", full), strings.Repeat(".", width-full), 100*share)
}
