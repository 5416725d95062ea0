package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A signal is for a whole process, so each case runs in a process of its own:
// this test binary, told by the environment what to be.
const beEnv = "MILLRACE_TEST_BE"

func TestMain(m *testing.M) {
	if be := os.Getenv(beEnv); be != "" {
		os.Exit(daemon(be))
	}
	os.Exit(m.Run())
}

// daemon says "reading" when it runs, "draining" when its soft context ends,
// then drains in the way it was told.
func daemon(be string) int {
	timeout := time.Hour
	if be == "slow-bounded" {
		timeout = 50 * time.Millisecond
	}
	err := Run(context.Background(), RunOptions{DrainTimeout: timeout}, func(soft, hard context.Context) error {
		fmt.Println("reading")
		if be == "fails" {
			return errors.New("cannot read")
		}
		if be == "coded" {
			return WithExitCode(2, errors.New("cannot start"))
		}
		<-soft.Done()
		fmt.Println("draining:", context.Cause(soft))
		switch be {
		case "quick":
			return nil
		case "deaf": // does not even hear the hard context
			<-hard.Done()
			fmt.Println("hard")
			select {}
		}
		<-hard.Done()
		return hard.Err()
	})
	if err != nil {
		fmt.Println("end:", err)
	}
	return ExitCode(err)
}

type child struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Scanner
}

func start(t *testing.T, be string) *child {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), beEnv+"="+be)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &child{t, cmd, bufio.NewScanner(out)}
}

func (c *child) line(want string) {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("no line; want %q", want)
	}
	if got := c.out.Text(); got != want {
		c.t.Fatalf("got line %q, want %q", got, want)
	}
}

func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) end(code int) {
	c.t.Helper()
	for c.out.Scan() {
		c.t.Errorf("unexpected line %q", c.out.Text())
	}
	_ = c.cmd.Wait()
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Fatalf("exit code %d (%s), want %d", got, c.cmd.ProcessState, code)
	}
}

func TestRunSignals(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run("one/"+s.String(), func(t *testing.T) {
			t.Parallel()
			c := start(t, "quick")
			c.line("reading")
			c.signal(s)
			c.line("draining: asked to stop")
			c.end(0)
		})
	}
	t.Run("second", func(t *testing.T) {
		t.Parallel()
		c := start(t, "slow")
		c.line("reading")
		c.signal(syscall.SIGTERM)
		c.line("draining: asked to stop")
		c.signal(os.Interrupt)
		c.line("end: cannot finish draining: asked to stop at once")
		c.end(1)
	})
	t.Run("third kills", func(t *testing.T) {
		t.Parallel()
		c := start(t, "deaf")
		c.line("reading")
		c.signal(os.Interrupt)
		c.line("draining: asked to stop")
		c.signal(os.Interrupt)
		c.line("hard")
		c.signal(os.Interrupt)
		c.end(-1)
		if ws := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGINT {
			t.Fatalf("ended by %v, want SIGINT", ws)
		}
	})
	t.Run("drain timeout", func(t *testing.T) {
		t.Parallel()
		c := start(t, "slow-bounded")
		c.line("reading")
		c.signal(syscall.SIGTERM)
		c.line("draining: asked to stop")
		c.line("end: cannot finish draining: the drain timeout is over")
		c.end(1)
	})
	t.Run("failure", func(t *testing.T) {
		t.Parallel()
		c := start(t, "fails")
		c.line("reading")
		c.line("end: cannot read")
		c.end(1)
	})
	t.Run("failure with a code", func(t *testing.T) {
		t.Parallel()
		c := start(t, "coded")
		c.line("reading")
		c.line("end: cannot start")
		c.end(2)
	})
}

// The end of the parent context is a first signal too: the drain still runs.
func TestRunParent(t *testing.T) {
	t.Parallel()
	parent, cancel := context.WithCancelCause(context.Background())
	why := errors.New("20 s are over")
	err := Run(parent, RunOptions{}, func(soft, hard context.Context) error {
		cancel(why)
		<-soft.Done()
		if context.Cause(soft) != why {
			t.Errorf("soft ended because %v", context.Cause(soft))
		}
		return hard.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	f := func(err error, want int) {
		t.Helper()
		if got := ExitCode(err); got != want {
			t.Errorf("ExitCode(%v) = %d, want %d", err, got, want)
		}
	}
	f(nil, 0)
	f(WithExitCode(2, nil), 0)
	f(io.EOF, 1)
	f(fmt.Errorf("cannot start: %w", WithExitCode(2, io.EOF)), 2)
	if !errors.Is(WithExitCode(2, io.EOF), io.EOF) || !strings.Contains(WithExitCode(2, io.EOF).Error(), "EOF") {
		t.Error("WithExitCode hides its error")
	}
}
