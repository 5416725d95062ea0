package stack

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"millrace/ingester"
)

const diskInterval = 250 * time.Millisecond

// disk closes the gate while too little of the data directory's file system is
// free. It opens again with a fifth more than the limit, so that it does not
// flutter.
type disk struct {
	dir     string
	minFree float64 // share, 0..1
	gate    *ingester.Gate
	log     *slog.Logger
	report  func(error) // readiness: nil, or why intake stands still
	observe func(free float64)
}

func (d *disk) watch(ctx context.Context) error {
	tick := time.NewTicker(diskInterval)
	defer tick.Stop()
	full := false
	for {
		free, err := freeShare(d.dir)
		switch {
		case err != nil:
			d.report(err)
		case free < d.minFree && !full:
			full = true
			d.gate.Close()
			d.log.Error("disk is nearly full: intake stops, TCP senders wait, datagrams are dropped and counted",
				"data", d.dir, "free", percent(free), "limit", percent(d.minFree), "key", "up.min_free_disk")
		case full && free >= d.minFree*1.2:
			full = false
			d.gate.Open()
			d.log.Info("disk has room again: intake goes on", "data", d.dir, "free", percent(free))
		}
		if err == nil {
			d.observe(free)
			if full {
				d.report(fmt.Errorf("disk of %q is nearly full: %s free, intake goes on at %s (up.min_free_disk is %s)",
					d.dir, percent(free), percent(d.minFree*1.2), percent(d.minFree)))
			} else {
				d.report(nil)
			}
		}
		select {
		case <-ctx.Done():
			d.gate.Open() // waiting connections shall see the stop
			return nil
		case <-tick.C:
		}
	}
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

// freeShare is the share of the file system's blocks that an ordinary process
// may still take.
func freeShare(dir string) (float64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("cannot see how full the disk of %q is: %w", dir, err)
	}
	if s.Blocks == 0 {
		return 1, nil
	}
	return float64(s.Bavail) / float64(s.Blocks), nil
}

// diskSize is the size in bytes of the directory's file system.
func diskSize(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("cannot see how large the disk of %q is: %w", dir, err)
	}
	return int64(s.Blocks) * s.Bsize, nil
}
