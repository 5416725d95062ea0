package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"millrace/benchmarks/discard"
)

// profile writes a CPU profile of our program at full rate over TCP: what a gap is
// explained by, and what default.pgo is made from.
func (b *bench) profile(file string) error {
	port, err := freePort("tcp")
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	t, err := begin(b.peer(ours), setup{network: "tcp", connections: connections, http: address}, discard.Options{})
	if err != nil {
		return err
	}
	defer t.end()
	conns, err := connect(t.port, connections)
	if err != nil {
		return t.proc.failed(err)
	}
	defer disconnect(conns)
	if err := t.warmUp(b.in, conns, b.o.span()); err != nil {
		return err
	}
	stop, flooded := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := flood(b.in, conns, stop)
		flooded <- err
	}()
	err = download(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", address, max(1, b.o.seconds)), file)
	close(stop)
	if ferr := <-flooded; err == nil {
		err = ferr
	}
	if err == nil {
		fmt.Fprintln(b.progress, "written:", file)
	}
	return err
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
