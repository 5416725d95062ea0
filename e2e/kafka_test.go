//go:build kafka

package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/certtest"
	"millrace/internal/kafkatest"
)

// The tests of this file run the daemons over Apache Kafka itself. None is
// parallel: its brokers fill the machine.

// seeds are the brokers, as the configuration has them.
func seeds(c *kafkatest.Cluster) string { return "brokers: [" + strings.Join(c.Brokers(), ", ") + "]" }

// TestKafka_Daemons is TestDaemons over one broker with Kafka's own settings.
func TestKafka_Daemons(t *testing.T) {
	membersComeAndGo(t, startSite(t, seeds(kafkatest.Start(t, kafkatest.Options{}))))
}

// TestKafka_Secure: TLS with certificates of both sides, SCRAM, and for each of
// the daemons the permissions that docs/operations.md names and no more.
func TestKafka_Secure(t *testing.T) {
	const password = "s3cret-of-a-test" // StorageTool takes no comma
	authority := certtest.New(t)
	c := kafkatest.Start(t, kafkatest.Options{Authority: authority, Users: map[string]string{"ingester": password, "transformer": password}})
	c.Allow("ingester", kmsg.ACLResourceTypeTopic, "millrace.", kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationCreate)
	c.Allow("ingester", kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationIdempotentWrite)
	c.Allow("transformer", kmsg.ACLResourceTypeTopic, "millrace.", kmsg.ACLOperationRead, kmsg.ACLOperationDescribe)
	c.Allow("transformer", kmsg.ACLResourceTypeGroup, "millrace", kmsg.ACLOperationRead)

	pair := authority.Issue(t, certtest.Subject{CommonName: "millrace"})
	as := func(mechanism, user, password string) string {
		return fmt.Sprintf("%s, tls: {enabled: true, ca: %s, cert: %s, key: %s}, sasl: {mechanism: %s, username: %s, password: '%s'}",
			seeds(c), authority.File, pair.Cert, pair.Key, mechanism, user, password)
	}
	ingest := startSite(t, as("scram-sha-512", "ingester", password))
	sent := 0
	for i, mechanism := range []string{"scram-sha-512", "scram-sha-256", "plain"} {
		ingest.config = ingest.configured(t, as(mechanism, "transformer", password))
		p := ingest.transformer()
		s := startPaced(t, ingest.addr["syslog_tcp"], 1_000_000*(i+1), 20*time.Millisecond)
		ingest.grown(500)
		sent += s.end()
		ingest.arrived(sent)
		if code := p.signal(syscall.SIGTERM); code != 0 {
			t.Errorf("%s: exit code %d after SIGTERM", mechanism, code)
		}
	}
	ingest.auditAs = ingest.config
	ingest.checkPlaces()

	ingest.config = ingest.configured(t, as("scram-sha-512", "transformer", "another"))
	wrong := start(t, "transform", "--config", ingest.config)
	until(t, "the log tells of the password", func() bool { return strings.Contains(wrong.text(), "uthentication failed") }, wrong.text)
}

// TestKafka_Faults kills, stops and freezes brokers and members in mid traffic,
// with three brokers, a copy of each partition on every one, and two members: in
// the end everything that was sent is there, and once. With MILLRACE_KAFKA_MINUTES
// every fault comes, and then they come in random order for so long.
func TestKafka_Faults(t *testing.T) {
	lasts := minutes(t, "MILLRACE_KAFKA_MINUTES", 0)
	begin := time.Now()
	seed := uint64(begin.UnixNano())
	t.Logf("seed %d", seed)
	f := &kafkaFaults{t: t, r: rand.New(rand.NewPCG(seed, 0)), kafka: kafkatest.Start(t, kafkatest.Options{Nodes: 3})}
	f.site = startSite(t, seeds(f.kafka)+", replication: 3, request_timeout: 5s")
	f.members = []*process{f.site.transformer(), f.site.transformer()}
	rounds := []struct {
		name string
		long bool // not in the short run
		do   func()
	}{
		{"a broker and a member killed", false, f.killBoth},
		{"brokers stopped in turn", true, f.rollBrokers},
		{"a broker stopped", true, f.stopBroker},
		{"leaders moved", false, f.moveLeaders},
		{"brokers killed in turn", true, f.killBrokers},
		{"a broker frozen", true, f.freezeBroker},
		{"a member frozen until another has its share", true, f.freezeMember},
		{"all members killed", true, f.killMembers},
		{"the ingester killed", true, f.killIngester},
		{"all brokers killed", true, f.killAllBrokers},
	}
	for n := 0; n < len(rounds) || time.Since(begin) < lasts; n++ {
		i := n
		if n >= len(rounds) {
			i = f.r.IntN(len(rounds))
		}
		if rounds[i].long && lasts == 0 {
			continue
		}
		at := time.Now()
		f.next += 1_000_000
		f.sender = startPaced(t, f.site.addr["syslog_tcp"], f.next, kafkaPause)
		f.site.grown(1000)
		rounds[i].do()
		f.check()
		t.Logf("round %d: %s: %v, %d rows, missing 0, doubled 0", n, rounds[i].name, time.Since(at).Round(100*time.Millisecond), f.sent)
		if t.Failed() {
			return
		}
	}
	for _, p := range append(f.members, f.site.process) {
		if code := p.signal(syscall.SIGTERM); code != 0 {
			t.Errorf("%s: exit code %d after SIGTERM", p.cmd.Args[1], code)
		}
	}
}

// kafkaPause makes about 1000 events a second: three brokers, their faults and the
// rest have two cores.
const kafkaPause = 100 * time.Millisecond

