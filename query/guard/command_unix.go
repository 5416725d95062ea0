//go:build unix

package guard

import (
	"os/exec"
	"syscall"
)

// ownGroup lets the end of its time end what a command has started too.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
