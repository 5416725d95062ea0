package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ID is a process's number, for what the kernel knows of it.
type ID int

// CPU is the processor time that the process has used, user and kernel, in nanoseconds and not in the clock ticks of
// /proc/PID/stat.
func (id ID) CPU() (time.Duration, error) {
	// The id of another process's clock, as clock_getcpuclockid(3) makes it.
	const schedClock = 2
	clock := ^int32(id)<<3 | schedClock
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("cannot read the processor time of process %d: %w", id, err)
	}
	return time.Duration(t.Nano()), nil
}

// ResetPeak makes PeakRSS begin anew.
func (id ID) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", id), []byte("5"), 0)
}

// PeakRSS is the most resident memory since ResetPeak, RSS what is resident now.
func (id ID) PeakRSS() (int64, error) { return id.status("VmHWM:") }
func (id ID) RSS() (int64, error)     { return id.status("VmRSS:") }

func (id ID) status(key string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == key {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", id, key)
}

// Child is the one process that this one has started.
func (id ID) Child() (ID, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", id))
	if err != nil {
		return 0, err
	}
	var children []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		children = append(children, strings.Fields(string(b))...)
	}
	if len(children) != 1 {
		return 0, fmt.Errorf("process %d has %d children, not one", id, len(children))
	}
	child, err := strconv.Atoi(children[0])
	return ID(child), err
}
