package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/ingester/quarantine"
	"millrace/internal/config"
	"millrace/internal/service"
	"millrace/stack/retrieve"
)

// quarantineFlags are the command line of millrace quarantine: those of the vendor's script, with
// its letters, and ours.
type quarantineFlags struct {
	csv, display       bool
	incoming, outgoing bool
	asked              retrieve.Asked
	host, user         string
	password           string
	noBounce           bool

	passwordFile string
	zone         string
	port         int
	tls, ca      string
	insecure     bool
	output       string
	rawCells     bool
	load         bool
	path, data   string
}

func newQuarantine() *cobra.Command {
	var f quarantineFlags
	c := &cobra.Command{
		Use:   "quarantine -s HOST",
		Short: "List the filter's quarantine over IMAP, and load it",
		Long: `List the messages that came into the mail filter's quarantine, one line each, with the options and the twelve columns of
the vendor's retrieve_quarantine_info.py. Without -i and -o it is the outgoing quarantine; without -t, --since and
--from it is yesterday, from midnight to midnight in the time zone of this machine or of --tz. Without -c, -d and --load
the list goes to the screen. Nothing in the quarantine is changed or marked as read.

-c writes the list to a file in the working directory that is called after what was asked for, as in
quarantine-outgoing-2026-11-25.csv, or to --output; an earlier list of that name is replaced when the new one is whole.
Values that a spreadsheet would take for formulas get an apostrophe in front there, unless --raw-cells.

--load puts what was found into the pipeline, table quarantine_messages; Kafka has it when the command ends. What is
there already is left out, so that a run can be repeated, once the transformer has inserted what the last one loaded.

Which folders and which headers is the section quarantine of the configuration. The password comes from -p,
--password-file, the environment (MILLRACE_IMAP_PASSWORD), the configuration, or a prompt, which also reads a pipe.`,
		Example: `  millrace quarantine -d -o -n -s quarantine.example.com
  millrace quarantine -c -t -i -o -s quarantine.example.com --password-file /etc/millrace/imap
  millrace quarantine --since 1h --load --config /etc/millrace.yaml
  millrace quarantine --from 2026-11-01 --to 2026-11-07 --tz Europe/Amsterdam -c --output week.csv -s quarantine.example.com`,
		Args: cobra.NoArgs,
		RunE: f.run,
	}
	set := c.Flags()
	set.BoolVarP(&f.csv, "csv", "c", false, "save the list to a CSV file")
	set.BoolVarP(&f.display, "display", "d", false, "show the list while it comes")
	set.BoolVarP(&f.incoming, "incoming", "i", false, "search the incoming quarantine")
	set.BoolVarP(&f.outgoing, "outgoing", "o", false, "search the outgoing quarantine")
	set.BoolVarP(&f.asked.Today, "today", "t", false, "messages of today (otherwise of yesterday)")
	set.StringVarP(&f.host, "imaphost", "s", "", "`HOST` or HOST:PORT of the IMAP server (quarantine.host)")
	set.StringVarP(&f.user, "username", "u", "global", "`USER` to ask as (quarantine.username)")
	set.StringVarP(&f.password, "password", "p", "", "the user's `PASSWORD`, which everybody on this machine can see there")
	set.BoolVarP(&f.noBounce, "no-bounce", "n", false, "leave out mail from mailer-daemon")
	set.StringVar(&f.asked.Since, "since", "", "messages of so long ago and later, as 1h or 2d, or since a `TIME`")
	set.StringVar(&f.asked.From, "from", "", "messages since a `TIME`, as 2026-11-25 or 2026-11-25T14:00")
	set.StringVar(&f.asked.To, "to", "", "with --from: before a `TIME`; a day is meant whole")
	set.StringVar(&f.zone, "tz", "local", "time `ZONE` of days and times, as Europe/Amsterdam or +02:00 (quarantine.time_zone)")
	set.StringVar(&f.passwordFile, "password-file", "", "`FILE` whose first line is the password (quarantine.password_file)")
	set.IntVar(&f.port, "port", 0, "port of the IMAP server: 993, or 143 with --tls starttls (quarantine.port)")
	set.StringVar(&f.tls, "tls", config.TLSImplicit, "encryption: implicit, starttls, or none, which is for a server on this machine alone (quarantine.tls.mode)")
	set.StringVar(&f.ca, "ca", "", "PEM `FILE` of the authority that signed the server's certificate (quarantine.tls.ca)")
	set.BoolVar(&f.insecure, "insecure", false, "do not verify the server's certificate: whoever is in between reads the password")
	set.StringVar(&f.output, "output", "", "`FILE` for the list; goes with -c")
	set.BoolVar(&f.rawCells, "raw-cells", false, "leave values in the file as they are, formulas too")
	set.BoolVar(&f.load, "load", false, "load what is found into Kafka, for quarantine_messages")
	// No -c, which is the script's.
	set.StringVar(&f.path, "config", "", "configuration `FILE` (YAML); without it: "+theDefaults)
	set.StringVar(&f.data, "data", "", "with --load: data `DIR` of millrace up, with its passwords (default: where up keeps it)")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	_ = c.MarkFlagDirname("data")
	oneOfFlag(c, "tls", config.TLSImplicit, config.TLSStart, config.TLSNone)
	return c
}

