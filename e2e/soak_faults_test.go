package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokers is how many a soak's Kafka has.
const brokers = 3

// torn are the listeners whose connections end in mid frame.
var torn = []string{"torn-tcp", "torn-tls"}

// troubles are what happens to a running pipeline, one thing a second.
type troubles struct {
	t            *testing.T
	r            *rand.Rand
	cluster      *kfake.Cluster   // nil: Kafka has no trouble
	network      *troubledNetwork // the brokers' side of it
	clickhouse   int              // process
	ingest       *process
	addresses    map[string]string // of listeners
	certificates *soakCertificates
	stalled      []net.Conn

	moves      int            // of leaders
	whole, cut map[string]int // frames sent to the listeners whose connections end in mid frame
	owed       int            // messages sent to the one whose senders go away
	did        map[string]int // how often what happened
}

// run makes trouble until stop, each kind in turn: always in the same order, so
// that every third of a soak has seen the same.
func (x *troubles) run(stop <-chan struct{}) {
	x.did, x.whole, x.cut = map[string]int{}, map[string]int{}, map[string]int{}
	type kind struct {
		name string
		do   func()
	}
	kinds := []kind{
		{"connections end in mid frame", x.tear},
		{"garbage", x.spray},
		{"ClickHouse pauses", x.pause},
		{"SIGHUP", x.reload},
		{"clients stall", x.stall},
		{"slow senders", x.slowSenders},
		{"half-open handshakes", x.halfOpen},
		{"RELP senders go away", x.desert},
		{"certificates are renewed", x.renew},
		{"garbage in a Unix socket", x.scribble},
	}
	if x.cluster != nil {
		kinds = append(kinds,
			kind{"Kafka stalls", func() { x.network.stall(x.while(300, 900)) }},
			kind{"Kafka's connections are cut", x.network.cut},
			kind{"leaders and coordinators move", x.moveLeaders},
			kind{"appended and not replicated", x.afterAppend})
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer x.hangUp()
	for {
		for _, kind := range kinds {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			kind.do()
			x.did[kind.name]++
		}
	}
}

func (x *troubles) while(least, most int) time.Duration {
	return time.Duration(least+x.r.IntN(most-least)) * time.Millisecond
}

// tear sends some frames and a piece of one over each of some connections.
func (x *troubles) tear() {
	for _, listener := range torn {
		for range 5 {
			c, err := net.Dial("tcp", x.addresses[listener])
			if err == nil && listener == "torn-tls" {
				c = tls.Client(c, x.certificates.authority.Client())
			}
			if err != nil {
				x.t.Errorf("cannot connect any more: %v", err)
				return
			}
			n := x.r.IntN(5)
			text := ""
			for range n {
				text += "<22>" + m1(testID(x.whole[listener]), "whole") + "\x00"
				x.whole[listener]++
			}
			frame := "<22>" + m1(testID(x.whole[listener]), "cut")
			text += frame[:10+x.r.IntN(len(frame)-20)]
			x.cut[listener]++
			if _, err := io.WriteString(c, text); err != nil {
				x.t.Errorf("cannot write any more: %v", err)
			}
			if secured, ok := c.(*tls.Conn); ok {
				c = secured.NetConn() // without a word
			}
			c.Close()
		}
	}
}

func (x *troubles) spray() {
	for _, network := range []string{"tcp", "udp"} {
		for round := range 20 {
			c, err := net.Dial(network, x.addresses["garbage-"+network])
			if err != nil {
				x.t.Errorf("cannot connect any more: %v", err)
				return
			}
			for range 1 + x.r.IntN(8) {
				// The listener may close the connection on us: that is its right.
				if _, err := c.Write(damaged(x.r, round)); err != nil {
					break
				}
			}
			c.Close()
		}
	}
}

// moveLeaders moves every leader to the next broker: each keeps its share, or the
// number of connections would change with chance.
func (x *troubles) moveLeaders() {
	x.cluster.RehashCoordinators()
	x.moves++
	for _, topic := range []string{"millrace.message", "millrace.status", "millrace.reject"} {
		for _, p := range x.cluster.PartitionInfos(topic) {
			if err := x.cluster.MoveTopicPartition(topic, p.Partition, int32(x.moves+int(p.Partition))%brokers); err != nil {
				x.t.Error(err)
			}
		}
	}
}

// afterAppend: brokers answer some requests with an error after they have done
// what was asked.
func (x *troubles) afterAppend() {
	for _, err := range []*kerr.Error{kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.NotLeaderForPartition} {
		x.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: 2})
	}
}

// pause stops ClickHouse for less than a second.
func (x *troubles) pause() {
	if err := syscall.Kill(x.clickhouse, syscall.SIGSTOP); err != nil {
		x.t.Errorf("cannot stop ClickHouse: %v", err)
	}
	time.Sleep(x.while(200, 700))
	if err := syscall.Kill(x.clickhouse, syscall.SIGCONT); err != nil {
		x.t.Errorf("cannot continue ClickHouse: %v", err)
	}
}

// reload makes the daemon read its configuration, which is what it was.
func (x *troubles) reload() {
	if err := x.ingest.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		x.t.Errorf("cannot signal: %v", err)
	}
}

// stall leaves clients that ask and do not read what comes, and some that do not
// even ask to the end, in place of those of the last time.
func (x *troubles) stall() {
	x.hangUp()
	for _, request := range []string{"GET /tap HTTP/1.1\r\nHost: soak\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: soak\r\n\r\n", "GET /status HTTP/1.1\r\nHost:"} {
		c, err := net.Dial("tcp", x.ingest.addr["http"])
		if err != nil {
			x.t.Errorf("cannot connect any more: %v", err)
			return
		}
		_, _ = io.WriteString(c, request)
		x.stalled = append(x.stalled, c)
	}
}

// slowSenders begin a frame and leave it at that until the next time.
func (x *troubles) slowSenders() {
	for range 4 {
		c, err := net.Dial("tcp", x.addresses["garbage-tcp"])
		if err != nil {
			x.t.Errorf("cannot connect any more: %v", err)
			return
		}
		_, _ = io.WriteString(c, "<22>")
		x.stalled = append(x.stalled, c)
	}
}

func (x *troubles) hangUp() {
	for _, c := range x.stalled {
		c.Close()
	}
	x.stalled = nil
}

// processIn is the child of this process that has files in dir open.
func processIn(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	parent := fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		status, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err != nil || !strings.Contains(string(status), parent) {
			continue
		}
		files, _ := filepath.Glob(filepath.Join("/proc", e.Name(), "fd", "*"))
		for _, f := range files {
			if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, dir+"/") {
				return pid
			}
		}
	}
	t.Fatalf("no child has files in %s open", dir)
	return 0
}
