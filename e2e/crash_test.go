package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/crashpoint"
	"millrace/internal/embedded"
)

// crashing is the program built with crash points, once.
var crashing = sync.OnceValues(func() (string, error) {
	file := filepath.Join(filepath.Dir(binary), "millrace-crashpoints")
	build := exec.Command("go", append(buildArgs, "-tags", "crashpoints", "-o", file, "millrace")...)
	build.Env = append(os.Environ(), buildEnv)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the program with crash points: %w\n%s", err, out)
	}
	return file, nil
})

// quickMembers are the shortest times that a group may have. What a new owner must wait
// for, after which no INSERT of the last one can be under way, is then as short.
const (
	quickMembers   = "session_timeout: 6s, rebalance_timeout: 5s, heartbeat_interval: 100ms, "
	reconcileAfter = 5 * time.Second
)

// startMember starts a transformer of the program with crash points.
func startMember(t *testing.T, program, config string, environment ...string) *process {
	t.Helper()
	cmd := exec.Command(program, "transform", "--config", config)
	cmd.Env = append(os.Environ(), append(environment, "MILLRACE_RECONCILE_AFTER="+reconcileAfter.String())...)
	return startCommand(t, cmd)
}

// course is points that are armed one after the other, over one Kafka and one ClickHouse:
// what the death at one leaves behind is what the next one finds.
type course struct {
	name   string
	points []string
	before func(*crashes) // the first is armed
}

var courses = []course{
	{"a block, a stop", []string{"looked", "recovered", "settled", "sealed", "confirmed", "failed", "draining", "drained", "ending"}, nil},
	{"another's range", []string{"announced", "found", "reread", "reannounced", "insert", "attempt", "halfsent", "half", "redone", "inserted"}, nil},
	{"rows of which no intent tells", []string{"reconciling", "reconciled", "between"}, (*crashes).forget},
}

// times is at which time of coming by a point one dies: by default the first. Later ones
// are in mid traffic.
var times = map[string]int{"recovered": 4, "settled": 7, "sealed": 5, "confirmed": 9, "announced": 5, "attempt": 2, "inserted": 3}

// TestCrashPoints kills transformers at each step of the protocol, by their own hand: two
// members share the traffic, whoever comes to the armed point first dies there and is
// started again. In the end each event is in ClickHouse once.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	armed, err := crashing()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{binary: false, armed: true} {
		program, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(program, []byte("MILLRACE_CRASHPOINTS")); got != want {
			t.Errorf("%s has crash points: %t", filepath.Base(file), got)
		}
	}
	var all []string
	for _, c := range courses {
		all = append(all, c.points...)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			newCrashes(t, armed).run(c)
		})
	}
	slices.Sort(all)
	if points := slices.Sorted(slices.Values(crashpoint.Points)); !slices.Equal(all, points) {
		t.Errorf("the courses have the points %q, the program has %q", all, points)
	}
}

// crashes is a site whose transformers have crash points.
type crashes struct {
	*site
	armed   string // the program
	dir     string // where points are armed
	kafka   *kgo.Client
	group   string
	members []*process
	started int
	senders []*sender
	bad     int // records that are no events
}

func newCrashes(t *testing.T, armed string) *crashes {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	// The partitions take turns, and small blocks keep all steps busy.
	s := siteOptions{
		kafka:      quickMembers + "sticky_bytes: 16KiB, brokers: [" + broker.Addr + "]",
		clickHouse: "insert_timeout: 1s", sections: "transform: {block_rows: 400, block_age: 200ms}\n",
	}.start(t)
	return &crashes{site: s, armed: armed, dir: t.TempDir(), kafka: client, group: "millrace"}
}

// transformer starts a member, which the group knows by a name of its own.
func (c *crashes) transformer() *process {
	c.t.Helper()
	c.started++
	name := fmt.Sprintf("member-%d", c.started)
	config := write(c.t, filepath.Join(c.t.TempDir(), name+".yaml"), c.textWith(fmt.Sprintf("client_id: %s, group: %s", name, c.group)))
	return startMember(c.t, c.armed, config, "MILLRACE_CRASHPOINTS="+c.dir)
}

