package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ClickHouseOptions say how to start a ClickHouse. Only DataDir is required.
type ClickHouseOptions struct {
	// DataDir is the stack's data directory; ClickHouse takes DataDir/clickhouse
	// and writes DataDir/clickhouse-reader.
	DataDir string
	// Native and HTTP are HOST:PORT (port 0: any free port) or Off. Default:
	// 127.0.0.1:0. The pipeline needs the native protocol: a Native that is Off
	// is still served on a loopback port, which only NativeAddr tells.
	Native, HTTP string
	// Databases that the pipeline's user may create and the reader may read;
	// "name*" stands for all that begin so. Default: millrace.
	Databases []string
	// Library is the path of libchdb; by default FindLibrary looks for it.
	Library string
	// KafkaEngine lets the pipeline's user make tables of ClickHouse's Kafka engine, for
	// benchmarks beside it. The server can then connect to where it likes, so that the
	// kernel does not confine it, and it is served on loopback alone.
	KafkaEngine bool
	// Cluster, for tests, lets the server connect to the others of a cluster.
	Cluster *Cluster
	// MemoryBytes bounds the server's memory. Default: half of the machine's.
	MemoryBytes int64
	// StartTimeout bounds the start, the wait for a dying predecessor included
	// (default 60 s); StopTimeout bounds a clean stop before the child is killed
	// (default 15 s).
	StartTimeout, StopTimeout time.Duration
	Logger                    *slog.Logger
}

// ClickHouse is a running server.
type ClickHouse struct {
	// NativeAddr and HTTPAddr are where clients of this machine reach it;
	// HTTPAddr is empty when the HTTP listener is off.
	NativeAddr, HTTPAddr string
	// Admin is for the pipeline: migrations, inserts, KILL QUERY.
	Admin Credentials
	// Reader can only read; ReaderFile is where its user and password stand.
	Reader     Credentials
	ReaderFile string
	// Library is the libchdb in use.
	Library string
	// Confined says that the kernel keeps the server within its own files and
	// ports. Without that, whoever has a password can read, with the SQL function
	// file(), what this process can read.
	Confined bool

	log         *slog.Logger
	lock        *dirLock
	relays      []*relay
	child       *child
	stopTimeout time.Duration
	exited      chan error
	stopping    chan struct{} // closed when Stop is called
	ended       chan struct{} // closed when all is gone: process, relays, lock
	stopOnce    sync.Once
}

