package embedded

import (
	"os"
	"syscall"
)

// ownExecutable stays valid when the file was replaced by an upgrade.
func ownExecutable() (string, error) { return "/proc/self/exe", nil }

// childAttributes puts the child into its own process group, so that Ctrl-C
// reaches the parent alone, and has the kernel kill it when the thread that
// started it ends: that thread must live as long as the process.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// physicalMemory is what this process may use: the machine's memory, or the
// control group's limit when that is less.
func physicalMemory() int64 {
	var info syscall.Sysinfo_t
	total := int64(4 << 30)
	if syscall.Sysinfo(&info) == nil {
		total = int64(info.Totalram) * int64(info.Unit)
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(path); err == nil {
			if limit := leadingInt(string(text)); limit > 0 && limit < total {
				total = limit
			}
		}
	}
	return total
}
