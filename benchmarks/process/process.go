package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace/internal/porttest"

	"golang.org/x/sys/unix"
)

// Process is a running program.
type Process struct {
	ID
	cmd    *exec.Cmd
	name   string
	log    string // file of what it says
	exited chan struct{}
}

// Start runs a command whose output goes into a file. It ends with this process.
func Start(name, dir string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, name: name, log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	p.ID = ID(cmd.Process.Pid)
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Stop ends the process: it has time to do so by itself.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// Failed is an error that shows the end of what the process said.
func (p *Process) Failed(err error) error {
	said, _ := os.ReadFile(p.log)
	if lines := bytes.Split(bytes.TrimSpace(said), []byte("\n")); len(lines) > 10 {
		said = bytes.Join(lines[len(lines)-10:], []byte("\n"))
	}
	return fmt.Errorf("%s: %w; it said:\n%s", p.name, err, said)
}

// Await asks until the condition holds, the process ends or the time is over.
func (p *Process) Await(what string, patience time.Duration, holds func() bool) error {
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.exited:
			return p.Failed(errors.New("it ended by itself"))
		default:
		}
		if time.Now().After(end) {
			return p.Failed(fmt.Errorf("%s did not happen within %v", what, patience))
		}
	}
	return nil
}

// ReceiveBuffers are the effective receive buffers of the UDP sockets of a port, as
// getsockopt gives them: the kernel doubles what was asked for.
func (p *Process) ReceiveBuffers(port int) ([]int, error) {
	pid := p.cmd.Process.Pid
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	var sizes []int
	for _, link := range links {
		if to, _ := os.Readlink(link); !strings.HasPrefix(to, "socket:") {
			continue
		}
		number, _ := strconv.Atoi(filepath.Base(link))
		fd, err := unix.PidfdGetfd(pidfd, number, 0)
		if err != nil {
			continue // closed meanwhile
		}
		kind, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		address, _ := unix.Getsockname(fd)
		if in4, ok := address.(*unix.SockaddrInet4); ok && kind == unix.SOCK_DGRAM && in4.Port == port {
			if size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
				sizes = append(sizes, size)
			}
		}
		unix.Close(fd)
	}
	return sizes, nil
}

// RaiseFileLimit lets this process and those that it starts open as many files as they
// may: ten thousand connections are more than the usual limit.
func RaiseFileLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		// Setting it, even to what Go has raised it to, is what makes children inherit it.
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}

// FreePort is a TCP port of loopback that nobody else gets before this program's end.
func FreePort() (int, error) {
	port, _, err := porttest.TCPPort()
	return port, err
}
