package state

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
)

func TestLeader_OneActs(t *testing.T) {
	t.Parallel()
	b := broker(t)
	first := open(t, options(b.Addr))
	term, err := first.Leader(within(t))
	must(t, err)
	if again, err := first.Leader(within(t)); err != nil || again != term {
		t.Errorf("%v: another term for the same time", err)
	}
	by := By{Actor: "rule:test", How: Rule}
	must(t, term.Append(within(t), by, lock("a", true)))

	second := open(t, options(b.Addr))
	elected := make(chan *Term, 1)
	go func() {
		if got, err := second.Leader(context.Background()); err == nil {
			elected <- got
		}
	}()
	first.Close()
	if term.Context().Err() == nil {
		t.Error("the term outlives its store")
	}
	if err := term.Append(within(t), by, lock("b", true)); !errors.Is(err, ErrFenced) {
		t.Errorf("an ended term appends: %v", err)
	}
	next := <-elected
	if next.Number() <= term.Number() {
		t.Errorf("term %d follows %d", next.Number(), term.Number())
	}
	// A late record of the first term, which was on its way: nobody heeds it, and what
	// holds is the last record of the key again.
	value, err := json.Marshal(&envelope{V: 1, ID: uuid.NewString(), By: "rule:test", How: Rule, Action: "unlock", State: json.RawMessage(`{"locked":false}`), Term: term.Number()})
	must(t, err)
	must(t, second.journal.produce(within(t), []outgoing{{LockKey("example.com", "*", "a"), value}}))
	must(t, second.CatchUp(within(t)))
	must(t, second.until(within(t), func() bool { return len(second.machine.spoiled) == 0 }))
	for _, s := range []*Store{second, open(t, options(b.Addr))} {
		if l, _ := s.Snapshot().Lock("example.com", "*", "a"); !l.Locked || l.Last.Action != "lock" {
			t.Errorf("a fenced record had effect: %+v", l)
		}
	}
	// A term may end at any time; there is a next one.
	for err := next.Append(within(t), by, lock("a", false)); err != nil; err = next.Append(within(t), by, lock("a", false)) {
		if !errors.Is(err, ErrFenced) {
			t.Fatal(err)
		}
		next, err = second.Leader(within(t))
		must(t, err)
	}
}

// An instance that is paused loses its term to another, and what it appends when it goes
// on has no effect.
func TestLeader_Paused(t *testing.T) {
	t.Parallel()
	b := broker(t)
	a, c := startInstance(t, b.Addr), startInstance(t, b.Addr)
	a.say("lead")
	a.hear("term 1")
	a.say("append first")
	a.hear("appended")
	must(t, a.cmd.Process.Signal(syscall.SIGSTOP))
	c.say("lead")
	c.hear("term 2")
	c.say("append second")
	c.hear("appended")
	a.say("append late")
	must(t, a.cmd.Process.Signal(syscall.SIGCONT))
	a.hear("fenced")

	s := open(t, options(b.Addr))
	if l, _ := s.Snapshot().Lock("example.com", "*", "x"); l.Last.Reason != "second" {
		t.Errorf("%+v", l)
	}
	// kill -9 of both: another one takes over.
	must(t, a.cmd.Process.Kill())
	must(t, c.cmd.Process.Kill())
	term, err := s.Leader(within(t))
	must(t, err)
	if term.Number() < 3 {
		t.Errorf("term %d", term.Number())
	}
}

// An instance is a process of its own: this test binary again.

const instanceEnv = "MILLRACE_STATE_TEST_BROKER"

type instance struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func startInstance(t *testing.T, address string) *instance {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	i := &instance{t: t, cmd: exec.Command(exe)}
	i.cmd.Env = append(os.Environ(), instanceEnv+"="+address)
	i.cmd.Stderr = os.Stderr
	in, err := i.cmd.StdinPipe()
	must(t, err)
	out, err := i.cmd.StdoutPipe()
	must(t, err)
	i.in, i.out = in, bufio.NewScanner(out)
	must(t, i.cmd.Start())
	t.Cleanup(func() { i.cmd.Process.Kill(); i.cmd.Wait() })
	i.hear("open")
	return i
}

func (i *instance) say(line string) { fmt.Fprintln(i.in, line) }

func (i *instance) hear(want string) {
	i.t.Helper()
	if !i.out.Scan() || i.out.Text() != want {
		i.t.Fatalf("it says %q, want %q", i.out.Text(), want)
	}
}

func instanceAsked() bool {
	address := os.Getenv(instanceEnv)
	if address == "" {
		return false
	}
	ctx := context.Background()
	s, err := Open(ctx, options(address))
	if err != nil {
		fmt.Println(err)
		return true
	}
	fmt.Println("open")
	var term *Term
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		verb, reason, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "lead":
			if term, err = s.Leader(ctx); err == nil {
				fmt.Println("term", term.Number())
			}
		case "append":
			c := lock("x", true)
			c.Reason = reason
			// Not Term.Append: that one would not even try.
			if err = s.append(ctx, By{Actor: "rule:x", How: Rule}, term.Number(), []Change{c}); err == nil {
				fmt.Println("appended")
			} else if errors.Is(err, ErrFenced) {
				fmt.Println("fenced")
				err = nil
			}
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	return true
}
