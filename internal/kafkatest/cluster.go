package kafkatest

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/certtest"
)

// Options say what to start. The zero value is one broker without security.
type Options struct {
	Nodes int // 1 when 0; with 3 or more, acknowledgements need a majority

	// Authority, when given, makes the clients' listener TLS: it issues the
	// nodes' certificates, and clients must show one of its own.
	Authority *certtest.Authority
	// Users and their passwords make clients authenticate by SCRAM-SHA-256 or 512
	// or by PLAIN. They may do nothing but what Allow says.
	Users map[string]string

	// Settings are more lines of server.properties.
	Settings map[string]string
}

// Cluster is a running Kafka. Its nodes are numbered from 1.
type Cluster struct {
	Version string

	t     testing.TB
	o     Options
	java  string
	jars  string
	dir   string
	id    string
	nodes []*node
	admin *kgo.Client // over the listener between brokers, which asks for nothing
}

// patience bounds every wait: a Java process takes seconds to start, and more on
// a machine that has other work.
const patience = 2 * time.Minute

// Start returns when every node answers and knows of all others.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	o.Nodes = max(o.Nodes, 1)
	c := &Cluster{t: t, o: o, id: "bWlsbHJhY2UtaW4tdGVzdA"}
	if err := c.find(); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.dir, err = os.MkdirTemp("", "millrace-kafka-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	// An address of the cluster's own: the ports of a killed node stay free for it.
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	const each = 3
	free, err := freeAddresses(host, each*o.Nodes)
	if err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= o.Nodes; id++ {
		own := free[each*(id-1):]
		c.nodes = append(c.nodes, &node{id: id, dir: filepath.Join(c.dir, fmt.Sprint(id)), client: own[0], internal: own[1], controller: own[2]})
	}
	var seeds []string
	for _, n := range c.nodes {
		seeds = append(seeds, n.internal)
	}
	c.admin, err = kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(50*time.Millisecond), kgo.RetryTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	failures := make([]error, len(c.nodes))
	var starting sync.WaitGroup
	for i, n := range c.nodes {
		starting.Go(func() {
			if failures[i] = c.format(n); failures[i] == nil {
				failures[i] = c.start(n)
			}
		})
	}
	starting.Wait()
	for _, err := range failures {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.AwaitSync()
	t.Logf("Apache Kafka %s: %d nodes after %v", c.Version, o.Nodes, time.Since(begin).Round(100*time.Millisecond))
	return c
}

// find looks for Java and for the jars.
func (c *Cluster) find() error {
	var err error
	if c.java, err = javaCommand(); err != nil {
		return err
	}
	dir := os.Getenv("MILLRACE_KAFKA")
	if dir == "" {
		if dir, err = filepath.Abs(".tools/kafka"); err != nil {
			return err
		}
		// Tests run in their package's directory, somewhere below the tools.
		for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
			dir = filepath.Join(parent, ".tools", "kafka")
			if _, err := os.Stat(dir); err == nil || parent == filepath.Dir(parent) {
				break
			}
		}
	}
	c.jars = filepath.Join(dir, "lib", "*")
	found, _ := filepath.Glob(filepath.Join(dir, "lib", "kafka-server-[0-9]*.jar"))
	if len(found) != 1 {
		return fmt.Errorf("cannot find Apache Kafka in %q: make kafka installs it under .tools/kafka, MILLRACE_KAFKA names another place", dir)
	}
	c.Version = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "kafka-server-"), ".jar")
	return nil
}

// freeAddresses finds free ports of the host. All are held until the last is found: one that
// was let go could be found again.
func freeAddresses(host string, n int) (all []string, err error) {
	for range n {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port on %s: %w", host, err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all, nil
}

// Brokers are the addresses for clients.
func (c *Cluster) Brokers() []string {
	var list []string
	for _, n := range c.nodes {
		list = append(list, n.client)
	}
	return list
}

// Admin is a client that may do everything, also in a cluster with Users.
func (c *Cluster) Admin() *kgo.Client { return c.admin }

// Kill ends a node as kill -9 does.
func (c *Cluster) Kill(id int) {
	c.t.Helper()
	if err := c.nodes[id-1].kill(); err != nil {
		c.t.Fatal(err)
	}
}

// Stop ends a node in order: it hands its partitions over first.
func (c *Cluster) Stop(id int) {
	c.t.Helper()
	if err := c.nodes[id-1].stop(); err != nil {
		c.t.Fatal(err)
	}
}

// Run starts a node that was stopped or killed, and returns when all replicas
// are in sync.
func (c *Cluster) Run(id int) {
	c.t.Helper()
	if err := c.start(c.nodes[id-1]); err != nil {
		c.t.Fatal(err)
	}
	c.AwaitSync()
}

// RunAll starts all nodes that do not run.
func (c *Cluster) RunAll() {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.runs() {
			continue
		}
		if err := c.start(n); err != nil {
			c.t.Fatal(err)
		}
	}
	c.AwaitSync()
}

