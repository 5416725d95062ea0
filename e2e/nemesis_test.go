package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/embedded"
)

// pair is a site with two members under load.
type pair struct {
	*site
	members []*process
	sender  *sender
}

func (s *site) underLoad(members ...*process) *pair {
	s.t.Helper()
	p := &pair{site: s, members: members}
	p.sharing()
	p.sender = startPaced(s.t, s.addr["syslog_tcp"], 1_000_000, 50*time.Millisecond)
	s.grown(1000)
	return p
}

// sharing waits until each member has partitions.
func (p *pair) sharing() {
	p.t.Helper()
	until(p.t, "each has partitions", func() bool {
		all, each := 0, true
		for _, m := range p.members {
			all, each = all+m.share(), each && m.share() > 0
		}
		return each && all == partitions
	}, func() string { return fmt.Sprint(p.members[0].share(), " ", p.members[1].share()) })
}

// end is the check, and an orderly stop.
func (p *pair) end() {
	p.t.Helper()
	p.once(p.sender.end(), 0)
	for _, m := range append(p.members, p.process) {
		if code := m.signal(syscall.SIGTERM); code != 0 {
			p.t.Errorf("%s: exit code %d after SIGTERM", m.cmd.Args[1], code)
		}
	}
}

func startKafka(t *testing.T) string {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	return "brokers: [" + broker.Addr + "]"
}

// TestFault_MemberFrozen stops a member in mid traffic, SIGSTOP, for longer than its
// session lasts and a new owner waits, and lets it go on: a zombie, whose blocks another
// has taken over. With MILLRACE_FAULT_MINUTES it also does so for a minute with the times
// that members have by default.
func TestFault_MemberFrozen(t *testing.T) {
	t.Parallel()
	f := func(name, times string, frozen time.Duration, member func(*site) *process) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := siteOptions{kafka: times + "sticky_bytes: 16KiB, " + startKafka(t), sections: "transform: {block_rows: 400, block_age: 200ms}\n",
				clickHouse: "insert_timeout: 1s"}.start(t)
			p := s.underLoad(member(s), member(s))
			at := time.Now()
			if err := p.members[0].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			other := p.members[1]
			until(t, "the other has all partitions", func() bool { return other.share() == partitions }, func() string { return fmt.Sprint(other.share()) })
			s.grown(500)
			time.Sleep(time.Until(at.Add(frozen))) // how long it is frozen is the case
			if err := p.members[0].cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			p.sharing()
			s.grown(500)
			p.end()
		})
	}
	f("short times", quickMembers, 6*time.Second+reconcileAfter, func(s *site) *process {
		armed, err := crashing()
		if err != nil {
			s.t.Fatal(err)
		}
		p := startMember(s.t, armed, s.config)
		p.waitReady()
		return p
	})
	if minutes(t, "MILLRACE_FAULT_MINUTES", 0) > 0 {
		f("a minute", "", time.Minute, (*site).transformer)
	}
}

// TestFault_ClickHouseDiskFull fills the disk under ClickHouse to the last byte: it refuses
// each block, the members say so and try again, and with room again all is there once.
func TestFault_ClickHouseDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 256<<20)
	s := siteOptions{kafka: memberTimes + startKafka(t), clickHouse: "insert_timeout: 5s", data: filepath.Join(disk, "clickhouse")}.start(t)
	p := s.underLoad(s.transformer(), s.transformer())
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	block := make([]byte, 1<<20)
	full := func() bool { // merges may free some of it again
		for size := len(block); size > 0; {
			if _, err := ballast.Write(block[:size]); err != nil {
				size /= 2
			}
		}
		for _, m := range p.members {
			if m.metric("millrace_partitions_blocked") > 0 {
				return true
			}
		}
		return false
	}
	said := func() string { return p.members[0].text() + p.members[1].text() }
	until(t, "a partition waits", full, said)
	if !strings.Contains(said(), "not enough space") {
		t.Errorf("the log does not say that the disk is full:\n%s", said())
	}
	before := s.published()
	until(t, "Kafka still takes records", func() bool { return s.published() > before+1000 }, func() string { return fmt.Sprint(s.published()) })
	for _, m := range p.members {
		if body, code := m.get("/healthz"); code != 200 {
			t.Errorf("/healthz answers %d while the disk is full: %s", code, body)
		}
	}
	if err := ballast.Truncate(0); err != nil {
		t.Fatal(err)
	}
	s.grown(1000)
	until(t, "no partition waits", func() bool {
		return p.members[0].metric("millrace_partitions_blocked")+p.members[1].metric("millrace_partitions_blocked") == 0
	}, said)
	p.end()
}

// front listens in the place of address and gives each connection to serve, which has to
// carry it there.
func front(t *testing.T, listener net.Listener, serve func(net.Conn)) string {
	t.Helper()
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return listener.Addr().String()
}
