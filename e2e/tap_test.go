package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// watching is a command of the program that watches an ingester.
type watching struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    bytes.Buffer
	stderr *bufio.Scanner
}

// watch starts the command and waits until it says that it watches.
func watch(t *testing.T, args ...string) *watching {
	t.Helper()
	w := &watching{t: t, cmd: exec.CommandContext(t.Context(), binary, args...)}
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	w.cmd.Stdout = &w.out
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.stderr = bufio.NewScanner(stderr)
	if !w.stderr.Scan() || !strings.HasPrefix(w.stderr.Text(), "watching ") {
		t.Fatalf("%v says %q", args, w.stderr.Text())
	}
	return w
}

// ends waits for its end and returns what it wrote.
func (w *watching) ends() (stdout, stderr string) {
	w.t.Helper()
	for w.stderr.Scan() {
		stderr += w.stderr.Text() + "\n"
	}
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("%v: %v\n%s%s", w.cmd.Args, err, &w.out, stderr)
	}
	return w.out.String(), stderr
}

// TestTap watches the built program, records what comes, tries it and plays it back;
// Ctrl-C ends a tap with its counts, and a stack that is watched stops all the same.
func TestTap(t *testing.T) {
	t.Parallel()
	p := up(t, t.TempDir())
	here := []string{"--http", p.addr["http"]}
	file := filepath.Join(t.TempDir(), "frames")
	good := "<22>" + m1(testID(1), "quoted \"text\", \xff")
	recording := watch(t, append(here, "capture", "--listener", "filter-tcp", "--count", "2", "-o", file)...)
	rejects := watch(t, append(here, "tap", "--rejects", "--count", "1")...)
	conn, err := net.Dial("tcp", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\x00<22>none\x00", good)
	if out, errs := rejects.ends(); !strings.Contains(out, " reject no_template: ") || !strings.Contains(out, "<22>none\n") || errs != "1 shown, 0 over the rate, 0 missed, 1 not matched\n" {
		t.Errorf("tap --rejects shows\n%s%s", out, errs)
	}
	if out, _ := recording.ends(); !strings.Contains(out, "2 frames in "+file) || !strings.Contains(out, "ended by            nul 2\n") {
		t.Errorf("capture says\n%s", out)
	}
	want := fmt.Sprintf("%d %s8 <22>none", len(good), good)
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%v: the file holds %q, want %q", err, got, want)
	}
	if out, _, code := run(t, "template", "test", file); code != 1 || !strings.Contains(out, "2 frames, 1 decoded, 1 rejected") {
		t.Errorf("template test: code %d\n%s", code, out)
	}
	all := watch(t, append(here, "tap", "--json", "--rate", "0", "--count", "20")...)
	if out, errs, code := run(t, "generate", "--from", file, "--to", "tcp://"+p.addr["syslog_tcp"], "--count", "20", "--wait-published", "http://"+p.addr["http"]); code != 0 || !strings.Contains(out, "published 10 rejected 10 dropped 0") {
		t.Errorf("generate --from: code %d\n%s%s", code, out, errs)
	}
	out, errs := all.ends()
	if n := strings.Count(out, `"kind":"message"`); n != 10 || strings.Count(out, `"reason":"no_template"`) != 10 || errs != "20 shown, 0 over the rate, 0 missed, 0 not matched\n" {
		t.Errorf("a tap that saw %d messages ends with %s", n, errs)
	}
	interrupted := watch(t, append(here, "tap")...)
	if err := interrupted.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, errs := interrupted.ends(); errs != "0 shown, 0 over the rate, 0 missed, 0 not matched\n" {
		t.Errorf("a tap that was interrupted ends with %s", errs)
	}
	last := watch(t, append(here, "tap")...)
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, errs := last.ends(); !strings.HasSuffix(errs, "; the ingester has stopped\n") {
		t.Errorf("the tap ends with %s", errs)
	}
}
