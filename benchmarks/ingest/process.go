package main

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

	"golang.org/x/sys/unix"
)

// process is a running peer.
type process struct {
	cmd    *exec.Cmd
	name   string
	log    string // file of what it says
	exited chan struct{}
}

// start runs a command whose output goes into a file. It ends with this process.
func start(name, dir string, cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, name: name, log: filepath.Join(dir, "log"), exited: make(chan struct{})}
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
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop ends the process: it has time to do so by itself.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// failed is an error that shows the end of what the process said.
func (p *process) failed(err error) error {
	said, _ := os.ReadFile(p.log)
	if lines := bytes.Split(bytes.TrimSpace(said), []byte("\n")); len(lines) > 10 {
		said = bytes.Join(lines[len(lines)-10:], []byte("\n"))
	}
	return fmt.Errorf("%s: %w; it said:\n%s", p.name, err, said)
}

// await asks until the condition holds, the process ends or the time is over.
func (p *process) await(what string, patience time.Duration, holds func() bool) error {
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.exited:
			return p.failed(errors.New("it ended by itself"))
		default:
		}
		if time.Now().After(end) {
			return p.failed(fmt.Errorf("%s did not happen within %v", what, patience))
		}
	}
	return nil
}

// cpu is the processor time that the process has used, user and kernel, in nanoseconds
// and not in the clock ticks of /proc/PID/stat.
func (p *process) cpu() (time.Duration, error) {
	// The id of another process's clock, as clock_getcpuclockid(3) makes it.
	const schedClock = 2
	clock := ^int32(p.cmd.Process.Pid)<<3 | schedClock
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("cannot read the processor time of %s: %w", p.name, err)
	}
	return time.Duration(t.Nano()), nil
}

// resetPeak makes peakRSS begin anew.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// peakRSS is the most resident memory since resetPeak, rss what is resident now.
func (p *process) peakRSS() (int64, error) { return p.status("VmHWM:") }
func (p *process) rss() (int64, error)     { return p.status("VmRSS:") }

func (p *process) status(key string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == key {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", p.cmd.Process.Pid, key)
}

// receiveBuffers are the effective receive buffers of the UDP sockets of a port, as
// getsockopt gives them: the kernel doubles what was asked for.
func (p *process) receiveBuffers(port int) ([]int, error) {
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

// raiseFileLimit lets this process and those that it starts open as many files as they
// may: ten thousand connections are more than the usual limit.
func raiseFileLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		// Setting it, even to what Go has raised it to, is what makes children inherit it.
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}
