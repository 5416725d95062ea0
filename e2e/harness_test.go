package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/internal/embedded"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	embedded.RunChildIfAsked() // of the tests that have a ClickHouse of their own
	flag.Parse()
	if n := flag.Lookup("test.parallel").Value; runtime.GOMAXPROCS(0) > stacks && n.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = n.Set(strconv.Itoa(stacks))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "millrace-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "millrace")
		build := exec.Command("go", append(buildArgs, "-o", binary, "millrace")...)
		build.Env = append(os.Environ(), buildEnv)
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot build the program:", err)
			return 1
		}
		root, err := filepath.Abs("..")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if os.Getenv("MILLRACE_LIBCHDB") == "" {
			os.Setenv("MILLRACE_LIBCHDB", filepath.Join(root, ".tools/libchdb/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"))
		}
		return m.Run()
	}())
}

// stacks is how many run at a time, unless -parallel says otherwise: each is a
// ClickHouse that takes what memory it may have.
const stacks = 3

// patience bounds every wait for something that must happen: it is long because
// the machines are slow, and no test passes sooner for it.
const patience = 90 * time.Second

// process is a running `millrace`.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	data string
	// auditAs is a configuration for the audit whose user may ask Kafka more than the process's.
	auditAs string
	addr    map[string]string // from the ready line
	mu      sync.Mutex
	output  bytes.Buffer
	exited  chan struct{}
	ready   <-chan string
	err     error
}

// up starts `millrace up` on free ports with the data directory and waits for
// its ready line.
func up(t *testing.T, data string, args ...string) *process {
	t.Helper()
	all := append([]string{"up", "--data", data}, freePorts(args)...)
	p := start(t, append(all, args...)...)
	p.data = data
	p.waitReady()
	return p
}

// freePorts asks for a free port for every listener that args do not name.
func freePorts(args []string) []string {
	var ports []string
	for _, flag := range []string{"--syslog-udp", "--syslog-tcp", "--kafka", "--clickhouse-native", "--clickhouse-http", "--http", "--api"} {
		named := false
		for _, a := range args {
			named = named || a == flag || strings.HasPrefix(a, flag+"=")
		}
		if !named {
			ports = append(ports, flag, "127.0.0.1:0")
		}
	}
	return ports
}

// start runs the program; the test's end ends it.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(binary, args...))
}

// startCommand is start for who has more to say about it.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, addr: map[string]string{}, exited: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w := io.Pipe()
	p.cmd.Stdout = w
	p.cmd.Stderr = locked{p}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{}) // all of its output
	go func() {
		p.err = p.cmd.Wait()
		w.Close()
		<-read
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if strings.Contains(p.text(), "WARNING: DATA RACE") {
			t.Error("the race detector has found something")
		}
		if t.Failed() {
			t.Logf("output of millrace %s:\n%s", strings.Join(cmd.Args[1:], " "), p.text())
		}
	})
	ready := make(chan string, 1)
	go func() {
		defer close(read)
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintln(locked{p}, s.Text())
			if strings.HasPrefix(s.Text(), "ready ") {
				select {
				case ready <- s.Text():
				default:
					fmt.Fprintln(locked{p}, "the line above came twice")
				}
			}
		}
		close(ready)
	}()
	p.ready = ready
	return p
}

// locked collects output.
type locked struct{ p *process }

func (l locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.p.output.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *process) waitReady() {
	p.t.Helper()
	select {
	case line, ok := <-p.ready:
		if !ok {
			<-p.exited
			p.t.Fatalf("millrace ended before it was ready: %v\n%s", p.err, p.text())
		}
		for _, pair := range strings.Fields(line)[1:] {
			key, value, _ := strings.Cut(pair, "=")
			p.addr[key] = value
		}
	case <-time.After(patience):
		p.t.Fatalf("millrace is not ready after %v:\n%s", patience, p.text())
	}
}

// signal sends s and waits for the end, whose exit code it returns.
func (p *process) signal(s syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("millrace did not end within %v", patience)
		return -1
	}
}

// run runs a command of the program to its end.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// reader is the read-only user of the process's ClickHouse.
func (p *process) reader() (user, password string) {
	p.t.Helper()
	line, err := os.ReadFile(filepath.Join(p.data, "clickhouse-reader"))
	if err != nil {
		p.t.Fatal(err)
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(line)), ":")
	if !ok {
		p.t.Fatalf("clickhouse-reader holds %q, not user:password", line)
	}
	return user, password
}

// query asks ClickHouse over HTTP and returns rows of tab-separated values.
func (p *process) query(sql string) [][]string {
	p.t.Helper()
	rows, err := p.tryQuery(sql)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, sql)
	}
	return rows
}

func (p *process) tryQuery(sql string) ([][]string, error) {
	user, password := p.reader()
	req, err := http.NewRequest(http.MethodPost, "http://"+p.addr["clickhouse_http"]+"/?"+url.Values{
		"database": {"millrace"}, "default_format": {"TabSeparated"},
	}.Encode(), strings.NewReader(sql))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(user, password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ClickHouse answers %s: %s", res.Status, body)
	}
	var rows [][]string
	for line := range strings.Lines(string(body)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}

// value is the single value of a query.
func (p *process) value(sql string) string {
	p.t.Helper()
	rows := p.query(sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		p.t.Fatalf("%s\nhas rows %q, want one value", sql, rows)
	}
	return rows[0][0]
}

func (p *process) count(sql string) int {
	p.t.Helper()
	n, err := strconv.Atoi(p.value(sql))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// eventually waits until the query's single value is want.
func (p *process) eventually(want, sql string) {
	p.t.Helper()
	var got [][]string
	until(p.t, fmt.Sprintf("%s = %s", sql, want), func() bool {
		var err error
		got, err = p.tryQuery(sql)
		return err == nil && len(got) == 1 && len(got[0]) == 1 && got[0][0] == want
	}, func() string { return fmt.Sprint(got) })
}

// until waits for a condition; last tells what stood in its way.
func until(t *testing.T, what string, ok func() bool, last func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not come about within %v: %s; last seen: %s", patience, what, last())
		}
	}
}

// get reads a page of the operations HTTP server.
func (p *process) get(path string) (body string, code int) {
	p.t.Helper()
	res, err := http.Get("http://" + p.addr["http"] + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text), res.StatusCode
}

// metric is the sum of the samples of a metric whose labels contain all of with.
func (p *process) metric(name string, with ...string) float64 {
	p.t.Helper()
	body, _ := p.get("/metrics")
	return sumOf(p.t, body, name, with...)
}

// sumOf is the same of a page of metrics.
func sumOf(t *testing.T, body, name string, with ...string) float64 {
	t.Helper()
	var total float64
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		all := true
		for _, label := range with {
			all = all && strings.Contains(rest, label)
		}
		if !all {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		total += v
	}
	return total
}

// needs finds a program that the tests drive, and says where it comes from.
func needs(t *testing.T, name, from string, places ...string) string {
	t.Helper()
	for _, place := range places {
		if path, err := filepath.Abs(place); err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: %s", name, from)
	}
	return path
}
