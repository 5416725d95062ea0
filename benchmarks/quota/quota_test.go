package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/benchmarks/process"
)

// busy is a process that takes what it gets.
func busy(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not come about: %s", what)
		}
	}
}

// state is the letter of /proc/PID/stat.
func state(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:1]
}

func used(t *testing.T, pid int) time.Duration {
	t.Helper()
	d, err := process.ID(pid).CPU()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A process with a share is stopped, and goes on; a free one is not stopped.
func TestSignals(t *testing.T) {
	t.Parallel()
	pid := busy(t)
	held, err := Signals().Hold(pid, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		until(t, "it is stopped", func() bool { return state(t, pid) == "T" })
		before := used(t, pid)
		until(t, "it goes on", func() bool { return used(t, pid) > before })
	}
	if err := held.Free(); err != nil {
		t.Fatal(err)
	}
	before := used(t, pid)
	until(t, "it has more than a share of a long time", func() bool { return used(t, pid) > before+50*time.Millisecond })
	if s := state(t, pid); s == "T" {
		t.Error("a free process is stopped")
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever the way is on this machine, the process is held back until it is free; a control
// group is gone in the end.
func TestFind(t *testing.T) {
	t.Parallel()
	pid := busy(t)
	l := Find()
	t.Log(l.How)
	held, err := l.Hold(pid, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	g, grouped := held.(*group)
	until(t, "it is held back", func() bool {
		if !grouped {
			return state(t, pid) == "T"
		}
		stat, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(stat), "nr_throttled") && !strings.Contains(string(stat), "nr_throttled 0\n")
	})
	before := used(t, pid)
	until(t, "it works", func() bool { return used(t, pid) > before })
	if err := held.Free(); err != nil {
		t.Error(err)
	}
	if grouped {
		limit, err := os.ReadFile(filepath.Join(g.dir, g.limit))
		if err != nil || strings.TrimSpace(string(limit)) != g.none {
			t.Errorf("the limit of a free process is %q, %v, want %q", limit, err, g.none)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if grouped {
		if _, err := os.Stat(g.dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the group is there after its end: %v", err)
		}
	}
}

func TestHold_Failure(t *testing.T) {
	t.Parallel()
	f := func(want string, pid int, cores float64) {
		t.Helper()
		if _, err := Signals().Hold(pid, cores); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("to 0 cores: it must be more than 0", os.Getpid(), 0)
	f("cannot read the processor time of process 4194305", 1<<22+1, 1) // beyond pid_max
}

// Where groups can be made is read from /proc.
func TestKernels(t *testing.T) {
	t.Parallel()
	f := func(groups, mounts string, want ...string) {
		t.Helper()
		var got []string
		for _, k := range kernels(groups, mounts) {
			got = append(got, k.parent+" "+k.limit+" "+k.value(0.05))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	const unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	f("0::/user.slice/a\n", unified, "/sys/fs/cgroup/user.slice/a cpu.max 5000 100000")
	const old = "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n32 23 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	f("4:cpuset:/\n3:cpu,cpuacct:/x\n", old, "/sys/fs/cgroup/cpu,cpuacct/x cpu.cfs_quota_us 5000")
	f("3:cpu,cpuacct:/\n0::/\n", old+unified, "/sys/fs/cgroup cpu.max 5000 100000", "/sys/fs/cgroup/cpu,cpuacct cpu.cfs_quota_us 5000")
	// A part of the hierarchy alone is mounted: its paths are others.
	f("0::/\n", strings.Replace(unified, " / /sys", " /docker/1 /sys", 1))
	f("", unified)
	f("0::/\n", "")
}