// kafkaFaults is a site that is broken again and again.
type kafkaFaults struct {
	t       *testing.T
	r       *rand.Rand
	kafka   *kafkatest.Cluster
	site    *site
	members []*process
	sender  *sender
	next    int // number of the next round's first event
	earlier int // published by ingesters that were killed
	sent    int
}

// check: all that was sent is in ClickHouse, by the events' own ids and by their
// places in Kafka.
func (f *kafkaFaults) check() {
	f.t.Helper()
	f.sent += f.sender.end()
	until(f.t, "all is published", func() bool {
		return f.earlier+f.site.published() >= f.sent && f.site.metric("millrace_frames_in_flight") == 0
	},
		func() string { return fmt.Sprintf("%d and %d of %d", f.earlier, f.site.published(), f.sent) })
	f.site.eventually(fmt.Sprint(f.sent), "SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events)")
	if rows := f.site.checkPlaces(); rows != f.sent {
		f.t.Errorf("%d events were sent and %d rows are in ClickHouse", f.sent, rows)
	}
	for _, table := range []string{"message_events", "status_events"} {
		if n := f.site.count("SELECT count() - uniqExact(id) FROM " + table); n != 0 {
			f.t.Errorf("%d events of %s are there twice", n, table)
		}
	}
	if n := f.site.metric("millrace_publish_possible_duplicates_total"); n != 0 {
		f.t.Errorf("%v possible duplicates, and no broker forgot the producer", n)
	}
}

func (f *kafkaFaults) broker() int { return 1 + f.r.IntN(3) }

func (f *kafkaFaults) killBoth() {
	id, m := f.broker(), f.r.IntN(2)
	f.kafka.Kill(id)
	f.members[m].signal(syscall.SIGKILL)
	f.site.grown(1000) // the others do the work
	f.members[m] = f.site.transformer()
	f.kafka.Run(id)
	f.site.grown(1000)
}

func (f *kafkaFaults) stopBroker() {
	id := f.broker()
	f.kafka.Stop(id)
	f.site.grown(1000)
	f.kafka.Run(id)
}

// rollBrokers is how a cluster is upgraded.
func (f *kafkaFaults) rollBrokers() {
	for id := 1; id <= 3; id++ {
		f.kafka.Stop(id)
		f.kafka.Run(id)
	}
	f.site.grown(1000)
}

func (f *kafkaFaults) killBrokers() {
	for id := 1; id <= 3; id++ {
		f.kafka.Kill(id)
		f.site.grown(1000)
		f.kafka.Run(id)
	}
}

// killAllBrokers leaves no Kafka for a while: nothing is acknowledged then.
func (f *kafkaFaults) killAllBrokers() {
	for id := 1; id <= 3; id++ {
		f.kafka.Kill(id)
	}
	f.kafka.RunAll()
	f.site.grown(1000)
}

// moveLeaders gives every partition, those of the group's offsets included, to
// the next of its replicas.
func (f *kafkaFaults) moveLeaders() {
	for range 3 {
		f.kafka.MoveLeaders()
		f.site.grown(500)
	}
}

func (f *kafkaFaults) freezeBroker() {
	id := f.broker()
	f.kafka.Freeze(id)
	f.site.grown(1000)
	f.kafka.Thaw(id)
	f.kafka.AwaitSync()
}

// freezeMember makes a zombie: it comes back with blocks that another has taken over.
func (f *kafkaFaults) freezeMember() {
	p := f.members[f.r.IntN(2)]
	other := f.members[0]
	if other == p {
		other = f.members[1]
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		f.t.Fatal(err)
	}
	until(f.t, "the other has all partitions", func() bool { return other.share() == partitions }, func() string { return fmt.Sprint(other.share()) })
	f.site.grown(1000)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		f.t.Fatal(err)
	}
	until(f.t, "both have partitions", func() bool { a, b := p.share(), other.share(); return a+b == partitions && a > 0 && b > 0 },
		func() string { return fmt.Sprint(p.share(), " ", other.share()) })
}

func (f *kafkaFaults) killMembers() {
	for _, p := range f.members {
		p.signal(syscall.SIGKILL)
	}
	for i := range f.members {
		f.members[i] = f.site.transformer()
	}
	f.site.grown(1000)
}

// killIngester: what its senders had written and Kafka had not acknowledged is
// lost with it, as over plain TCP it must be; what was acknowledged is not.
func (f *kafkaFaults) killIngester() {
	published := f.site.published()
	f.site.signal(syscall.SIGKILL)
	f.sender.end()
	restarted := start(f.t, "ingest", "--config", f.site.config)
	restarted.data, restarted.addr["clickhouse_http"] = f.site.data, f.site.addr["clickhouse_http"]
	restarted.waitReady()
	f.site.process = restarted
	const rows = "SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events)"
	until(f.t, "what was acknowledged is in ClickHouse", func() bool { return f.site.count(rows) >= f.earlier+published && f.lag() == 0 },
		func() string { return fmt.Sprintf("%d of %d", f.site.count(rows), f.earlier+published) })
	f.sent = f.site.count(rows)
	f.earlier = f.sent
	f.sender = startPaced(f.t, f.site.addr["syslog_tcp"], f.next+500_000, kafkaPause)
	f.site.grown(500)
}

// lag is how many records are not yet in ClickHouse, of all partitions.
func (f *kafkaFaults) lag() (n float64) {
	f.t.Helper()
	known := 0
	for _, p := range f.members {
		known += p.share()
		n += p.metric("millrace_consumer_lag")
	}
	if known != partitions {
		return -1
	}
	return n
}