// Freeze stops a node's process without an end; its connections stay open.
func (c *Cluster) Freeze(id int) { c.signal(id, syscall.SIGSTOP) }

// Thaw lets it go on.
func (c *Cluster) Thaw(id int) { c.signal(id, syscall.SIGCONT) }

func (c *Cluster) signal(id int, s syscall.Signal) {
	c.t.Helper()
	if err := c.nodes[id-1].cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("cannot send %v to node %d: %v", s, id, err)
	}
}

// AwaitSync waits until every running node is known to all and every partition
// has a leader and no replica out of sync, but those of nodes that do not run.
func (c *Cluster) AwaitSync() {
	c.t.Helper()
	c.until("the cluster is in sync", func(ctx context.Context) error {
		running := map[int32]bool{}
		for _, n := range c.nodes {
			if n.runs() {
				running[int32(n.id)] = true
			} else if n.failed() {
				return fmt.Errorf("node %d has ended", n.id)
			}
		}
		for _, n := range c.nodes {
			if !n.runs() {
				continue
			}
			m, err := c.metadata(ctx, n.id)
			if err != nil {
				return fmt.Errorf("node %d: %w", n.id, err)
			}
			if err := complete(m, running); err != nil {
				return fmt.Errorf("node %d: %w", n.id, err)
			}
		}
		return nil
	})
}

// metadata is what one node knows.
func (c *Cluster) metadata(ctx context.Context, id int) (*kmsg.MetadataResponse, error) {
	// The client knows brokers from its own metadata only: ask the node by address.
	client, err := kgo.NewClient(kgo.SeedBrokers(c.nodes[id-1].internal))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r := kmsg.NewPtrMetadataRequest() // no topics named: all
	r.AllowAutoTopicCreation = false
	m, err := client.SeedBrokers()[0].Request(ctx, r)
	if err != nil {
		return nil, err
	}
	return m.(*kmsg.MetadataResponse), nil
}

func complete(m *kmsg.MetadataResponse, running map[int32]bool) error {
	known := map[int32]bool{}
	for _, b := range m.Brokers {
		known[b.NodeID] = true
	}
	if !maps.Equal(known, running) {
		return fmt.Errorf("it knows brokers %v and %v run", known, running)
	}
	for _, t := range m.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
		for _, p := range t.Partitions {
			in := map[int32]bool{}
			for _, id := range p.ISR {
				in[id] = true
			}
			for _, id := range p.Replicas {
				if in[id] != running[id] {
					return fmt.Errorf("partition %s/%d: replicas %v, in sync %v", *t.Topic, p.Partition, p.Replicas, p.ISR)
				}
			}
			if !running[p.Leader] {
				return fmt.Errorf("partition %s/%d: leader %d", *t.Topic, p.Partition, p.Leader)
			}
		}
	}
	return nil
}

// until waits for f to find nothing wrong.
func (c *Cluster) until(what string, f func(context.Context) error) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := f(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("did not come about within %v: %s: %v", patience, what, err)
		}
	}
}

// Request sends an admin request and returns the answer.
func (c *Cluster) Request(r kmsg.Request) kmsg.Response {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := c.admin.Request(ctx, r)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

// CreateTopics makes topics with as many replicas as there are nodes, three at most.
func (c *Cluster) CreateTopics(partitions int, names ...string) {
	c.t.Helper()
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis = 30_000
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(partitions), int16(min(c.o.Nodes, 3))
		r.Topics = append(r.Topics, t)
	}
	for _, t := range c.Request(r).(*kmsg.CreateTopicsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			c.t.Fatalf("cannot create topic %s: %v", t.Topic, err)
		}
	}
	// A broker learns of a topic a little later than it answers.
	c.until("the topics are known", func(ctx context.Context) error {
		for _, n := range c.nodes {
			if !n.runs() {
				continue
			}
			m, err := c.metadata(ctx, n.id)
			if err != nil {
				return err
			}
			known := 0
			for _, t := range m.Topics {
				if slices.Contains(names, *t.Topic) {
					known++
				}
			}
			if known != len(names) {
				return fmt.Errorf("node %d knows %d of %q", n.id, known, names)
			}
		}
		return nil
	})
	c.AwaitSync()
	// And it is known to lead a little before it does.
	c.until("the leaders lead", func(ctx context.Context) error {
		r := kmsg.NewPtrListOffsetsRequest()
		for _, name := range names {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = name
			for id := range int32(partitions) {
				p := kmsg.NewListOffsetsRequestTopicPartition()
				p.Partition, p.Timestamp = id, -1
				t.Partitions = append(t.Partitions, p)
			}
			r.Topics = append(r.Topics, t)
		}
		res, err := c.admin.Request(ctx, r)
		if err != nil {
			return err
		}
		for _, t := range res.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("partition %d of %s: %w", p.Partition, t.Topic, err)
				}
			}
		}
		return nil
	})
}

