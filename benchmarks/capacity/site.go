package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
	"millrace/internal/embedded"
	"millrace/internal/kafkatest"
	"millrace/schema"
)

const ours = "millrace"

// patience is how long something may be silent before what is missing counts as lost.
const patience = 30 * time.Second

// site is what the measured programs work with.
type site struct {
	host    *host
	kafka   *kafkatest.Cluster
	server  *embedded.ClickHouse
	conn    driver.Conn
	version string
	dir     string
	made    int // databases
}

func startSite(ctx context.Context, progress io.Writer) (s *site, err error) {
	s = &site{host: &host{log: progress}}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "bench-capacity-"); err != nil {
		return nil, err
	}
	if s.kafka, err = startKafka(s.host); err != nil {
		return nil, err
	}
	if s.server, err = embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{DataDir: filepath.Join(s.dir, "clickhouse"), Databases: []string{"bench*"}}); err != nil {
		return nil, err
	}
	s.conn, err = clickhouse.Open(&clickhouse.Options{Addr: []string{s.server.NativeAddr}, Auth: clickhouse.Auth{Username: s.server.Admin.User, Password: s.server.Admin.Password},
		ReadTimeout: 5 * time.Minute})
	if err == nil {
		err = s.conn.QueryRow(ctx, "SELECT version()").Scan(&s.version)
	}
	return s, err
}

func (s *site) stop() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.server.Stop(ctx)
	}
	s.host.close()
	os.RemoveAll(s.dir)
}

// start runs our program with a configuration of its own; it serves its state at the
// address that it returns.
func (b *bench) start(config string, arguments ...string) (*process.Process, string, error) {
	dir, err := os.MkdirTemp(b.site.dir, ours)
	if err != nil {
		return nil, "", err
	}
	port, err := process.FreePort()
	if err != nil {
		return nil, "", err
	}
	file, address := filepath.Join(dir, "millrace.yaml"), fmt.Sprintf("127.0.0.1:%d", port)
	config += fmt.Sprintf("http: {ingest: '%s', transform: '%s'}\n", address, address)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, "", err
	}
	p, err := process.Start(ours, dir, exec.Command(b.o.millrace, append(arguments, "--config", file)...))
	if err != nil {
		return nil, "", err
	}
	err = p.Await("readiness", patience, func() bool {
		res, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	if err != nil {
		p.Stop()
		return nil, "", err
	}
	return p, address, nil
}

// kafkaConfig is the configuration's part of it.
func (s *site) kafkaConfig(prefix, more string) string {
	if more != "" {
		more = ", " + more
	}
	return fmt.Sprintf("kafka: {brokers: ['%s'], topic_prefix: '%s'%s}\n", strings.Join(s.kafka.Brokers(), "', '"), prefix, more)
}

// topics makes those that our program wants.
func (s *site) topics(prefix string, partitions int) {
	var names []string
	for _, k := range schema.Kinds() {
		names = append(names, prefix+k.Topic)
	}
	s.kafka.CreateTopics(partitions, names...)
}

// records is how many a topic of messages has, by the ends of its partitions.
func (s *site) records(ctx context.Context, prefix string, partitions int) (n int64, err error) {
	r := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = prefix + schema.Message.Topic
	for i := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = int32(i), -1 // the end
		t.Partitions = append(t.Partitions, p)
	}
	r.Topics = append(r.Topics, t)
	res, err := s.kafka.Admin().Request(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("cannot read the ends of %s: %w", t.Topic, err)
	}
	for _, t := range res.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return 0, fmt.Errorf("cannot read the end of %s, partition %d: %w", t.Topic, p.Partition, err)
			}
			n += p.Offset
		}
	}
	return n, nil
}

// bytes is what a topic of messages takes on the brokers' disks, every copy counted.
func (s *site) bytes(ctx context.Context, prefix string, partitions int) (n int64, err error) {
	r := kmsg.NewPtrDescribeLogDirsRequest()
	t := kmsg.NewDescribeLogDirsRequestTopic()
	t.Topic = prefix + schema.Message.Topic
	for i := range partitions {
		t.Partitions = append(t.Partitions, int32(i))
	}
	r.Topics = append(r.Topics, t)
	for _, shard := range s.kafka.Admin().RequestSharded(ctx, r) {
		if shard.Err != nil {
			return 0, fmt.Errorf("cannot read the size of %s: %w", t.Topic, shard.Err)
		}
		for _, dir := range shard.Resp.(*kmsg.DescribeLogDirsResponse).Dirs {
			for _, t := range dir.Topics {
				for _, p := range t.Partitions {
					n += p.Size
				}
			}
		}
	}
	return n, nil
}

