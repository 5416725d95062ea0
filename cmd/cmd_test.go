package cmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"millrace/ingester/format"
	"millrace/ingester/qmail"
	"millrace/internal/config"
)

// result is what one command line came to.
type result struct {
	code      int
	out, errs string
}

func execute(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	code := run(ctx, New(), args, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

func (r result) want(t *testing.T, code int, out, errs string) {
	t.Helper()
	if r.code != code || r.out != out || r.errs != errs {
		t.Errorf("got code %d\nstdout:\n%s\nstderr:\n%s\nwant code %d\nstdout:\n%s\nstderr:\n%s", r.code, r.out, r.errs, code, out, errs)
	}
}

// contains wants each of the parts in the output.
func (r result) contains(t *testing.T, code int, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(r.out+r.errs, p) {
			t.Errorf("no %q in\nstdout:\n%s\nstderr:\n%s", p, r.out, r.errs)
		}
	}
	if r.code != code {
		t.Errorf("code %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, r.out, r.errs)
	}
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every command says what it does and shows how, and takes its place in help.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := c.CommandPath()
		generated := strings.HasPrefix(path, "millrace completion ") || c.Name() == "help"
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", path, c.Short)
		}
		if !generated && !strings.Contains(c.Example, "millrace") {
			t.Errorf("%s has no example", path)
		}
		if c.HasParent() && c.Parent() == c.Root() && !slices.Contains([]string{"version", "completion", "help"}, c.Name()) && c.GroupID == "" {
			t.Errorf("%s is in no group of the help", path)
		}
		if !generated {
			r := execute(t, "", append(strings.Fields(path)[1:], "--help")...)
			r.contains(t, 0, "Usage:", "Examples:")
			if r.errs != "" {
				t.Errorf("%s --help writes to stderr: %s", path, r.errs)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(New())
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		execute(t, "", args...).want(t, 2, "", "millrace: cannot understand the command line: "+want)
	}
	f("\"chekc\" is no command of millrace; did you mean check?\nSee 'millrace --help'.\n", "chekc")
	f("\"xyzzy\" is no command of millrace\nSee 'millrace --help'.\n", "xyzzy")
	f("\"gett\" is no command of millrace source; did you mean get or set?\nSee 'millrace source --help'.\n", "source", "gett")
	f("\"nushell\" is no command of millrace completion\nSee 'millrace completion --help'.\n", "completion", "nushell")
	f("unknown flag: --colour\nSee 'millrace version --help'.\n", "version", "--colour")
	f("unknown command \"x\" for \"millrace version\"\nSee 'millrace version --help'.\n", "version", "x")
	f("--config FILE is missing\nSee 'millrace check --help'.\n", "check")
	f("invalid argument \"many\" for \"--count\" flag: strconv.ParseUint: parsing \"many\": invalid syntax\nSee 'millrace generate --help'.\n", "generate", "--count", "many")
	f("cannot send to \"http://x\": the target is tcp://HOST:PORT or udp://HOST:PORT\nSee 'millrace generate --help'.\n", "generate", "--to", "http://x")
	f("either one SQL statement, in quotes, or --report NAME\nSee 'millrace query --help'.\n", "query")
	f("--param is for --report\nSee 'millrace query --help'.\n", "query", "SELECT 1", "--param", "a=1")
	f("--listener \"x\": the configuration has no listener of that name\nSee 'millrace template test --help'.\n", "template", "test", "--listener", "x")
	f("the API is missing: --url https://HOST, or source.url in the configuration\nSee 'millrace source get --help'.\n", "source", "get")
}

func TestGroupsShowTheirHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"source"}, {"template"}, {"completion"}} {
		r := execute(t, "", args...)
		r.contains(t, 0, "Usage:")
		if r.errs != "" || !strings.Contains(r.out, "Examples:") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	b := Build{Version: "v1.2.3", Commit: "0123456789ab+", Go: "go1.26.0"}
	want := "millrace v1.2.3\ncommit   0123456789ab+\ngo       go1.26.0 " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	if b.String() != want {
		t.Errorf("got %q", b)
	}
	execute(t, "", "version").want(t, 0, buildInfo().String(), "")
	execute(t, "", "--version").want(t, 0, buildInfo().String(), "")
	if b := buildInfo(); b.Version == "" || b.Commit == "" || b.Go != runtime.Version() {
		t.Errorf("%+v", b)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		execute(t, "", "completion", shell).contains(t, 0, "millrace")
	}
	execute(t, "", "__complete", "generate", "--framing", "").contains(t, 0, "nul\nlf\noctet\n")
	execute(t, "", "__complete", "query", "--format", "").contains(t, 0, "table\ntsv\ncsv\njson\n")
	execute(t, "", "__complete", "sou").contains(t, 0, "source\tTell the mail filter")
}

// config names the built-in formats without knowing package format.
func TestBuiltinFormats(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range format.Builtin() {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, config.BuiltinFormats) {
		t.Errorf("ingester/format has %q, config.BuiltinFormats is %q", names, config.BuiltinFormats)
	}
	if logs := qmail.Logs(); !slices.Equal(logs, config.LogFormats) {
		t.Errorf("ingester/qmail has %q, config.LogFormats is %q", logs, config.LogFormats)
	}
}