// Setting is a topic's setting.
func (c *Cluster) Setting(topic, name string) string {
	c.t.Helper()
	r := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{name}
	r.Resources = append(r.Resources, resource)
	for _, found := range c.Request(r).(*kmsg.DescribeConfigsResponse).Resources {
		if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
			c.t.Fatalf("cannot read the settings of topic %s: %v", topic, err)
		}
		for _, s := range found.Configs {
			if s.Name == name && s.Value != nil {
				return *s.Value
			}
		}
	}
	return ""
}

// Set changes a setting of all running brokers.
func (c *Cluster) Set(name, value string) {
	c.t.Helper()
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	brokers := kmsg.NewIncrementalAlterConfigsRequestResource()
	brokers.ResourceType = kmsg.ConfigResourceTypeBroker // without a name: all
	setting := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	setting.Name, setting.Value, setting.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
	brokers.Configs = append(brokers.Configs, setting)
	r.Resources = append(r.Resources, brokers)
	for _, changed := range c.Request(r).(*kmsg.IncrementalAlterConfigsResponse).Resources {
		if err := kerr.ErrorForCode(changed.ErrorCode); err != nil {
			c.t.Fatalf("cannot set %s=%s: %v", name, value, err)
		}
	}
}

// MoveLeaders makes the next replica of every partition its leader, and with
// those of the offsets' topic the coordinators of the groups.
func (c *Cluster) MoveLeaders() {
	c.t.Helper()
	c.AwaitSync()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := c.metadata(ctx, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	r.TimeoutMillis = 30_000
	for _, topic := range m.Topics {
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic = *topic.Topic
		for _, partition := range topic.Partitions {
			p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			p.Partition = partition.Partition
			// The first one is the one that is preferred.
			at := slices.Index(partition.Replicas, partition.Leader) + 1
			p.Replicas = slices.Concat(partition.Replicas[at:], partition.Replicas[:at])
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	altered := c.Request(r).(*kmsg.AlterPartitionAssignmentsResponse)
	if err := kerr.ErrorForCode(altered.ErrorCode); err != nil {
		c.t.Fatalf("cannot reorder the replicas: %v", err)
	}
	elect := kmsg.NewPtrElectLeadersRequest() // of all partitions, the preferred ones
	elect.TimeoutMillis = 30_000
	if err := kerr.ErrorForCode(c.Request(elect).(*kmsg.ElectLeadersResponse).ErrorCode); err != nil {
		c.t.Fatalf("cannot elect leaders: %v", err)
	}
	c.AwaitSync()
}

// Allow lets a user do one thing with everything of a kind whose name begins
// with the prefix; the cluster's own name is kafka-cluster.
func (c *Cluster) Allow(user string, kind kmsg.ACLResourceType, prefix string, operations ...kmsg.ACLOperation) {
	c.t.Helper()
	r := kmsg.NewPtrCreateACLsRequest()
	for _, operation := range operations {
		a := kmsg.NewCreateACLsRequestCreation()
		a.ResourceType, a.ResourceName, a.ResourcePatternType = kind, prefix, kmsg.ACLResourcePatternTypePrefixed
		if kind == kmsg.ACLResourceTypeCluster {
			a.ResourcePatternType = kmsg.ACLResourcePatternTypeLiteral
		}
		a.Principal, a.Host, a.Operation, a.PermissionType = "User:"+user, "*", operation, kmsg.ACLPermissionTypeAllow
		r.Creations = append(r.Creations, a)
	}
	for _, result := range c.Request(r).(*kmsg.CreateACLsResponse).Results {
		if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
			c.t.Fatalf("cannot allow %s what it needs: %v", user, err)
		}
	}
}

// ClientTLS is the configuration of a client that the listener lets in.
func (c *Cluster) ClientTLS() *tls.Config {
	host, _, _ := net.SplitHostPort(c.nodes[0].client)
	config := c.o.Authority.Client(c.o.Authority.Issue(c.t, certtest.Subject{CommonName: "client"}))
	config.ServerName = host
	return config
}

// close ends all nodes, and keeps their logs when the test has failed.
func (c *Cluster) close() {
	if c.admin != nil {
		c.admin.Close()
	}
	for _, n := range c.nodes {
		_ = n.kill()
	}
	if !c.t.Failed() {
		os.RemoveAll(c.dir)
		return
	}
	for _, n := range c.nodes {
		os.RemoveAll(filepath.Join(n.dir, "data"))
		c.t.Logf("the log of Kafka's node %d is %s; its end:\n%s", n.id, n.log(), n.complaints())
	}
}
