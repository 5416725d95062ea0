package cmd

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/internal/config"
	"millrace/query/lock"
	"millrace/query/state"
)

// withState runs f with the state of the configured Kafka: who may write to it is an
// operator, and asks nobody else.
func withState(c *cobra.Command, path string, f func(context.Context, *config.Config, *state.Store) error) error {
	cfg, err := loadConfig(c, path)
	if err != nil {
		return err
	}
	o, err := state.FromConfig(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opening, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	store, err := state.Open(opening, o)
	if err != nil {
		return err
	}
	defer store.Close()
	return f(ctx, cfg, store)
}

// operator is who types.
func operator() state.By {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
		if sudo := os.Getenv("SUDO_USER"); u.Uid == "0" && sudo != "" {
			name = sudo
		}
	}
	return state.By{Actor: "cli:" + name, How: state.CLI}
}

// arguments are those of the command line or, for -, the lines of standard input.
func arguments(c *cobra.Command, args []string) ([]string, error) {
	var all []string
	for _, a := range args {
		if a != "-" {
			all = append(all, a)
			continue
		}
		lines := bufio.NewScanner(c.InOrStdin())
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
				all = append(all, line)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("cannot read standard input: %w", err)
		}
	}
	return all, nil
}

// parseAll reads each argument.
func parseAll[T any](args []string, parse func(string) (T, error)) ([]T, error) {
	var all []T
	for _, a := range args {
		v, err := parse(a)
		if err != nil {
			return nil, &usageError{err}
		}
		all = append(all, v)
	}
	return all, nil
}

// tell says what came of a verb.
func tell(c *cobra.Command, done string, r lock.Result, unchanged string) {
	fmt.Fprintf(c.OutOrStdout(), "%d %s\n", r.Done, done)
	for _, u := range r.Unchanged {
		fmt.Fprintf(c.ErrOrStderr(), "millrace: %s %s\n", u, unchanged)
	}
}

// listFormats are those of lists that do not come from ClickHouse.
var listFormats = []string{"table", "csv", "json"}

func listFlag(c *cobra.Command, format *string) {
	c.Flags().StringVar(format, "format", "table", "table, csv or json (an object a line)")
	oneOfFlag(c, "format", listFormats...)
}

// printList prints rows with a header; objects are the same for JSON.
func printList[T any](w io.Writer, format string, header []string, objects []T, row func(T) []string) error {
	switch format {
	case "table":
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, strings.Join(header, "\t"))
		for _, o := range objects {
			cells := row(o)
			for i := range cells {
				cells[i] = oneLine(cells[i])
			}
			fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
		}
		return t.Flush()
	case "csv":
		out := csv.NewWriter(w)
		_ = out.Write(header) // Error tells
		for _, o := range objects {
			_ = out.Write(row(o))
		}
		out.Flush()
		return out.Error()
	case "json":
		e := json.NewEncoder(w)
		for _, o := range objects {
			object := map[string]string{}
			for i, cell := range row(o) {
				object[header[i]] = cell
			}
			if err := e.Encode(object); err != nil {
				return err
			}
		}
		return nil
	}
	return usagef("--format %q: want %s", format, strings.Join(listFormats, ", "))
}

// oneLine keeps control characters from a terminal, and a cell on its line.
func oneLine(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func timeCell(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// parseEnd reads how long something lasts: a time, or a duration from now with units to d.
func parseEnd(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := config.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--%s %q: want a time as 2026-11-25T14:00:00Z or 2026-11-25, or a duration as 24h or 30d", flag, s)
}

// readPassword takes a password from a file, "-" being standard input, or asks for it.
func readPassword(c *cobra.Command, file string) (string, error) {
	switch file {
	case "":
		in, ok := c.InOrStdin().(*os.File)
		if !ok || !term.IsTerminal(int(in.Fd())) {
			return "", usagef("--password-file is missing (- is standard input), or a terminal to ask for the password")
		}
		fmt.Fprint(c.ErrOrStderr(), "Password: ")
		first, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprint(c.ErrOrStderr(), "\nOnce more: ")
		if err != nil {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
		second, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		if err != nil {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
		if string(first) != string(second) {
			return "", errors.New("cannot use the password: the two are not the same")
		}
		return string(first), nil
	case "-":
		return filePassword(c.InOrStdin())
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode()&(fs.ModePerm&0o044) != 0 {
		fmt.Fprintf(c.ErrOrStderr(), "millrace: warning: others can read %s\n", file)
	}
	return filePassword(f)
}

func filePassword(r io.Reader) (string, error) {
	line, err := firstLine(r)
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %w", err)
	}
	return line, nil
}