func (f *quarantineFlags) run(c *cobra.Command, _ []string) error {
	cfg, err := f.configured(c)
	if err != nil {
		return err
	}
	o := retrieve.Options{Config: cfg, NoBounces: f.noBounce, Load: f.load}
	if o.Window, err = f.asked.Window(time.Now().In(cfg.Quarantine.Zone())); err != nil {
		return &usageError{err}
	}
	if f.incoming {
		o.Directions = append(o.Directions, quarantine.Incoming)
	}
	if f.outgoing || !f.incoming {
		o.Directions = append(o.Directions, quarantine.Outgoing)
	}
	if f.load {
		if err := f.loading(c, &o); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends it at once
	if o.Password, err = f.secret(ctx, c, cfg); err != nil {
		return err
	}
	return f.retrieve(ctx, c, o)
}

// configured is the configuration with the flags over it.
func (f *quarantineFlags) configured(c *cobra.Command) (*config.Config, error) {
	if f.output != "" && !f.csv {
		return nil, usagef("--output goes with -c")
	}
	if f.tls != config.TLSImplicit && f.tls != config.TLSStart && f.tls != config.TLSNone {
		return nil, usagef("--tls %q: implicit, starttls or none", f.tls)
	}
	if f.port < 0 || f.port > 65535 {
		return nil, usagef("--port %d: 1 to 65535", f.port)
	}
	zone, err := config.ParseLocalZone(f.zone)
	if err != nil {
		return nil, usagef("--tz %q: %w; allowed local, a name such as Europe/Amsterdam, or an offset such as +02:00", f.zone, err)
	}
	cfg, err := loadConfig(c, f.path)
	if err != nil {
		return nil, err
	}
	q := &cfg.Quarantine
	for name, put := range map[string]func(){
		"imaphost": func() { q.Host = f.host },
		"username": func() { q.Username = f.user },
		"tz":       func() { q.TimeZone = zone },
		"port":     func() { q.Port = f.port },
		"tls":      func() { q.TLS.Mode = f.tls },
		"ca":       func() { q.TLS.CA = f.ca },
		"insecure": func() { q.TLS.Verify = !f.insecure },
	} {
		if c.Flags().Changed(name) {
			put()
		}
	}
	if host, port, err := net.SplitHostPort(f.host); err == nil && !c.Flags().Changed("port") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, usagef("--imaphost %q: want HOST or HOST:PORT", f.host)
		}
		q.Host, q.Port = host, int(n)
	}
	if q.Host == "" {
		return nil, usagef("the server is missing: -s HOST, or quarantine.host in the configuration")
	}
	if !q.TLS.Verify && q.TLS.Mode != config.TLSNone {
		fmt.Fprintf(c.ErrOrStderr(), "millrace: warning: the certificate of %s is not verified: whoever is in between reads the password\n", q.Host)
	}
	return cfg, nil
}

// loading adds what --load needs.
func (f *quarantineFlags) loading(c *cobra.Command, o *retrieve.Options) error {
	reader, err := readerOptions(o.Config, f.data)
	if err != nil {
		return err
	}
	if o.ClickHouse, err = o.Config.ShardReaderOptions(); err != nil {
		return err
	}
	for _, ch := range o.ClickHouse {
		ch.Auth.Username, ch.Auth.Password = reader.User, reader.Password
	}
	if o.Log, err = service.NewLogger(c.ErrOrStderr(), slog.LevelWarn, o.Config.Log.Format); err != nil {
		return err
	}
	return trialLogin(o.Config, f.data)
}

