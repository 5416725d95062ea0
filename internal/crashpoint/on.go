//go:build crashpoints

package crashpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	dir    = os.Getenv("MILLRACE_CRASHPOINTS")
	mutex  sync.Mutex
	passed = map[string]int{} // how often an armed point was come by
)

// At dies if the point is armed and this is the time.
func At(point string) {
	if now(point) {
		Die()
	}
}

// Half is At for who has something to send before it dies: the first half of pieces.
func Half(point string, pieces [][]byte) (first [][]byte, due bool) {
	if !now(point) {
		return nil, false
	}
	left := 0
	for _, p := range pieces {
		left += len(p)
	}
	left /= 2
	for _, p := range pieces {
		n := min(len(p), left)
		first, left = append(first, p[:n]), left-n
	}
	return first, true
}

// Die is kill -9 by one's own hand.
func Die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// ReconcileAfter is what MILLRACE_RECONCILE_AFTER says: a test with short times for all
// else need not wait a minute.
func ReconcileAfter() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("MILLRACE_RECONCILE_AFTER"))
	return d
}

func now(point string) bool {
	if !slices.Contains(Points, point) {
		fmt.Fprintf(os.Stderr, "crashpoint: %q is not one of Points\n", point)
		os.Exit(3)
	}
	file := filepath.Join(dir, point)
	text, err := os.ReadFile(file)
	if dir == "" || err != nil {
		return false // not armed
	}
	mutex.Lock()
	defer mutex.Unlock()
	passed[point]++
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || passed[point] < n {
		return false
	}
	return os.Remove(file) == nil
}