// predecessorWait bounds the wait for a killed predecessor's lock.
const predecessorWait = 30 * time.Second

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\*?$`)

func (o *ClickHouseOptions) setDefaults() error {
	if o.DataDir == "" {
		return errors.New("cannot start ClickHouse: no data directory given")
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return fmt.Errorf("cannot start ClickHouse: %w", err)
	}
	o.DataDir = dir
	if o.Native == "" {
		o.Native = "127.0.0.1:0"
	}
	if o.HTTP == "" {
		o.HTTP = "127.0.0.1:0"
	}
	if len(o.Databases) == 0 {
		o.Databases = []string{"millrace"}
	}
	for _, db := range o.Databases {
		if !databaseName.MatchString(db) {
			return fmt.Errorf("cannot start ClickHouse: database name %q: want letters, digits and _", db)
		}
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = min(max(physicalMemory()/2, 768<<20), 16<<30)
	}
	if o.MemoryBytes < 512<<20 {
		return fmt.Errorf("cannot start ClickHouse: %d bytes of memory; it needs at least %d", o.MemoryBytes, 512<<20)
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 60 * time.Second
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// StartClickHouse returns when the server answers on its listeners. ctx bounds
// the start alone; the server runs until Stop or until it fails.
func StartClickHouse(ctx context.Context, o ClickHouseOptions) (*ClickHouse, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	library, err := FindLibrary(o.Library)
	if err != nil {
		return nil, err
	}
	listeners, err := planListeners(o.Native, o.HTTP)
	if err != nil {
		return nil, err
	}
	if o.KafkaEngine && listeners.beyondLoopback() {
		return nil, fmt.Errorf("cannot serve ClickHouse on %q and %q: with the Kafka engine it is not confined, and is for loopback alone", o.Native, o.HTTP)
	}
	if o.Cluster != nil {
		if _, err := o.Cluster.addresses(); err != nil {
			return nil, err
		}
		if listeners.beyondLoopback() {
			return nil, fmt.Errorf("cannot serve ClickHouse on %q and %q: a cluster is for loopback alone", o.Native, o.HTTP)
		}
	}
	if !canConfine() {
		if listeners.beyondLoopback() {
			return nil, fmt.Errorf("cannot serve ClickHouse on %q and %q: beyond loopback it must be confined by the kernel (Landlock, Linux 5.19 or newer), because its users could read files of this machine otherwise", o.Native, o.HTTP)
		}
		o.Logger.Warn("the kernel cannot confine the embedded ClickHouse (Landlock, Linux 5.19 or newer): users who have its passwords can read files of this machine through it")
	}
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()

	config := &serverConfig{dir: filepath.Join(o.DataDir, "clickhouse"), databases: o.Databases, memory: o.MemoryBytes, kafkaEngine: o.KafkaEngine, cluster: o.Cluster}
	for _, dir := range []string{config.dir, config.dataPath(), config.logDir()} {
		if err := privateDir(dir); err != nil {
			return nil, err
		}
	}
	lock, err := lockDir(ctx, config.dir, predecessorWait)
	if err != nil {
		return nil, err
	}
	ch := &ClickHouse{
		Library: library, Confined: canConfine() && !o.KafkaEngine, ReaderFile: filepath.Join(o.DataDir, "clickhouse-reader"),
		log: o.Logger, lock: lock, stopTimeout: o.StopTimeout,
		exited: make(chan error, 1), stopping: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := ch.start(ctx, config, listeners); err != nil {
		ch.closeRelays()
		lock.unlock()
		return nil, err
	}
	go ch.watch()
	return ch, nil
}

func (ch *ClickHouse) start(ctx context.Context, config *serverConfig, l *listeners) (err error) {
	if config.admin, err = loadCredentials(filepath.Join(config.dir, "admin"), "millrace"); err != nil {
		return err
	}
	if config.reader, err = loadCredentials(ch.ReaderFile, "reader"); err != nil {
		return err
	}
	ch.Admin, ch.Reader = config.admin, config.reader

	for attempt := 1; ; attempt++ {
		if err := l.pick(config); err != nil {
			return err
		}
		child, err := startServer(ctx, ch, config)
		if err == nil {
			ch.child = child
			break
		}
		if !l.retry(err, attempt) {
			return err
		}
		ch.log.Debug("ClickHouse did not start, trying again", "attempt", attempt, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
	if text := ch.child.output.String(); text != "" {
		ch.log.Warn("ClickHouse started with a warning", "warning", text)
	}
	ch.NativeAddr, err = ch.serve("clickhouse-native", l.native, config.native)
	if err == nil && l.http != nil {
		ch.HTTPAddr, err = ch.serve("clickhouse-http", *l.http, config.http)
	}
	if err != nil {
		ch.child.kill()
	}
	return err
}

// serve makes the server reachable where it was asked for and returns that
// address.
func (ch *ClickHouse) serve(listener string, asked, served hostPort) (string, error) {
	if asked.host == served.host {
		return served.dialable().String(), nil
	}
	r, err := startRelay(listener, asked, served.dialable().String(), ch.log)
	if err != nil {
		return "", err
	}
	ch.relays = append(ch.relays, r)
	return r.addr.dialable().String(), nil
}

func (ch *ClickHouse) closeRelays() {
	for _, r := range ch.relays {
		r.close()
	}
}

// startServer writes the configuration, starts the child and waits until the
// life line runs: all listeners are open by then, and user default has used up
// its quota.
func startServer(ctx context.Context, ch *ClickHouse, config *serverConfig) (*child, error) {
	// Left from an earlier run, they make ClickHouse fail every second with
	// "Directory for table data already exists".
	if err := os.RemoveAll(filepath.Join(config.dataPath(), "data", "system")); err != nil {
		return nil, fmt.Errorf("cannot remove stale system tables: %w", err)
	}
	for path, text := range map[string][]byte{config.mainPath(): config.mainXML(), config.usersPath(): config.usersXML()} {
		if err := writePrivate(path, text); err != nil {
			return nil, fmt.Errorf("cannot write ClickHouse configuration: %w", err)
		}
	}
	native := config.native.dialable().String()
	var confine func() error
	if ch.Confined {
		confine = func() error { return confineThread(ch.confinement(config)) }
	}
	c, err := startChild(confine, ch.lock.file, config, childSpec{
		Library: ch.Library, Args: config.args(), Native: native,
		Admin: config.admin.User, Password: config.admin.Password,
		StopSeconds: ch.stopTimeout.Seconds(),
	})
	if err != nil {
		return nil, err
	}
	if err := c.waitForLifeLine(ctx, native, config.admin); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// Exited delivers one value when the server has ended, and is closed then: nil
// after Stop, else why.
func (ch *ClickHouse) Exited() <-chan error { return ch.exited }

// PID is the child's process id.
func (ch *ClickHouse) PID() int { return ch.child.cmd.Process.Pid }

// Stop ends the server cleanly, or kills it when ctx or StopTimeout ends first.
// It returns when the process is gone. More than one call is fine.
func (ch *ClickHouse) Stop(ctx context.Context) error {
	ch.stopOnce.Do(func() {
		close(ch.stopping)
		ch.closeRelays() // the server waits for its connections
		ch.child.stdin.Close()
	})
	timer := time.NewTimer(ch.stopTimeout)
	defer timer.Stop()
	select {
	case <-ch.ended:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	ch.child.kill()
	<-ch.ended
	return fmt.Errorf("cannot stop ClickHouse cleanly within %v: killed it (nothing inserted is lost)", ch.stopTimeout)
}

func (ch *ClickHouse) watch() {
	<-ch.child.done
	ch.closeRelays()
	ch.lock.unlock()
	select {
	case <-ch.stopping:
	default:
		ch.exited <- fmt.Errorf("ClickHouse ended by itself: %w", ch.child.failure())
	}
	close(ch.exited)
	close(ch.ended)
}

// child is a running child process.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	output *tailBuffer
	done   chan struct{} // closed when the process is gone and err is set
	err    error
}

// startChild starts this binary again as a ClickHouse server. confine, unless it
// is nil, is called on the thread that starts it.
func startChild(confine func() error, lock *os.File, config *serverConfig, spec childSpec) (*child, error) {
	line, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("cannot start ClickHouse: %w", err)
	}
	exe, err := ownExecutable()
	if err != nil {
		return nil, fmt.Errorf("cannot start ClickHouse: %w", err)
	}
	c := &child{cmd: exec.Command(exe), output: &tailBuffer{}, done: make(chan struct{})}
	c.cmd.Args = []string{"millrace-clickhouse"}
	c.cmd.Dir = config.dataPath()
	// The environment may hold secrets, and the server needs none of it.
	c.cmd.Env = []string{childEnv + "=clickhouse", "PATH=" + os.Getenv("PATH"), "HOME=" + config.dataPath(), "TMPDIR=" + config.dataPath(), "TZ=UTC", "LANG=C.UTF-8", "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH")}
	c.cmd.ExtraFiles = []*os.File{lock}
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	c.cmd.SysProcAttr = childAttributes()
	c.cmd.WaitDelay = 5 * time.Second
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start ClickHouse: %w", err)
	}
	c.stdin = stdin

	started := make(chan error, 1)
	go func() {
		// The kernel kills the child when the thread that started it ends, so
		// this goroutine keeps its thread until the child is gone. It never
		// unlocks it: the thread is confined, and ends with the goroutine.
		runtime.LockOSThread()
		var err error
		if confine != nil {
			err = confine()
		}
		if err == nil {
			err = c.cmd.Start()
		}
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start ClickHouse: %w", err)
	}
	if _, err := stdin.Write(append(line, '\n')); err != nil {
		c.kill()
		return nil, fmt.Errorf("cannot start ClickHouse: %w", c.failure())
	}
	return c, nil
}

// kill ends the child's whole process group at once and waits for it.
func (c *child) kill() {
	select {
	case <-c.done:
		return
	default:
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
}

// failure says why the child, which is gone, has ended.
func (c *child) failure() error {
	text := c.output.String()
	if text == "" && c.err != nil {
		return c.err
	}
	return errors.New(text)
}

func (c *child) waitForLifeLine(ctx context.Context, native string, admin Credentials) error {
	db, err := openNative(native, admin)
	if err != nil {
		return fmt.Errorf("cannot connect to ClickHouse: %w", err)
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-c.done:
			return fmt.Errorf("cannot start ClickHouse: %w", c.failure())
		case <-ctx.Done():
			return fmt.Errorf("cannot start ClickHouse: %w (last error: %v)", ctx.Err(), last)
		case <-tick.C:
		}
		var n uint64
		query, cancel := context.WithTimeout(ctx, 5*time.Second)
		last = db.QueryRow(query, "SELECT count() FROM system.processes WHERE "+lifeLineCondition).Scan(&n)
		cancel()
		if last == nil && n > 0 {
			return nil
		}
	}
}

// tailBuffer keeps the end of what a process writes.
type tailBuffer struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String leaves out the stack traces and the notice of the log's place.
func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var kept []string
	for _, line := range strings.Split(string(bytes.TrimSpace(t.text)), "\n") {
		if stackLine.MatchString(line) || strings.HasPrefix(line, "Logging ") || strings.TrimSpace(line) == "" {
			continue
		}
		line, _, _ = strings.Cut(line, ", Stack trace (when copying")
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n")
}

var stackLine = regexp.MustCompile(`^\s*\d+\. .* @ 0x|^ \(version `)
