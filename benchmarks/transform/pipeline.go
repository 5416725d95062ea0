package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
	"millrace/schema"
)

const (
	loadConnections = 4
	tick            = 10 * time.Millisecond // of the sender
	// A probe is an event of its own domain, sent so often, and looked for so often: that
	// much is what a latency may be too long by.
	probeEvery, lookEvery = 50 * time.Millisecond, 50 * time.Millisecond
	probeDomain           = "probe.test"
)

// pipeline is `millrace up` under a steady load.
func (b *bench) pipeline(ctx context.Context) {
	name := fmt.Sprintf("%s/s for %.0f s", report.Number(b.o.rate), b.o.pipeline.Seconds())
	m, err := b.up(ctx)
	b.report.Record(b.progress, "pipeline", whole, name, m, err)
}

// stack is a running `millrace up`.
type stack struct {
	*process.Process
	syslog, metrics string
	clickHouse      process.ID
	conn            driver.Conn
}

func (b *bench) up(ctx context.Context) (m report.Metrics, err error) {
	dir, err := os.MkdirTemp("", "bench-transform-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := b.startUp(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	defer s.conn.Close()

	profile := filepath.Join(dir, "cpu.pprof")
	profiled := make(chan error, 1)
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	time.AfterFunc(b.o.pipeline/3, func() {
		seconds := max(1, min(10, b.o.pipeline.Seconds()/3))
		profiled <- process.Profile(fmt.Sprintf("%s/debug/pprof/profile?seconds=%.0f", strings.TrimSuffix(s.metrics, "/metrics"), seconds), profile)
	})
	p := &probe{s: s}
	var work sync.WaitGroup
	sending, stop := context.WithTimeout(ctx, b.o.pipeline)
	defer stop()
	var sent uint64
	var sendErr, probeErr error
	began := time.Now()
	work.Go(func() { sent, sendErr = b.pour(sending, s.syslog) })
	work.Go(func() { probeErr = p.run(sending, ctx) })
	work.Wait()
	took := p.ended.Sub(began)
	if err := errors.Join(sendErr, probeErr, <-profiled); err != nil {
		return nil, s.Failed(err)
	}
	rows, err := p.settled(ctx, sent)
	if err != nil {
		return nil, s.Failed(err)
	}
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	m = report.Metrics{mRows: float64(rows), mLost: float64(sent) - float64(rows), mEventsPerSec: float64(sent) / took.Seconds()}
	for i, name := range []string{mOwn, mServer} {
		m[name] = (after[i] - before[i]).Seconds() / float64(rows) * 1e6
	}
	for name, id := range map[string]process.ID{mPeakRSS: s.ID, mServerRSS: s.clickHouse} {
		peak, err := id.PeakRSS()
		if err != nil {
			return nil, err
		}
		m[name] = float64(peak) / (1 << 20)
	}
	m[mP50], m[mP99], m[mMax] = quantile(p.took, 0.5), quantile(p.took, 0.99), quantile(p.took, 1)
	b.showProfile("millrace up at "+report.Number(b.o.rate)+" events/s (ClickHouse is another process)", profile)
	return m, nil
}

// showProfile takes what a profile says into the report.
func (b *bench) showProfile(load, file string) {
	parts, err := process.Top(b.o.millrace, file)
	if err != nil {
		fmt.Fprintln(b.progress, "no profile:", err)
		return
	}
	b.report.Profiles = append(b.report.Profiles, report.Profile{Load: load, Parts: parts})
}

// cpu is the processor time of millrace and of its ClickHouse.
func (s *stack) cpu() (both [2]time.Duration, err error) {
	if both[0], err = s.CPU(); err == nil {
		both[1], err = s.clickHouse.CPU()
	}
	return both, err
}

// startUp starts it on free ports and finds its ClickHouse.
func (b *bench) startUp(ctx context.Context, dir string) (s *stack, err error) {
	var ports [5]int
	for i := range ports {
		if ports[i], err = process.FreePort(); err != nil {
			return nil, err
		}
	}
	local := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	config := fmt.Sprintf(`listeners: [{name: bench, address: "tcp://%s", framing: lf, formats: [m1, s1]}]
http: {ingest: "%s"}
up: {data: "%s", kafka: "%s", clickhouse_native: "%s", clickhouse_http: "%s"}
`, local(0), local(1), filepath.Join(dir, "data"), local(2), local(3), local(4))
	p, err := b.start(dir, config, "up")
	if err != nil {
		return nil, err
	}
	s = &stack{Process: p, syslog: local(0), metrics: "http://" + local(1) + "/metrics"}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	ready := func() bool {
		res, err := http.Get("http://" + local(1) + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}
	if err = p.Await("readiness", time.Minute, ready); err != nil {
		return nil, err
	}
	if s.clickHouse, err = p.Child(); err != nil {
		return nil, err
	}
	admin, err := os.ReadFile(filepath.Join(dir, "data", "clickhouse", "admin"))
	if err != nil {
		return nil, err
	}
	user, password, _ := strings.Cut(strings.TrimSpace(string(admin)), ":")
	s.conn, err = clickhouse.Open(&clickhouse.Options{Addr: []string{local(3)}, Auth: clickhouse.Auth{Username: user, Password: password, Database: "millrace"}})
	return s, err
}

// pour sends frames at the rate until ctx ends, and says how many. A sender that was held
// up sends what is due by then: the rate is kept as long as it is taken.
func (b *bench) pour(ctx context.Context, address string) (sent uint64, err error) {
	var conns []net.Conn
	for range loadConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	counts, errs := make([]uint64, len(conns)), make([]error, len(conns))
	var senders sync.WaitGroup
	for i, c := range conns {
		senders.Go(func() {
			began, at := time.Now(), i*len(b.in.Pieces)/len(conns)
			for ctx.Err() == nil {
				if due := time.Since(began).Seconds() * b.o.rate / float64(len(conns)); float64(counts[i]) > due {
					time.Sleep(tick)
					continue
				}
				p := b.in.Pieces[at%len(b.in.Pieces)]
				at++
				if _, errs[i] = c.Write(p.Bytes); errs[i] != nil {
					return
				}
				counts[i] += uint64(p.Frames)
			}
		})
	}
	senders.Wait()
	for _, n := range counts {
		sent += n
	}
	return sent, errors.Join(errs...)
}

// probe sends numbered events and sees when a query finds them.
type probe struct {
	s     *stack
	due   []time.Time
	mu    sync.Mutex
	took  []float64 // seconds, of those that were found
	ended time.Time // when the load had been sent
}

// run sends until sending ends, and looks until all are found.
func (p *probe) run(sending, ctx context.Context) error {
	c, err := net.Dial("tcp", p.s.syslog)
	if err != nil {
		return err
	}
	defer c.Close()
	found := make(chan error, 1)
	go func() { found <- p.look(sending, ctx) }()
	for sending.Err() == nil {
		p.mu.Lock()
		number := len(p.due)
		p.due = append(p.due, time.Now())
		p.mu.Unlock()
		frame := fmt.Appendf(nil, "<14>\"\",\"probe\",\"%d@%s\",\"\",\"%s\",\"\",\"\",\"\",\"\",\"\",\"\",\"delivered\",\"\",\"\",\"\",\"\",\"\",\"\"\n", number, probeDomain, probeDomain)
		if _, err := c.Write(frame); err != nil {
			return err
		}
		select {
		case <-sending.Done():
		case <-time.After(probeEvery):
		}
	}
	p.ended = time.Now()
	return <-found
}

// look notes when each probe is first found.
func (p *probe) look(sending, ctx context.Context) error {
	seen := map[uint64]bool{}
	const patience = time.Minute
	for since := time.Now(); ; time.Sleep(lookEvery) {
		p.mu.Lock()
		due := slices.Clone(p.due)
		p.mu.Unlock()
		if sending.Err() != nil && len(seen) == len(due) {
			return nil
		}
		rows, err := p.s.conn.Query(ctx, "SELECT toUInt64(splitByChar('@', sender)[1]) FROM "+schema.Message.Table+" WHERE domain = ?", probeDomain)
		if err != nil {
			return err
		}
		now := time.Now()
		for rows.Next() {
			var n uint64
			if err := rows.Scan(&n); err != nil {
				rows.Close()
				return err
			}
			if !seen[n] {
				seen[n], since = true, now
				p.took = append(p.took, now.Sub(due[n]).Seconds())
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
		if time.Since(since) > patience {
			return fmt.Errorf("%d of %d probes are in no answer, and none has come for %v", len(due)-len(seen), len(due), patience)
		}
	}
}

// settled waits until all of the load is there and says how many rows that are.
func (p *probe) settled(ctx context.Context, sent uint64) (rows uint64, err error) {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := p.s.conn.QueryRow(ctx, "SELECT count() FROM "+schema.Message.Table+" WHERE domain != ?", probeDomain).Scan(&rows)
		if err != nil || rows >= sent || time.Now().After(end) {
			return rows, err
		}
	}
}

// quantile of seconds; 1 is the longest.
func quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}
