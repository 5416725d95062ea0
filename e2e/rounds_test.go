package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFault breaks the stack in mid traffic, in one way after the other and, when
// MILLRACE_FAULT_MINUTES is set, in random order for so long. After each round
// all that Kafka acknowledged is in ClickHouse, and no place is missing or there
// twice.
func TestFault(t *testing.T) {
	t.Parallel()
	lasts := minutes(t, "MILLRACE_FAULT_MINUTES", 0)
	begin := time.Now()
	seed := uint64(begin.UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := &chaos{t: t, data: t.TempDir(), r: r}
	rounds := []struct {
		name string
		f    func()
	}{
		{"ClickHouse killed", c.killClickHouse},
		{"ClickHouse frozen", c.freezeClickHouse},
		{"stack killed", c.killStack},
		{"stack stopped", c.stopStack},
		{"stack killed while ClickHouse is frozen", c.killFrozen},
	}
	for n := 0; n < len(rounds) || time.Since(begin) < lasts; n++ {
		i := n
		if n >= len(rounds) {
			i = r.IntN(len(rounds))
		}
		if n == 0 || c.p == nil {
			c.p = up(t, c.data)
		}
		at := time.Now()
		c.send()
		c.p.grown(500 + r.IntN(3000))
		rounds[i].f()
		c.check()
		t.Logf("round %d: %s: %v, %d rows", n, rounds[i].name, time.Since(at).Round(time.Millisecond), c.p.rows())
		if t.Failed() {
			return
		}
	}
	if code := c.p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// TestFault_StopFrozen stops the stack while ClickHouse does not answer: it ends
// soon after the drain timeout, says what was cut short, and the next start
// inserts the rest.
func TestFault_StopFrozen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "stop.yaml")
	if err := os.WriteFile(config, []byte("stop: {drain_timeout: 3s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	p := up(t, data, "--config", config)
	s := startPaced(t, p.addr["syslog_tcp"], 1, 5*time.Millisecond)
	p.grown(1000)
	pid := p.child()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := p.published()
	until(t, "Kafka still takes records", func() bool { return p.published() > before+1000 }, func() string { return fmt.Sprint(p.published()) })
	at := time.Now()
	code := p.signal(syscall.SIGTERM)
	if took := time.Since(at); took > 30*time.Second {
		t.Errorf("the stop took %v", took)
	}
	// Nothing is lost: what is not in ClickHouse is in the broker's log.
	if code != 0 || !strings.Contains(p.text(), "the drain timeout is over") {
		t.Errorf("exit code %d", code)
	}
	sent := s.end()
	published := loggedNumber(t, p.text(), "published")
	if dropped := loggedNumber(t, p.text(), "dropped"); dropped != 0 || published == 0 || published > sent {
		t.Errorf("%d frames were sent, %d published, %d dropped", sent, published, dropped)
	}
	p = up(t, data)
	p.caughtUp()
	if rows := p.checkPlaces(); rows < published {
		t.Errorf("%d frames were published and %d rows are in ClickHouse", published, rows)
	}
}

// TestFault_StopAtOnce: a second signal does not wait for a ClickHouse that does
// not answer, nor for anything else.
func TestFault_StopAtOnce(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := up(t, data)
	s := startPaced(t, p.addr["syslog_tcp"], 1, 5*time.Millisecond)
	p.grown(1000)
	pid := p.child()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	until(t, "/readyz tells of the stop", func() bool { body, code := p.get("/readyz"); return code == 503 && strings.Contains(body, "drain") },
		func() string { body, _ := p.get("/readyz"); return body })
	at := time.Now()
	if code := p.signal(syscall.SIGINT); code == -1 {
		t.Error("it was killed by the signal")
	}
	if took := time.Since(at); took > 12*time.Second {
		t.Errorf("to stop at once took %v", took)
	}
	s.end()
	if !strings.Contains(p.text(), "stopping at once") {
		t.Error("the log does not say that the stop was cut short")
	}
	published := loggedNumber(t, p.text(), "published")
	p = up(t, data)
	p.caughtUp()
	if rows := p.checkPlaces(); rows < published {
		t.Errorf("%d frames were published and %d rows are in ClickHouse", published, rows)
	}
}

// chaos is a stack that is broken again and again.
type chaos struct {
	t     *testing.T
	data  string
	r     *rand.Rand
	p     *process
	s     *sender
	next  int
	acked int // by Kafka, of all processes so far but this one
}

func (c *chaos) send() {
	c.next += 1_000_000
	// Fast, and slow enough that an hour of it is still counted in seconds.
	c.s = startPaced(c.t, c.p.addr["syslog_tcp"], c.next, 5*time.Millisecond)
}

// restart starts the stack after its end.
func (c *chaos) restart(acked int) {
	c.t.Helper()
	c.s.end()
	c.acked += acked
	c.p = up(c.t, c.data)
}

// check: what was acknowledged is there, once.
func (c *chaos) check() {
	c.t.Helper()
	c.s.end()
	c.p.caughtUp()
	acked := c.acked + c.p.published()
	if rows := c.p.checkPlaces(); rows < acked {
		c.t.Errorf("Kafka acknowledged %d frames and %d rows are in ClickHouse", acked, rows)
	}
}

func (c *chaos) killStack() {
	acked := c.p.published()
	c.p.signal(syscall.SIGKILL)
	c.restart(acked)
}

func (c *chaos) stopStack() {
	acked := c.p.published()
	if code := c.p.signal(syscall.SIGTERM); code != 0 {
		c.t.Errorf("exit code %d after SIGTERM", code)
	}
	if dropped := loggedNumber(c.t, c.p.text(), "dropped"); dropped != 0 {
		c.t.Errorf("%d frames were dropped at the stop", dropped)
	}
	c.restart(max(acked, loggedNumber(c.t, c.p.text(), "published")))
}

func (c *chaos) killClickHouse() {
	pid := c.p.child()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	until(c.t, "ClickHouse is started again", func() bool { return c.p.child() != pid && c.p.child() != 0 }, func() string { return c.p.text() })
	c.p.grown(500)
	if !strings.Contains(c.p.text(), "ClickHouse ended by itself") {
		c.t.Error("the log says nothing of the end of ClickHouse")
	}
}

func (c *chaos) freezeClickHouse() {
	pid := c.p.child()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	// Frozen, it keeps its connections: nothing but time tells.
	time.Sleep(time.Second + time.Duration(c.r.IntN(3000))*time.Millisecond)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		c.t.Fatal(err)
	}
	c.p.grown(500)
	if c.p.child() != pid {
		c.t.Error("ClickHouse was started again for having been slow")
	}
}

func (c *chaos) killFrozen() {
	pid := c.p.child()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	before := c.p.published()
	until(c.t, "Kafka still takes records", func() bool { return c.p.published() > before+1000 }, func() string { return fmt.Sprint(c.p.published()) })
	c.killStack()
	if err := syscall.Kill(pid, 0); err == nil && c.p.child() == pid {
		c.t.Errorf("the frozen ClickHouse %d outlived its parent", pid)
	}
}

// child is the process id of the ClickHouse of the stack, or 0.
func (p *process) child() int {
	p.t.Helper()
	parent := strconv.Itoa(p.cmd.Process.Pid)
	threads, err := os.ReadDir("/proc/" + parent + "/task")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, thread := range threads {
		children, err := os.ReadFile("/proc/" + parent + "/task/" + thread.Name() + "/children")
		if err != nil {
			continue // the thread has ended
		}
		for _, text := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(text); err == nil {
				return pid
			}
		}
	}
	return 0
}