// evict takes a member out of the group, as an operator's tool does: nobody need wait for
// its session to end.
func (c *crashes) evict(p *process) {
	c.t.Helper()
	ask := kmsg.NewPtrDescribeGroupsRequest()
	ask.Groups = []string{c.group}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	described, err := ask.RequestWith(ctx, c.kafka)
	if err != nil {
		c.t.Fatal(err)
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = c.group
	for _, m := range described.Groups[0].Members {
		if filepath.Base(p.cmd.Args[len(p.cmd.Args)-1]) == m.ClientID+".yaml" {
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID = m.MemberID
			leave.Members = append(leave.Members, member)
		}
	}
	if len(leave.Members) == 0 {
		return // it died before it had joined, or rejoins just now
	}
	if _, err := leave.RequestWith(ctx, c.kafka); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crashes) arm(point string) {
	c.t.Helper()
	// It is there with its text, or not at all.
	file := filepath.Join(c.t.TempDir(), point)
	write(c.t, file, strconv.Itoa(max(times[point], 1)))
	if err := os.Rename(file, filepath.Join(c.dir, point)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crashes) send() {
	c.senders = append(c.senders, startPaced(c.t, c.addr["syslog_tcp"], 1_000_000*(1+len(c.senders)), 80*time.Millisecond))
}

// spoil produces a record that is no event: its block has a row of rejects.
func (c *crashes) spoil() {
	c.t.Helper()
	c.bad++
	r := &kgo.Record{Topic: topics[c.bad%2], Value: []byte{0xff}}
	if err := c.kafka.ProduceSync(c.t.Context(), r).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// run arms each point and waits for a death at it; the next one is armed before anybody
// can take over from the dead.
func (c *crashes) run(course course) {
	c.send()
	if course.before != nil {
		course.before(c)
	}
	c.arm(course.points[0])
	c.members = []*process{c.transformer(), c.transformer()}
	for i, point := range course.points {
		at := time.Now()
		dead := c.dies(point)
		c.t.Logf("%s: died after %v", point, time.Since(at).Round(10*time.Millisecond))
		if i+1 < len(course.points) {
			c.arm(course.points[i+1])
		}
		c.evict(c.members[dead])
		c.members[dead] = c.transformer()
	}
	for _, p := range c.members {
		p.waitReady()
	}
	c.grown(500)
	sent := 0
	for _, s := range c.senders {
		sent += s.end()
	}
	c.once(sent, c.bad)
	for _, p := range c.members {
		if code := p.signal(syscall.SIGTERM); code != 0 {
			c.t.Errorf("%s: exit code %d after SIGTERM", p.cmd.Args[1], code)
		}
	}
}

// dies waits until a member has died at the point, and provokes that where it takes more
// than traffic.
func (c *crashes) dies(point string) (member int) {
	c.t.Helper()
	c.spoil()
	file := filepath.Join(c.dir, point)
	provoked := time.Now()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for i, p := range c.members {
			select {
			case <-p.exited:
			default:
				continue
			}
			status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
			if _, err := os.Stat(file); err != nil {
				if status.Signal() != syscall.SIGKILL {
					c.t.Fatalf("a member ended otherwise than at %q: %v", point, p.cmd.ProcessState)
				}
				c.provoked(point)
				return i
			}
			// A stop may be too early: before the member has what it would drain, or knows the signal.
			if early := status.Signaled() && status.Signal() == syscall.SIGTERM; !early && status.ExitStatus() != 0 {
				c.t.Fatalf("a member ended before %q: %v", point, p.cmd.ProcessState)
			}
			c.members[i] = c.transformer()
		}
		if time.Since(provoked) > time.Second {
			c.provoke(point)
			c.spoil()
			provoked = time.Now()
		}
	}
	c.t.Fatalf("%q is not reached within %v", point, patience)
	return -1
}

func (c *crashes) provoke(point string) {
	switch point {
	case "failed":
		c.exec("RENAME TABLE IF EXISTS message_events TO away")
	case "draining", "drained":
		_ = c.members[0].cmd.Process.Signal(syscall.SIGTERM)
	case "ending":
		c.evict(c.members[c.started%2])
	}
}

// provoked ends what provoke began.
func (c *crashes) provoked(point string) {
	if point == "failed" {
		c.exec("RENAME TABLE away TO message_events")
	}
}

// forget leaves ClickHouse without a third of its rows, and Kafka without a commit that
// tells of the others: another group's members come.
func (c *crashes) forget() {
	c.members = []*process{c.transformer(), c.transformer()}
	for _, p := range c.members {
		p.waitReady()
	}
	c.grown(3000)
	for _, p := range c.members {
		if code := p.signal(syscall.SIGTERM); code != 0 {
			c.t.Errorf("exit code %d after SIGTERM", code)
		}
	}
	for _, table := range []string{"message_events", "status_events"} {
		c.exec("ALTER TABLE " + table + " DELETE WHERE k_off % 3 = 1 SETTINGS mutations_sync = 2")
	}
	c.group = "another"
	c.auditAs = write(c.t, filepath.Join(c.t.TempDir(), "audit.yaml"), c.textWith("group: another"))
}

// textWith is the configuration with more to say of Kafka.
func (c *crashes) textWith(keys string) string {
	c.t.Helper()
	text, err := os.ReadFile(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.Replace(string(text), "kafka: {", "kafka: {"+keys+", ", 1)
}
