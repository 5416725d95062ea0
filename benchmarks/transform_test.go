package benchmarks

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	input "millrace/benchmarks/frames"
	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/transformer"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// rowsEnv is how many rows BenchmarkTransform moves in one iteration.
const rowsEnv = "MILLRACE_BENCHMARK_ROWS"

const messageTopic = "millrace.message"

// topic is the other process of BenchmarkTransform: a broker with a topic of frames as
// the ingester writes them. It prints the broker's address when all are there.
func topic(in io.Reader, out io.Writer, rows int) error {
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, topics...))
	if err != nil {
		return err
	}
	defer broker.Close()
	text := fmt.Sprintf("listeners:\n  - {name: in, address: 'tcp://127.0.0.1:0', framing: lf}\nkafka: {brokers: ['%s']}\n", broker.ListenAddrs()[0])
	cfg, err := config.Parse("benchmark.yaml", []byte(text), func(string) string { return "" })
	if err != nil {
		return err
	}
	i, err := ingester.New(ingester.Options{Config: cfg, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx, context.Background()) }()
	<-i.Ready()
	f, err := input.New(distinct)
	if err != nil {
		stop()
		return err
	}
	c, err := net.Dial("tcp", i.Addrs()[0].Addr.String())
	for n := 0; n < rows && err == nil; n += distinct {
		_, err = c.Write(f.Block)
	}
	for err == nil && i.Account().Published < uint64(rows) {
		if a := i.Account(); a.RejectedTotal()+a.DroppedTotal() > 0 {
			err = fmt.Errorf("not every frame became an event: %+v", a)
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if e := <-ended; err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, broker.ListenAddrs()[0])
	_, _ = io.Copy(io.Discard, in)
	return nil
}

// startTopic starts the process with the topic, and returns the broker's address.
func startTopic(b *testing.B) string {
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), roleEnv+"=topic")
	child.Stderr = os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	to, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	from, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		to.Close()
		if err := child.Wait(); err != nil {
			b.Error(err)
		}
	})
	said := bufio.NewScanner(from)
	if !said.Scan() {
		b.Fatal("the topic was not filled")
	}
	return said.Text()
}

// rowsOf is the number of rows that the environment asks for, in whole rounds of the
// different frames.
func rowsOf() int {
	n, err := strconv.Atoi(os.Getenv(rowsEnv))
	if err != nil || n < distinct {
		n = 5 * distinct
	}
	return n / distinct * distinct
}

// tables makes all tables in a new database.
func tables(b *testing.B) string {
	database := embeddedtest.Database(b)
	conn := embeddedtest.Connect(b, "")
	for _, k := range schema.Kinds() {
		if err := conn.Exec(context.Background(), k.CreateTable(schema.Layout{Database: database})); err != nil {
			b.Fatal(err)
		}
	}
	return database
}

func server(b *testing.B, compression clickhouse.CompressionMethod) *clickhouse.Options {
	s := embeddedtest.ClickHouse(b)
	return &clickhouse.Options{
		Addr: []string{s.NativeAddr}, Auth: clickhouse.Auth{Username: s.Admin.User, Password: s.Admin.Password},
		Compression: &clickhouse.Compression{Method: compression},
	}
}

// serverCPU is the time that ClickHouse has worked.
func serverCPU(b *testing.B) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", embeddedtest.ClickHouse(b).PID()))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	var ticks int64 // of 10 ms
	for _, field := range f[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// meter counts what a run needed.
type meter struct {
	began       time.Time
	own, server time.Duration
	memory      runtime.MemStats
}

func startMeter(b *testing.B) *meter {
	m := &meter{began: time.Now(), own: cpu(b), server: serverCPU(b)}
	runtime.ReadMemStats(&m.memory)
	return m
}

func (m *meter) report(b *testing.B, rows int) {
	elapsed, own, server := time.Since(m.began), cpu(b)-m.own, serverCPU(b)-m.server
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	n := float64(rows)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(own.Seconds()/n*1e6, "own-cpu-s/M")
	b.ReportMetric(server.Seconds()/n*1e6, "clickhouse-cpu-s/M")
	b.ReportMetric(n/elapsed.Seconds(), "rows/s")
	b.ReportMetric(float64(memory.Mallocs-m.memory.Mallocs)/n, "allocs/row")
}

// BenchmarkTransform is Kafka to ClickHouse: a topic as the ingester writes it, snappy
// and all, is there, and the time is from the start of the transformer, its joining of
// the group included, to the last row. Broker and ClickHouse are other processes. Beside
// it stand ready-made blocks of the same rows: what the server needs at least.
func BenchmarkTransform(b *testing.B) {
	rows := rowsOf()
	broker := startTopic(b)
	run := 0
	for _, compression := range []clickhouse.CompressionMethod{clickhouse.CompressionNone, clickhouse.CompressionLZ4} {
		b.Run(fmt.Sprintf("way=millrace/compression=%s", compression), func(b *testing.B) {
			database := tables(b)
			run++
			t, err := transformer.New(transformer.Options{
				Brokers: []string{broker}, TopicPrefix: "millrace.", Group: fmt.Sprintf("bench-%d-%d", run, time.Now().UnixNano()),
				ClickHouse: server(b, compression), Database: database, Kinds: []*schema.Kind{schema.Message},
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			m := startMeter(b)
			go func() { done <- t.Run(ctx, context.Background()) }()
			for t.Stats().Rows(schema.Message.Table) < uint64(rows) {
				if time.Since(m.began) > 5*time.Minute {
					b.Fatalf("%d rows of %d: %+v", t.Stats().Rows(schema.Message.Table), rows, t.State())
				}
				time.Sleep(5 * time.Millisecond)
			}
			m.report(b, rows)
			stop()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("way=blocks", func(b *testing.B) {
		blocks := ready(b, broker, rows)
		c, err := insert.Open(insert.Options{ClickHouse: server(b, clickhouse.CompressionNone), Database: tables(b)})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		m := startMeter(b)
		for i, block := range blocks {
			if err := c.Insert(context.Background(), block, fmt.Sprint(i)); err != nil {
				b.Fatal(err)
			}
		}
		m.report(b, rows)
	})
	in, err := input.New(distinct)
	if err != nil {
		b.Fatal(err)
	}
	if perFrame, command, err := in.Zstd19(); err != nil {
		b.Log(err)
	} else {
		b.Logf("%d rows of %d different frames, %.0f bytes each, %.1f under %s of all", rows, distinct, in.MeanBytes(), perFrame, command)
	}
}

// ready reads the topic into blocks.
func ready(b *testing.B, broker string, rows int) []*block.Block {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(messageTopic))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var blocks []*block.Block
	open := map[int32]*block.Block{}
	for n := 0; n < rows; {
		fetched := client.PollFetches(context.Background())
		if err := fetched.Err0(); err != nil {
			b.Fatal(err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			o := open[r.Partition]
			if o == nil || o.Rows() == transformer.DefaultBlockRows {
				o = block.New(schema.Message)
				o.Reset(block.Place{Topic: "message", Partition: uint16(r.Partition)})
				open[r.Partition] = o
				blocks = append(blocks, o)
			}
			if !o.AppendRecord(r.Value, r.Offset) {
				b.Fatal("the ingester's own record was not known")
			}
			n++
		})
	}
	return blocks
}
