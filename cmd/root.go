package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/internal/service"
)

// New makes the whole command tree, with no state shared with another.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "Mail logs from syslog through Kafka into ClickHouse, exactly once",
		Long: `Millrace takes the remote syslog of mail filters and mail servers, decodes it with the templates that
the source was given, carries every event through Kafka and lands it in ClickHouse exactly once.`,
		Example: `  # the whole pipeline on this machine, on made-up traffic, for a look
  millrace up --demo

  # the same, waiting for real traffic and keeping its data
  millrace up --config /etc/millrace.yaml

  # the two daemons alone, over your own Kafka and ClickHouse
  millrace check     --config /etc/millrace.yaml
  millrace ingest    --config /etc/millrace.yaml
  millrace transform --config /etc/millrace.yaml

  # ask
  millrace query "SELECT status_norm, count() FROM message_events GROUP BY 1 ORDER BY 2 DESC"`,
		Version: buildInfo().Version,
	}
	root.SetVersionTemplate(buildInfo().String())
	group(root)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run it:"},
		&cobra.Group{ID: groupPrepare, Title: "Prepare it:"},
		&cobra.Group{ID: groupUse, Title: "Use it:"},
		&cobra.Group{ID: groupDecide, Title: "Decide:"},
	)
	add := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	add(groupRun, newUp(), newIngest(), newTransform(), newServe())
	add(groupPrepare, newCapacity(), newCheck(), newSchema(), newTemplate(), newSource())
	add(groupUse, newSearch(), newMessage(), newQuery(), newStatus(), newAudit(), newTap(), newCapture(), newReplay(), newTrail(), newReport(), newClasses(), newImport(), newQuarantine(), newGenerate())
	add(groupDecide, newLock(), newUnlock(), newLocks(), newBlock(), newUnblock(), newBlocks(), newIdentities(), newRules(), newLists(), newOutgoingUser(), newSchedule(), newUser(), newToken())
	root.AddCommand(newVersion())
	return root
}

const (
	groupRun     = "run"
	groupPrepare = "prepare"
	groupUse     = "use"
	groupDecide  = "decide"
)

// Main runs the command line of this process and returns its exit code.
func Main() int {
	return run(context.Background(), New(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

func run(ctx context.Context, root *cobra.Command, args []string, in io.Reader, out, errs io.Writer) int {
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd() // keeps the output that is set now
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		group(completion).Example = "  millrace completion bash > /etc/bash_completion.d/millrace"
	}
	finish(root)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(errs, "millrace: %v\n", err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(errs, "See '%s --help'.\n", ran.CommandPath())
	}
	return service.ExitCode(err)
}

// A usageError is a command line that cannot be understood: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return "cannot understand the command line: " + e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return 2 }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// finish makes every complaint of cobra about the command line a usageError.
func finish(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var usage *usageError
			if err == nil || errors.As(err, &usage) {
				return err
			}
			return &usageError{err}
		}
	}
	for _, sub := range c.Commands() {
		finish(sub)
	}
}

// group makes c a command that only holds others: alone it shows its help, with
// a word that is none of them it says which are near.
func group(c *cobra.Command) *cobra.Command {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := ""
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usagef("%q is no command of %s%s", args[0], c.CommandPath(), hint)
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return c
}

// configFlag adds --config.
func configFlag(c *cobra.Command, path *string, without string) {
	c.Flags().StringVarP(path, "config", "c", "", "configuration `FILE` (YAML); without it: "+without)
	_ = c.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that is not there
}

const theDefaults = "the defaults, as in deploy/config.example.yaml"

// loadConfig reads the file of --config and the environment, and says on
// standard error what is probably not meant.
func loadConfig(c *cobra.Command, path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(c.ErrOrStderr(), "millrace: warning: %s\n", w)
	}
	return cfg, nil
}

// loadReloadable is loadConfig with the flags' values put in, and the function that does
// the same again for a reload; nil without a file.
func loadReloadable(c *cobra.Command, path string, flags func(*config.Config) error) (*config.Config, func() (*config.Config, error), error) {
	cfg, err := loadConfig(c, path)
	if err == nil {
		err = flags(cfg)
	}
	if err != nil || path == "" {
		return cfg, nil, err
	}
	return cfg, func() (*config.Config, error) {
		cfg, err := config.Load(path)
		if err == nil {
			err = flags(cfg)
		}
		return cfg, err
	}, nil
}

// oneOfFlag completes a flag's value with its words.
func oneOfFlag(c *cobra.Command, name string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
