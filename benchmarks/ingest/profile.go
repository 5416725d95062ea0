package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"millrace/benchmarks/discard"
)

// Profile is where our program's time went, by function, the largest first.
type Profile struct {
	Load  string  `json:"load"`
	Parts []Share `json:"parts"`
}

// Share is a function's part of the time, without what it calls.
type Share struct {
	Function string  `json:"function"`
	Percent  float64 `json:"percent"`
}

const (
	profileFunctions = 15
	profiledRate     = 200_000 // datagrams a second
)

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
			p.Parts, err = b.top(file)
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
func (b *bench) profile(network, file string) (Profile, error) {
	port, err := freePort("tcp")
	if err != nil {
		return Profile{}, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	t, err := begin(b.peer(ours), setup{network: network, connections: connections, http: address}, discard.Options{})
	if err != nil {
		return Profile{}, err
	}
	defer t.end()

	p := Profile{Load: fmt.Sprintf("%s frames/s over UDP", number(profiledRate))}
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
			return Profile{}, t.proc.failed(err)
		}
		defer disconnect(conns)
		load = func() error {
			_, err := flood(b.in, conns, stop)
			return err
		}
	}
	loaded := make(chan error, 1)
	go func() { loaded <- load() }()
	err = download(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", address, max(3, b.o.seconds)), file)
	close(stop)
	if lerr := <-loaded; err == nil {
		err = lerr
	}
	return p, err
}

// top reads the functions with the largest parts out of a profile.
func (b *bench) top(file string) ([]Share, error) {
	out, err := exec.Command("go", "tool", "pprof", "-top", fmt.Sprintf("-nodecount=%d", profileFunctions), b.o.millrace, file).Output()
	if err != nil {
		return nil, fmt.Errorf("cannot read the profile: %w", err)
	}
	var all []Share
	for line := range strings.Lines(string(out)) {
		// flat, flat%, sum%, cumulative, cumulative%, function
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		percent, err := strconv.ParseFloat(strings.TrimSuffix(f[1], "%"), 64)
		if err != nil || !strings.HasSuffix(f[1], "%") {
			continue
		}
		all = append(all, Share{f[5], percent})
	}
	return all, nil
}

func download(url, file string) error {
	res, err := http.Get(url)
	if err != nil {
		return fmt.Errorf("cannot get the profile: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("cannot get the profile: %s says %s", url, res.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, res.Body); err != nil {
		out.Close()
		return fmt.Errorf("cannot get the profile: %w", err)
	}
	return out.Close()
}
