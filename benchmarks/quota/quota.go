package quota

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// period is how often a process gets its share.
const period = 100 * time.Millisecond

// Limiter makes quotas in one of the three ways.
type Limiter struct {
	How  string // a name for reports
	open func(pid int, cores float64) (Held, error)
}

// Held is a process that is held to its share.
type Held interface {
	// Free lets it have what it wants.
	Free() error
	// Close is called when the process has ended.
	Close() error
}

// Find takes the best way that this process may use.
func Find() *Limiter {
	groups, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, k := range kernels(string(groups), string(mounts)) {
		if g, err := k.make(0.5); err == nil {
			_ = g.Close()
			return &Limiter{How: k.how, open: k.hold}
		}
	}
	return Signals()
}

// Hold holds a process to so many cores from now on.
func (l *Limiter) Hold(pid int, cores float64) (Held, error) {
	if !(cores > 0) {
		return nil, fmt.Errorf("cannot hold process %d to %v cores: it must be more than 0", pid, cores)
	}
	return l.open(pid, cores)
}

// kernel is a place for control groups.
type kernel struct {
	how    string
	parent string // directory in which groups are made
	limit  string // its file
	value  func(cores float64) string
	none   string // the limit's value for no limit
}

// kernels lists the places that /proc/self/cgroup and /proc/self/mountinfo name, the best first.
func kernels(groups, mounts string) (all []kernel) {
	micro := func(cores float64) string { return fmt.Sprint(int(cores * float64(period/time.Microsecond))) }
	whole := fmt.Sprint(int(period / time.Microsecond))
	v1, v2 := mountPoints(mounts)
	for line := range strings.Lines(groups) {
		// number:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && v2 != "":
			k := kernel{how: "cgroup v2, cpu.max", parent: filepath.Join(v2, f[2]), limit: "cpu.max", none: "max " + whole,
				value: func(cores float64) string { return micro(cores) + " " + whole }}
			all = append([]kernel{k}, all...)
		case contains(f[1], "cpu") && v1 != "":
			// The period of a new group is the kernel's, 100 ms.
			all = append(all, kernel{how: "cgroup v1, cpu.cfs_quota_us", parent: filepath.Join(v1, f[2]), limit: "cpu.cfs_quota_us", none: "-1", value: micro})
		}
	}
	return all
}

// mountPoints are where cgroup v1's cpu controller and cgroup v2 are mounted, each the
// whole of its hierarchy; "" for none.
func mountPoints(mounts string) (v1, v2 string) {
	for line := range strings.Lines(mounts) {
		// ... root mount-point options - type source super-options
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f, of := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(of) < 3 || f[3] != "/" {
			continue
		}
		switch {
		case of[0] == "cgroup2" && v2 == "":
			v2 = f[4]
		case of[0] == "cgroup" && contains(of[2], "cpu") && v1 == "":
			v1 = f[4]
		}
	}
	return v1, v2
}

// contains tells whether a list with commas has the word.
func contains(list, word string) bool { return strings.Contains(","+list+",", ","+word+",") }

var made atomic.Int64

// group is a control group of ours.
type group struct {
	kernel
	dir string
}

// make makes an empty group. Its files are the kernel's: one that is not there means that
// the controller is not, and must not be created.
func (k kernel) make(cores float64) (*group, error) {
	g := &group{kernel: k, dir: filepath.Join(k.parent, fmt.Sprintf("millrace-bench-%d-%d", os.Getpid(), made.Add(1)))}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make a control group: %w", err)
	}
	if err := g.write(k.limit, k.value(cores)); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

func (k kernel) hold(pid int, cores float64) (Held, error) {
	g, err := k.make(cores)
	if err != nil {
		return nil, err
	}
	if err := g.write("cgroup.procs", fmt.Sprint(pid)); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

func (g *group) write(name, value string) error {
	f, err := os.OpenFile(filepath.Join(g.dir, name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot set a control group's %s to %q: %w", name, value, err)
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("cannot set a control group's %s to %q: %w", name, value, err)
	}
	return nil
}

func (g *group) Free() error { return g.write(g.limit, g.none) }

func (g *group) Close() error {
	// A process that has just ended may still be in it.
	var err error
	for range 100 {
		if err = os.Remove(g.dir); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("cannot remove a control group: %w", err)
}