// retrieve runs it and tells what came of it.
func (f *quarantineFlags) retrieve(ctx context.Context, c *cobra.Command, o retrieve.Options) error {
	var shown *retrieve.Sheet
	var file *retrieve.File
	var err error
	path := f.output
	if f.csv {
		if path == "" {
			path = retrieve.FileName(o.Directions, f.asked, o.Window)
		}
		if file, err = retrieve.CreateFile(path, !f.rawCells); err != nil {
			return err
		}
		defer file.Discard()
	}
	display := f.display || !f.csv && !f.load
	if display || f.csv {
		o.Row = func(m *quarantine.Message) error {
			var err error
			if shown != nil {
				err = shown.Add(m)
			}
			if file != nil && err == nil {
				err = file.Add(m)
			}
			return err
		}
	}
	line := &progress{}
	if display {
		if shown, err = retrieve.NewSheet(c.OutOrStdout(), false, false); err != nil {
			return err
		}
	} else {
		line = newProgress(c.ErrOrStderr())
	}
	o.Progress = func(folder string, step, done, all int) {
		what := [...]string{1: "dates", 2: "headers"}[step]
		line.show("%s of %d %s in %q", bar(uint64(done), uint64(all)), all, what, folder)
	}
	r, err := retrieve.Run(ctx, o)
	line.end()
	if err == nil && file != nil {
		err = file.Keep()
	}
	f.tell(c.ErrOrStderr(), &o, &r)
	if err != nil {
		if file != nil {
			err = fmt.Errorf("%w; %s was not written", err, path)
		}
		return err
	}
	if file != nil {
		fmt.Fprintf(c.ErrOrStderr(), "wrote %s to %s\n", plural(file.Rows(), "row"), path)
	}
	return nil
}

// tell says what was found and loaded.
func (f *quarantineFlags) tell(out io.Writer, o *retrieve.Options, r *retrieve.Report) {
	if len(r.Folders) == 0 {
		return
	}
	names := make([]string, len(r.Folders))
	for i, name := range r.Folders {
		names[i] = strconv.Quote(name)
	}
	fmt.Fprintf(out, "%s in %s, %s", plural(r.Found, "message"), strings.Join(names, ", "), o.Window)
	if f.noBounce {
		fmt.Fprintf(out, "; %d from mailer-daemon left out", r.Bounces)
	}
	if r.Gone > 0 {
		fmt.Fprintf(out, "; %d removed meanwhile", r.Gone)
	}
	fmt.Fprintln(out)
	if f.load {
		fmt.Fprintf(out, "loaded %s, left out %d that are loaded already\n", plural(r.Loaded, "message"), r.Known)
	}
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// secret is the password: of the command line, a file, the environment, the configuration, or
// of whoever is asked.
func (f *quarantineFlags) secret(ctx context.Context, c *cobra.Command, cfg *config.Config) (string, error) {
	q := &cfg.Quarantine
	switch {
	case c.Flags().Changed("password"):
		fmt.Fprintln(c.ErrOrStderr(), "millrace: warning: everybody on this machine can see the password of -p (ps), and the shell keeps it; --password-file, MILLRACE_IMAP_PASSWORD and the prompt do not show it")
		return f.password, nil
	case f.passwordFile != "":
		return passwordOf(f.passwordFile)
	case q.Password.IsSet():
		return q.Password.Reveal(), nil
	case q.PasswordFile != "":
		return passwordOf(q.PasswordFile)
	}
	return askPassword(ctx, c, q.Username)
}

// passwordOf is the first line of a file.
func passwordOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %w", err)
	}
	defer file.Close()
	password, err := firstLine(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %s: %w", path, err)
	}
	return password, nil
}

// maxPassword bounds a password.
const maxPassword = 4 << 10

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("it is empty")
	}
	return line, nil
}

// askPassword prompts as the vendor's script does. On a terminal nothing is echoed.
func askPassword(ctx context.Context, c *cobra.Command, user string) (string, error) {
	fmt.Fprintf(c.ErrOrStderr(), "Please enter the password for the IMAP account '%s'.\n", user)
	in := c.InOrStdin()
	file, ok := in.(*os.File)
	terminal := ok && term.IsTerminal(int(file.Fd()))
	var echo *term.State
	if terminal {
		var err error
		if echo, err = term.GetState(int(file.Fd())); err != nil {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
	}
	type answer struct {
		password string
		err      error
	}
	answered := make(chan answer, 1)
	go func() { // left behind at Ctrl-C, when the process ends
		var a answer
		if terminal {
			var line []byte
			line, a.err = term.ReadPassword(int(file.Fd()))
			if a.password = string(line); a.err == nil && a.password == "" {
				a.err = errors.New("it is empty")
			}
		} else {
			a.password, a.err = firstLine(in)
		}
		answered <- a
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return "", fmt.Errorf("cannot read the password: %w", a.err)
		}
		return a.password, nil
	case <-ctx.Done():
		if terminal {
			_ = term.Restore(int(file.Fd()), echo)
		}
		return "", fmt.Errorf("cannot read the password: %w", context.Cause(ctx))
	}
}
