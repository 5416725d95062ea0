package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/internal/source"
	"millrace/stack"
)

// sourceFlags are the keys of the section source, each with a flag that wins.
type sourceFlags struct {
	path      string
	templates string
	set       config.Source // what the flags gave
}

func newSource() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "source",
		Short: "Tell the mail filter where to send its log",
		Long: `Speak to the mail filter's software API: api_set_remote_syslog_server and api_get_remote_syslog_server.
What it shall be told is in the section source of the configuration; each key has a flag that wins over it.
The password comes from the configuration or from MILLRACE_SOURCE_PASSWORD.`,
		Example: `  millrace source url --url https://filter.example.com --host logs.example.com --port 5514 --templates m3
  MILLRACE_SOURCE_PASSWORD=... millrace source set --config /etc/millrace.yaml
  millrace source get --config /etc/millrace.yaml
  millrace source check --config /etc/millrace.yaml`,
	})
	c.AddCommand(newSourceURL(), newSourceSet(), newSourceGet(), newSourceCheck())
	return c
}

func (s *sourceFlags) add(c *cobra.Command) {
	configFlag(c, &s.path, theDefaults)
	f := c.Flags()
	f.StringVar(&s.set.URL, "url", "", "`https://HOST` of the API (source.url)")
	f.StringVar(&s.set.Username, "username", "", "user of the API (source.username)")
	f.StringVar(&s.set.CA, "ca", "", "PEM `FILE` of the authority that signed the API's certificate (source.ca)")
}

func (s *sourceFlags) addSettings(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.set.Host, "host", "", "this machine, as the filter reaches it (source.host)")
	f.IntVar(&s.set.Port, "port", 0, "port, as the filter reaches it (source.port)")
	f.StringVar(&s.set.Facility, "facility", "", "syslog facility (source.facility)")
	f.StringVar(&s.set.SocketType, "socket-type", "", "SOCK_STREAM or SOCK_DGRAM (source.socket_type)")
	f.StringVar(&s.set.Level, "level", "", "least level (source.level)")
	f.BoolVar(&s.set.Enabled, "enabled", true, "whether it sends (source.enabled)")
	f.StringVar(&s.set.MessageTemplate, "message-template", "", "format's name, text or default (source.message_template)")
	f.StringVar(&s.set.StatusTemplate, "status-template", "", "format's name, text or default (source.status_template)")
	f.StringVar(&s.templates, "templates", "", "both templates: m1 (2016, with s1), m2, m3 (today's filters, with s3), default")
	oneOfFlag(c, "socket-type", "SOCK_STREAM", "SOCK_DGRAM")
	oneOfFlag(c, "level", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
	oneOfFlag(c, "templates", "m1", "m2", "m3", "default")
}

// pairs are the status formats that go with message formats.
var pairs = map[string]string{"m1": "s1", "m2": "s2", "m3": "s3", source.DefaultTemplate: source.DefaultTemplate}

// load is the configuration with the flags over it.
func (s *sourceFlags) load(c *cobra.Command) (*config.Config, error) {
	cfg, err := loadConfig(c, s.path)
	if err != nil {
		return nil, err
	}
	to := &cfg.Source
	for name, put := range map[string]func(){
		"url":              func() { to.URL = s.set.URL },
		"username":         func() { to.Username = s.set.Username },
		"ca":               func() { to.CA = s.set.CA },
		"host":             func() { to.Host = s.set.Host },
		"port":             func() { to.Port = s.set.Port },
		"facility":         func() { to.Facility = s.set.Facility },
		"socket-type":      func() { to.SocketType = s.set.SocketType },
		"level":            func() { to.Level = s.set.Level },
		"enabled":          func() { to.Enabled = s.set.Enabled },
		"message-template": func() { to.MessageTemplate = s.set.MessageTemplate },
		"status-template":  func() { to.StatusTemplate = s.set.StatusTemplate },
	} {
		if c.Flags().Changed(name) {
			put()
		}
	}
	if s.templates != "" {
		status, ok := pairs[s.templates]
		if !ok {
			return nil, usagef("--templates %q: want m1, m2, m3 or default", s.templates)
		}
		to.MessageTemplate, to.StatusTemplate = s.templates, status
	}
	if to.URL == "" {
		return nil, usagef("the API is missing: --url https://HOST, or source.url in the configuration")
	}
	return cfg, nil
}

// settings are the eight arguments, with the templates' texts.
func settings(c *cobra.Command, cfg *config.Config) (source.Settings, error) {
	src := &cfg.Source
	known := stack.KnownTemplates(cfg)
	message, err := source.Resolve(source.KindMessage, src.MessageTemplate, known)
	if err != nil {
		return source.Settings{}, &usageError{err}
	}
	status, err := source.Resolve(source.KindStatus, src.StatusTemplate, known)
	if err != nil {
		return source.Settings{}, &usageError{err}
	}
	s := source.Settings{
		Host: src.Host, Port: src.Port, Facility: src.Facility, SocketType: src.SocketType,
		MessageTemplate: message, Enabled: src.Enabled, Level: src.Level, StatusTemplate: status,
	}
	if err := s.Validate(); err != nil {
		return s, &usageError{err}
	}
	for _, w := range s.Warnings() {
		fmt.Fprintf(c.ErrOrStderr(), "millrace: warning: %s\n", w)
	}
	return s, nil
}

