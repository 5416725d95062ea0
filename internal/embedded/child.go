package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ebitengine/purego"
)

// childEnv marks a process as a child of this package.
const childEnv = "MILLRACE_EMBEDDED_CHILD"

// childSpec is what the parent tells the child: one line of JSON on its
// standard input, because arguments and environment can be read by others.
type childSpec struct {
	Library  string
	Args     []string
	Native   string // address of the native listener
	Admin    string
	Password string
	// StopSeconds is how long a clean stop may take once the parent is gone.
	StopSeconds float64
}

// lifeLine is the query that keeps the server up. default may do nothing but
// this (and SYSTEM LISTEN). It runs with the settings of profile default, where
// a time limit would stop the whole server.
const lifeLine = "SELECT count() FROM system.numbers WHERE sleepEachRow(0.5) SETTINGS max_block_size=1, max_execution_time=0"

// lifeLineCondition finds the life line in system.processes: only the process's
// own session has an empty user.
const lifeLineCondition = "user = '' AND query LIKE 'SELECT count() FROM system.numbers WHERE sleepEachRow(%'"

// RunChildIfAsked runs the ClickHouse server and does not return, when this
// process was started for that; otherwise it returns at once. main() and
// TestMain call it first.
func RunChildIfAsked() {
	if os.Getenv(childEnv) == "" {
		return
	}
	// The parent stops the child by closing its standard input. Signals meant
	// for the parent (Ctrl-C, a service manager that signals the whole group)
	// must not end ClickHouse before the parent has drained into it.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	if err := runChild(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runChild(stdin io.Reader) error {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("cannot read what to start: %w", err)
	}
	var spec childSpec
	if err := json.Unmarshal(line, &spec); err != nil {
		return fmt.Errorf("cannot read what to start: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, in) // ends when the parent closes it or dies
		stopServer(spec)
	}()
	return runServer(spec.Library, spec.Args)
}

// runServer calls libchdb's command line entry, which returns when the server
// has shut down.
func runServer(library string, args []string) error {
	runtime.LockOSThread()
	lib, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("cannot load %q: %w", library, err)
	}
	for _, name := range []string{"chdb_result_error", "chdb_query_cmdline"} {
		symbol, err := purego.Dlsym(lib, name)
		if err != nil {
			return fmt.Errorf("cannot use %q: it has no %s: %w", library, name, err)
		}
		if name == "chdb_query_cmdline" {
			if err := surviveConnectionErrors(library, symbol); err != nil {
				fmt.Fprintf(os.Stderr, "ClickHouse will end at the first broken connection: %v\n", err)
			}
		}
	}
	var queryCmdline func(argc int32, argv unsafe.Pointer) uintptr
	var resultError func(result uintptr) string
	purego.RegisterLibFunc(&queryCmdline, lib, "chdb_query_cmdline")
	purego.RegisterLibFunc(&resultError, lib, "chdb_result_error")

	argv := make([]*byte, len(args)+1) // the last one stays NULL
	var pinner runtime.Pinner          // C keeps argv for as long as it runs
	defer pinner.Unpin()
	for i, arg := range args {
		text := append([]byte(arg), 0)
		pinner.Pin(&text[0])
		argv[i] = &text[0]
	}
	pinner.Pin(&argv[0])
	result := queryCmdline(int32(len(args)), unsafe.Pointer(&argv[0]))
	if result == 0 {
		return nil
	}
	if text := resultError(result); text != "" { // the only sign of a failed start
		return fmt.Errorf("ClickHouse: %s", text)
	}
	return nil
}

// stopServer kills the life line, so that the server shuts down cleanly, and
// the whole process when that takes too long.
func stopServer(spec childSpec) {
	deadline := time.Now().Add(time.Duration(spec.StopSeconds * float64(time.Second)))
	for time.Now().Before(deadline) {
		if err := killLifeLine(spec); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond) // not listening yet, or refusing under load
	}
	time.Sleep(time.Until(deadline))
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func killLifeLine(spec childSpec) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	db, err := openNative(spec.Native, Credentials{User: spec.Admin, Password: spec.Password})
	if err != nil {
		return err
	}
	defer db.Close()
	// All queries: the server waits for those that run when its own has ended.
	return db.Exec(ctx, "KILL QUERY WHERE query NOT LIKE 'KILL QUERY%' ASYNC")
}

func openNative(address string, c Credentials) (clickhouse.Conn, error) {
	return clickhouse.Open(&clickhouse.Options{
		Addr:         []string{address},
		Auth:         clickhouse.Auth{Username: c.User, Password: c.Password},
		DialTimeout:  time.Second,
		MaxOpenConns: 1,
		MaxIdleConns: 1,
	})
}