// members are those of a group that has given out its partitions; 0 while it has not.
func (s *site) members(ctx context.Context, group string) (int, error) {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = []string{group}
	res, err := s.kafka.Admin().Request(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("cannot read the group %s: %w", group, err)
	}
	for _, g := range res.(*kmsg.DescribeGroupsResponse).Groups {
		if g.State == "Stable" {
			return len(g.Members), nil
		}
	}
	return 0, nil
}

// confirmed is how many records of each partition a group has confirmed, of topics that it
// has read from their beginning.
func (s *site) confirmed(ctx context.Context, group, prefix string, partitions int) ([]float64, error) {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Group = group
	t := kmsg.NewOffsetFetchRequestTopic()
	t.Topic = prefix + schema.Message.Topic
	for i := range partitions {
		t.Partitions = append(t.Partitions, int32(i))
	}
	r.Topics = append(r.Topics, t)
	res, err := s.kafka.Admin().Request(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("cannot read what the group %s has confirmed: %w", group, err)
	}
	all := make([]float64, partitions)
	for _, t := range res.(*kmsg.OffsetFetchResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("cannot read what the group %s has confirmed of partition %d: %w", group, p.Partition, err)
			}
			all[p.Partition] = float64(max(0, p.Offset)) // -1: nothing yet
		}
	}
	return all, nil
}

// kafkaCPU is the brokers' processor time.
func (s *site) kafkaCPU() (sum time.Duration, err error) {
	for _, pid := range s.kafka.PIDs() {
		d, err := process.ID(pid).CPU()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func (s *site) serverCPU() (time.Duration, error) { return process.ID(s.server.PID()).CPU() }

// idle is the processor time of brokers and ClickHouse, a second, when there is nothing to
// do: what an event costs is what comes on top.
type idle struct{ kafkaCores, serverCores float64 }

func (i idle) kafka(seconds float64) time.Duration {
	return time.Duration(i.kafkaCores * seconds * float64(time.Second))
}

func (i idle) server(seconds float64) time.Duration {
	return time.Duration(i.serverCores * seconds * float64(time.Second))
}

// rest measures how much that is.
func (b *bench) rest(ctx context.Context) error {
	var clocks [2][2]time.Duration
	began := time.Now()
	for i := range clocks {
		if i > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(b.o.span() / 2):
			}
		}
		var err error
		if clocks[i][0], err = b.site.kafkaCPU(); err != nil {
			return err
		}
		if clocks[i][1], err = b.site.serverCPU(); err != nil {
			return err
		}
	}
	took := time.Since(began).Seconds()
	b.idle = idle{(clocks[1][0] - clocks[0][0]).Seconds() / took, (clocks[1][1] - clocks[0][1]).Seconds() / took}
	b.report.Record(b.progress, "bytes", "nothing to do", "", report.Metrics{mKafkaCores: b.idle.kafkaCores, mServerCores: b.idle.serverCores}, nil)
	return nil
}

// database makes a new one with our tables.
func (s *site) database(ctx context.Context) (name string, err error) {
	s.made++
	name = fmt.Sprintf("bench%d", s.made)
	if err := s.conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	for _, k := range schema.Kinds() {
		if err := s.conn.Exec(ctx, k.CreateTable(schema.Layout{Database: name})); err != nil {
			return "", err
		}
	}
	return name, nil
}

func (s *site) drop(database string) {
	_ = s.conn.Exec(context.Background(), "DROP DATABASE "+database+" SYNC")
}

// rows is how many messages are in a database.
func (s *site) rows(ctx context.Context, database string) (n uint64, err error) {
	return n, s.conn.QueryRow(ctx, "SELECT count() FROM "+database+"."+schema.Message.Table).Scan(&n)
}

// settle returns when ClickHouse has merged what it wants to merge now.
func (s *site) settle(ctx context.Context, database string) error {
	quiet := 0
	for end := time.Now().Add(time.Minute); quiet < 5; time.Sleep(200 * time.Millisecond) {
		var merges uint64
		if err := s.conn.QueryRow(ctx, "SELECT count() FROM system.merges WHERE database = ?", database).Scan(&merges); err != nil {
			return err
		}
		if quiet++; merges > 0 {
			quiet = 0
		}
		if time.Now().After(end) {
			return fmt.Errorf("ClickHouse still merges after a minute")
		}
	}
	return nil
}
