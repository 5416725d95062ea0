package main

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"millrace/internal/kafkatest"
)

// host is the test that kafkatest asks for, in a program that is none: it ends what was
// started, and a failure ends the run.
type host struct {
	testing.TB // what it does not have
	log        io.Writer

	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

// fatal is what a failure of kafkatest panics with.
type fatal struct{ error }

func (h *host) Helper()                      {}
func (h *host) Logf(format string, a ...any) { fmt.Fprintf(h.log, format+"\n", a...) }
func (h *host) Fatalf(format string, a ...any) {
	h.mu.Lock()
	h.failed = true
	h.mu.Unlock()
	panic(fatal{fmt.Errorf(format, a...)})
}
func (h *host) Fatal(a ...any) { h.Fatalf("%s", fmt.Sprint(a...)) }

func (h *host) Failed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

func (h *host) Cleanup(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cleanups = append(h.cleanups, f)
}

// close does the cleanups, the last first.
func (h *host) close() {
	for i := len(h.cleanups) - 1; i >= 0; i-- {
		h.cleanups[i]()
	}
}

// guard makes an error of a failure of kafkatest.
func guard(err *error) {
	switch f := recover().(type) {
	case nil:
	case fatal:
		*err = f.error
	default:
		panic(f)
	}
}

func startKafka(h *host) (c *kafkatest.Cluster, err error) {
	defer guard(&err)
	return kafkatest.Start(h, kafkatest.Options{Nodes: brokers}), nil
}
