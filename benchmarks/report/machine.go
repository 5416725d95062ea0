package report

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what the numbers were measured on.
type Machine struct {
	CPU     string  `json:"cpu"`
	Cores   int     `json:"cores"` // that the run may use
	Memory  float64 `json:"memory_gib"`
	Kernel  string  `json:"kernel"`
	OS      string  `json:"os"`
	Go      string  `json:"go"`
	Load    string  `json:"load"` // averages of 1, 5 and 15 minutes before the run
	RmemMax int     `json:"rmem_max"`
	Root    bool    `json:"root"` // receive buffers may exceed rmem_max
}

// DescribeMachine looks at this one.
func DescribeMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Root: os.Geteuid() == 0}
	m.CPU = strings.TrimSpace(after("/proc/cpuinfo", "model name", ":"))
	m.OS = strings.Trim(after("/etc/os-release", "PRETTY_NAME", "="), `"`)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = float64(info.Totalram) * float64(info.Unit) / (1 << 30)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	if b, err := os.ReadFile("/proc/sys/net/core/rmem_max"); err == nil {
		_, _ = fmt.Sscan(string(b), &m.RmemMax)
	}
	return m
}

// after is what follows a key and a separator in the first line that begins with the key.
func after(file, key, separator string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if k, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
