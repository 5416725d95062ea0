package benchmarks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/traffic"
	"millrace/schema"
)

// roleEnv makes the test binary the other process: broker and sender.
const roleEnv = "MILLRACE_BENCHMARK_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "world" {
		os.Exit(m.Run())
	}
	if err := world(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	round       = 200_000 // frames of one iteration
	distinct    = 20_000  // of them; sent again and again
	connections = 4
)

// world is a broker that acknowledges and forgets, and a sender. It prints the
// broker's address and then, for each line "FRAMING HOST:PORT" that it reads,
// sends a round there and prints "sent".
func world(in io.Reader, out io.Writer) error {
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(6, topics...), kfake.BlackholeProduce())
	if err != nil {
		return err
	}
	defer broker.Close()
	fmt.Fprintln(out, broker.ListenAddrs()[0])
	for s := bufio.NewScanner(in); s.Scan(); {
		framing, address, _ := strings.Cut(s.Text(), " ")
		if err := send(framing, address); err != nil {
			return err
		}
		fmt.Fprintln(out, "sent")
	}
	return nil
}

var rendered = map[string][]byte{}

// frames are the bytes of `distinct` frames.
func frames(framing string) ([]byte, error) {
	if rendered[framing] == nil {
		g, err := traffic.New(traffic.Options{Seed: 1, Format: "mixed", Framing: framing})
		if err != nil {
			return nil, err
		}
		var b []byte
		for range distinct {
			b, _ = g.Next(b)
		}
		rendered[framing] = b
	}
	return rendered[framing], nil
}

func send(framing, address string) error {
	b, err := frames(framing)
	if err != nil {
		return err
	}
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			c, err := net.Dial("tcp", address)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			for n := i * distinct; n < round; n += connections * distinct {
				if _, err := c.Write(b); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// BenchmarkPipeline is a frame's whole way: TCP socket, framing, header, template,
// record, batch, snappy, Kafka's acknowledgement. An iteration is 200,000 frames.
func BenchmarkPipeline(b *testing.B) {
	for _, framing := range []string{"nul", "lf", "octet"} {
		b.Run("framing="+framing, func(b *testing.B) { pipeline(b, framing) })
	}
}

func pipeline(b *testing.B, framing string) {
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), roleEnv+"=world")
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
		b.Fatal("the broker did not start")
	}
	text := fmt.Sprintf("listeners:\n  - {name: in, address: 'tcp://127.0.0.1:0', framing: %s}\nkafka: {brokers: ['%s']}\n", framing, said.Text())
	cfg, err := config.Parse("benchmark.yaml", []byte(text), func(string) string { return "" })
	if err != nil {
		b.Fatal(err)
	}
	in, err := ingester.New(ingester.Options{Config: cfg, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, context.Background()) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	<-in.Ready()

	bytes, err := frames(framing)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(bytes)) * round / distinct)
	want := uint64(0)
	began, worked := time.Now(), cpu(b)
	for b.Loop() {
		want += round
		if _, err := fmt.Fprintf(to, "%s %s\n", framing, in.Addrs()[0].Addr); err != nil {
			b.Fatal(err)
		}
		if !said.Scan() {
			b.Fatal("the sender ended")
		}
		for in.Account().Published < want {
			if a := in.Account(); a.RejectedTotal()+a.DroppedTotal() > 0 || time.Since(began) > 5*time.Minute {
				b.Fatalf("%d frames were sent: %+v", want, a)
			}
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64(want)/time.Since(began).Seconds(), "frames/s")
	b.ReportMetric(float64(cpu(b)-worked)/float64(want), "cpu-ns/frame")
}

// cpu is the time that this process has worked, the kernel's for it included.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
