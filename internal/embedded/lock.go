package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A dirLock is held as long as any copy of its file is open: the ClickHouse
// child inherits one, so that a parent's death alone does not free the
// directory while the child still writes to it.
type dirLock struct{ file *os.File }

// DirInUseError says that another process has the data directory.
type DirInUseError struct {
	Dir string
	PID int
}

func (e *DirInUseError) Error() string {
	return fmt.Sprintf("cannot use data directory %q: process %d uses it; stop that one or choose another with --data", e.Dir, e.PID)
}

// lockDir locks dir for this process. wait bounds how long a lock is waited for
// whose owner is dead: its ClickHouse child is about to follow.
func lockDir(ctx context.Context, dir string, wait time.Duration) (*dirLock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock data directory %q: %w", dir, err)
	}
	deadline := time.Now().Add(wait)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("cannot lock data directory %q: %w", dir, err)
		}
		owner := lockOwner(path)
		if processAlive(owner) || time.Now().After(deadline) {
			f.Close()
			return nil, &DirInUseError{Dir: dir, PID: owner}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot lock data directory %q: %w", dir, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot write %q: %w", path, err)
		}
	}
	return &dirLock{file: f}, nil
}

func (l *dirLock) unlock() {
	if l != nil {
		l.file.Close()
	}
}

func lockOwner(path string) int {
	text, _ := os.ReadFile(path)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func processAlive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
