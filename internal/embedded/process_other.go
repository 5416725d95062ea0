//go:build !linux

package embedded

import (
	"os"
	"syscall"
)

func ownExecutable() (string, error) { return os.Executable() }

// childAttributes puts the child into its own process group, so that Ctrl-C
// reaches the parent alone. The parent's death closes the child's standard
// input, which stops it.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func physicalMemory() int64 { return 4 << 30 }
