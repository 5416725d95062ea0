package state

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"millrace/internal/embedded"
)

const brokerEnv = "MILLRACE_STATE_TEST_BROKER_DIR"

// brokerAsked runs a broker until it is killed, if that is what this process is for.
func brokerAsked() bool {
	dir := os.Getenv(brokerEnv)
	if dir == "" {
		return false
	}
	b, err := embedded.StartBroker(embedded.BrokerOptions{DataDir: dir})
	if err != nil {
		fmt.Println(err)
		return true
	}
	fmt.Println(b.Addr)
	select {}
}

// The broker is killed while changes are on their way, and comes back. What was
// acknowledged is there, once, and who was cut off goes on by itself.
func TestStore_OverKill9OfTheBroker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), brokerEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the broker says nothing")
	}
	address := lines.Text()

	s := open(t, options(address))
	const changes, killAt = 60, 30
	killed := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for i := range changes {
			c := Change{Key: SentKey("daily", "example.com", AllUsers, fmt.Sprint(i)), Action: "claim", Value: Sent{Attempts: i}, If: Absent()}
			err := s.Append(within(t), root, c)
			if err != nil {
				done <- fmt.Errorf("change %d: %w", i, err)
				return
			}
			if i == killAt {
				close(killed)
			}
		}
		done <- nil
	}()
	select {
	case <-killed:
	case err := <-done:
		t.Fatal(err)
	}
	must(t, cmd.Process.Kill())
	_, _ = cmd.Process.Wait()
	b, err := embedded.StartBroker(embedded.BrokerOptions{DataDir: dir, Address: address})
	must(t, err)
	t.Cleanup(b.Close)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, store := range []*Store{s, open(t, options(address))} {
		snap := store.Snapshot()
		for i := range changes {
			if got, ok := snap.Sent("daily", "example.com", AllUsers, fmt.Sprint(i)); !ok || got.Attempts != i {
				t.Errorf("change %d: %v %+v", i, ok, got)
			}
		}
	}
	if err := s.Append(within(t), root, Change{Key: SentKey("daily", "example.com", AllUsers, "0"), Action: "claim", Value: Sent{}, If: Absent()}); !errors.Is(err, ErrConflict) {
		t.Errorf("claimed twice: %v", err)
	}
}
