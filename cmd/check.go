package cmd

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/schema"
)

func newCheck() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Validate a configuration without starting anything",
		Long: `Validate a configuration without starting anything: keys, values, what they need of each other, certificates,
and the templates of every listener. All that is wrong is reported at once, with file, line and what is allowed.
Exit code 0: good; 2: not.`,
		Example: `  millrace check --config /etc/millrace.yaml
  millrace check --config deploy/config.example.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if path == "" {
				return usagef("--config FILE is missing")
			}
			cfg, err := loadConfig(c, path)
			if err != nil {
				return err
			}
			warnings, err := checkFormats(cfg)
			for _, w := range warnings {
				fmt.Fprintf(c.ErrOrStderr(), "millrace: warning: %s\n", w)
			}
			if err != nil {
				return err
			}
			return summary(c.OutOrStdout(), cfg)
		},
	}
	configFlag(c, &path, "an error")
	return c
}

func checkFormats(cfg *config.Config) (warnings []string, err error) {
	all, err := ingester.CompileFormats(cfg)
	if err != nil {
		return nil, err
	}
	told := map[string]bool{}
	for _, l := range all {
		for _, f := range l.List {
			if told[f.Name] {
				continue
			}
			told[f.Name] = true
			for _, name := range f.Unknown() {
				warnings = append(warnings, fmt.Sprintf("format %q: %%(%s)s is no field of %s: its values go into the column extra", f.Name, name, f.Kind.Name))
			}
		}
	}
	return warnings, nil
}

// summary says what would run.
func summary(out io.Writer, cfg *config.Config) error {
	fmt.Fprintf(out, "configuration %s is good\n", cfg.File)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		allow := "any"
		if !l.Allow.Any {
			all := make([]string, len(l.Allow.Prefixes))
			for i, p := range l.Allow.Prefixes {
				all[i] = p.String()
			}
			allow = strings.Join(all, " ")
		}
		framing := "framing " + l.Framing
		switch l.Address.Network {
		case "udp", "unixgram":
			framing = "datagrams"
		case "relp":
			framing = "acknowledged"
		case "smtp", "smtps", "lmtp":
			framing = "messages, body " + l.Body
			if l.ForwardTo != "" {
				framing += ", forwarded to " + l.ForwardTo
			}
		}
		if l.TLS.ClientCA != "" {
			framing += ", certificates of " + strings.Join(append([]string{"clients"}, l.TLS.ClientNames...), " ")
		}
		fmt.Fprintf(w, "listener %s\t%s\t%s, formats %s, allow %s, raw %s\n",
			l.Name, l.Address, framing, strings.Join(l.FormatNames(), " "), allow, l.Raw)
	}
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, k.Topic)
	}
	fmt.Fprintf(w, "kafka\t%s\ttopics %s{%s}, group %s, compression %s\n",
		strings.Join(cfg.Kafka.Brokers, " "), cfg.Kafka.TopicPrefix, strings.Join(topics, ","), cfg.Kafka.Group, cfg.Kafka.Compression)
	fmt.Fprintf(w, "clickhouse\t%s\tdatabase %s, user %s, compression %s\n",
		strings.Join(cfg.ClickHouse.Addresses, " "), cfg.ClickHouse.Database, cfg.ClickHouse.Username, cfg.ClickHouse.Compression)
	for i, s := range cfg.ClickHouse.Shards {
		fmt.Fprintf(w, "shard %s\t%s\tpartitions %d, %d, ...\n", s.Name, strings.Join(s.Addresses, " "), i, i+len(cfg.ClickHouse.Shards))
	}
	fmt.Fprintf(w, "retention\tevents %s\traw %s\n",
		config.FormatDuration(cfg.Retention.Events), config.FormatDuration(cfg.Retention.Raw))
	certificate := "a certificate of its own making"
	if cfg.API.TLS.Cert != "" {
		certificate = "the certificate " + cfg.API.TLS.Cert
	}
	fmt.Fprintf(w, "api\t%s\tHTTPS with %s\n", cfg.API.Address, certificate)
	fmt.Fprintf(w, "http\tingest %s\ttransform %s, serve %s\n", cfg.HTTP.Ingest, cfg.HTTP.Transform, cfg.HTTP.Serve)
	if cfg.Source.URL != "" {
		fmt.Fprintf(w, "source\t%s\ttemplates %s %s\n", cfg.Source.URL, cfg.Source.MessageTemplate, cfg.Source.StatusTemplate)
	}
	if q := &cfg.Quarantine; q.Host != "" {
		fmt.Fprintf(w, "quarantine\t%s\tuser %s, TLS %s, incoming %q, outgoing %q\n",
			net.JoinHostPort(q.Host, strconv.Itoa(q.PortOrDefault())), q.Username, q.TLS.Mode, q.Incoming, q.Outgoing)
	}
	return w.Flush()
}
