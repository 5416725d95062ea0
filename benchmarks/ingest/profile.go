package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"millrace/benchmarks/discard"
	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
)

// profiledRate is datagrams a second.
const profiledRate = 200_000

// profiles takes a profile of each transport.
func (b *bench) profiles() {
	dir, err := os.MkdirTemp("", "bench-ingest-")
	if err != nil {
		fmt.Fprintln(b.progress, err)
		return
	}
	defer os.RemoveAll(dir)
	for _, network := range []string{"tcp", "udp"} {
		file := filepath.Join(dir, network)
		p, err := b.profile(network, file)
		if err == nil {
			p.Parts, err = process.Top(b.o.millrace, file)
		}
		if err != nil {
			fmt.Fprintln(b.progress, "no profile:", err)
			continue
		}
		b.report.Profiles = append(b.report.Profiles, p)
	}
}

// profile writes a CPU profile of our program under load: what a gap is explained by,
// and what default.pgo is made from.
func (b *bench) profile(network, file string) (report.Profile, error) {
	port, err := freePort("tcp")
	if err != nil {
		return report.Profile{}, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	t, err := begin(b.peer(ours), setup{network: network, connections: connections, http: address}, discard.Options{})
	if err != nil {
		return report.Profile{}, err
	}
	defer t.end()

	p := report.Profile{Load: fmt.Sprintf("%s frames/s over UDP", report.Number(profiledRate))}
	stop := make(chan struct{})
	load := func() error {
		s, err := newSender(b.in, t.port)
		if err != nil {
			return err
		}
		defer s.close()
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			if _, _, err := s.send(profiledRate, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	if network == "tcp" {
		p.Load = "full rate over TCP, snappy"
		conns, err := connect(t.port, connections)
		if err != nil {
			return report.Profile{}, t.proc.Failed(err)
		}
		defer disconnect(conns)
		load = func() error {
			_, err := flood(b.in, conns, stop)
			return err
		}
	}
	loaded := make(chan error, 1)
	go func() { loaded <- load() }()
	err = process.Profile(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", address, max(3, b.o.seconds)), file)
	close(stop)
	if lerr := <-loaded; err == nil {
		err = lerr
	}
	return p, err
}