func client(cfg *config.Config) (*source.Client, error) {
	return source.New(source.Options{
		Address: cfg.Source.URL, User: cfg.Source.Username, Password: source.Secret(cfg.Source.Password.Reveal()),
		CAFile: cfg.Source.CA, Timeout: cfg.Source.Timeout,
	})
}

func newSourceURL() *cobra.Command {
	var s sourceFlags
	c := &cobra.Command{
		Use:   "url",
		Short: "Print the call that would be made, without making it",
		Long:  "Print the address of the call that source set would make, URL-encoded, without user and password.",
		Example: `  millrace source url --url https://filter.example.com --host logs.example.com --port 5514 --templates m1
  curl -u admin "$(millrace source url --config /etc/millrace.yaml)"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := s.load(c)
			if err != nil {
				return err
			}
			what, err := settings(c, cfg)
			if err != nil {
				return err
			}
			e, _, _, err := source.ParseEndpoint(cfg.Source.URL)
			if err != nil {
				return &usageError{err}
			}
			fmt.Fprintln(c.OutOrStdout(), e.SetURL(what))
			return nil
		},
	}
	s.add(c)
	s.addSettings(c)
	return c
}

func newSourceSet() *cobra.Command {
	var s sourceFlags
	c := &cobra.Command{
		Use:   "set",
		Short: "Make the call, read it back and show any difference",
		Long: `Tell the filter with api_set_remote_syslog_server, all eight arguments, then read back what it has and show any
difference. Exit code 1 when there is one.`,
		Example: "  MILLRACE_SOURCE_PASSWORD=... millrace source set --config /etc/millrace.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return s.call(c, func(ctx context.Context, api *source.Client, cfg *config.Config) error {
				what, err := settings(c, cfg)
				if err != nil {
					return err
				}
				if err := api.Set(ctx, what); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "set at %s\n", api)
				return compare(ctx, c, api, cfg, what)
			})
		},
	}
	s.add(c)
	s.addSettings(c)
	return c
}

func newSourceGet() *cobra.Command {
	var s sourceFlags
	c := &cobra.Command{
		Use:   "get",
		Short: "Print what the filter has, and its templates as formats",
		Long: `Print what api_get_remote_syslog_server says, and the templates in it as a formats: list to put into the
configuration.`,
		Example: "  millrace source get --config /etc/millrace.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return s.call(c, func(ctx context.Context, api *source.Client, cfg *config.Config) error {
				have, err := api.Get(ctx)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				for _, field := range source.Fields() {
					value := have.Value(field)
					if !have.Has(field) {
						value = "(not shown)"
					}
					fmt.Fprintf(w, "# %s\t%s\n", field, value)
				}
				if err := w.Flush(); err != nil {
					return err
				}
				formats, notes := source.Formats(have.Settings, stack.KnownTemplates(cfg))
				for _, n := range notes {
					fmt.Fprintf(c.OutOrStdout(), "# %s\n", n)
				}
				text, err := source.FormatsYAML(formats)
				if err != nil {
					return err
				}
				_, err = c.OutOrStdout().Write(text)
				return err
			})
		},
	}
	s.add(c)
	return c
}

func newSourceCheck() *cobra.Command {
	var s sourceFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Compare what the filter has with the configuration",
		Long: `Read back what the filter has and show every difference to the configuration, and every template that no
format of the configuration decodes. Exit code 1 when there is one.`,
		Example: "  millrace source check --config /etc/millrace.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return s.call(c, func(ctx context.Context, api *source.Client, cfg *config.Config) error {
				what, err := settings(c, cfg)
				if err != nil {
					return err
				}
				return compare(ctx, c, api, cfg, what)
			})
		},
	}
	s.add(c)
	s.addSettings(c)
	return c
}

func (s *sourceFlags) call(c *cobra.Command, f func(context.Context, *source.Client, *config.Config) error) error {
	cfg, err := s.load(c)
	if err != nil {
		return err
	}
	api, err := client(cfg)
	if err != nil {
		return err
	}
	defer api.Close()
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return f(ctx, api, cfg)
}

func compare(ctx context.Context, c *cobra.Command, api *source.Client, cfg *config.Config, want source.Settings) error {
	have, err := api.Get(ctx)
	if err != nil {
		return err
	}
	differences := append(source.Diff(want, have), source.DiffFormats(want, have.Settings, stack.KnownTemplates(cfg))...)
	if len(differences) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "the filter has what is configured")
		return nil
	}
	for _, d := range differences {
		fmt.Fprintln(c.OutOrStdout(), d)
	}
	if len(differences) == 1 {
		return errors.New("cannot find the configuration at the filter: 1 difference")
	}
	return fmt.Errorf("cannot find the configuration at the filter: %d differences", len(differences))
}
