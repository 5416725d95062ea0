package guard

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded"
	"millrace/query"
	"millrace/query/state"
	"millrace/query/state/statetest"
)

// An instance is a process of its own: this test binary again.
const instanceEnv = "MILLRACE_GUARD_TEST_INSTANCE"

type instanceOptions struct {
	Broker                            string
	Address, Database, User, Password string
	Now                               time.Time
	Rules                             string
}

func init() {
	if text := os.Getenv(instanceEnv); text != "" {
		if err := runInstance(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// runInstance guards until its standard input ends, and says when it acts.
func runInstance(text string) error {
	var o instanceOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	store, err := state.Open(ctx, statetest.Options(o.Broker))
	if err != nil {
		return err
	}
	defer store.Close()
	go func() {
		if _, err := store.Leader(ctx); err == nil {
			fmt.Println("acts")
		}
	}()
	g, err := New(Options{Store: store, Query: query.Options{Addresses: []string{o.Address}, Database: o.Database, User: o.User, Password: o.Password}, Rules: rules(new(testing.T), o.Rules), Now: func() time.Time { return o.Now }, Interval: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// Two instances, of which the one that acts is killed in the midst of it: what crosses
// fires once.
func TestInstances_OneIsKilled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b, err := embedded.StartBroker(embedded.BrokerOptions{})
	must(t, err)
	t.Cleanup(b.Close)
	f.store = statetest.OpenAt(t, b.Addr)
	f.user("example.com", "*", state.BySender, true)
	text, err := json.Marshal(instanceOptions{Broker: b.Addr, Address: f.reader.Addresses[0], Database: f.database, User: f.reader.User, Password: f.reader.Password, Now: f.clock.now(), Rules: burst + "}"})
	must(t, err)
	start := func() (*exec.Cmd, chan string) {
		exe, err := os.Executable()
		must(t, err)
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), instanceEnv+"="+string(text))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := make(chan string, 10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer close(said)
			for s := bufio.NewScanner(out); s.Scan(); {
				said <- s.Text()
			}
		}()
		t.Cleanup(func() { in.Close(); <-done; _ = cmd.Wait() })
		return cmd, said
	}
	first, acts := start()
	if line := <-acts; line != "acts" {
		t.Fatal(line)
	}
	second, takesOver := start()
	_ = second
	many := func(from, to int) {
		for i := from; i < to; i++ {
			f.mail(mail{n: 5, user: "a", sender: fmt.Sprintf("s%03d@example.com", i)})
		}
	}
	locked := func() int { return strings.Count(f.held(), "rule:burst") }
	await := func(n int) {
		t.Helper()
		ctx := within(t)
		for seen := state.Version(-1); locked() < n; {
			s, err := f.store.Wait(ctx, seen)
			if err != nil {
				t.Fatalf("%d locks, want %d: %v", locked(), n, err)
			}
			seen = s.Version()
		}
	}
	many(0, 40)
	await(10)
	must(t, first.Process.Kill())
	if line := <-takesOver; line != "acts" {
		t.Fatal(line)
	}
	many(40, 50)
	await(50)
	if n := f.changes(); n != 50 {
		t.Errorf("%d changes of 50 identities", n)
	}
}
