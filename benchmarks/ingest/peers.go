package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"millrace/benchmarks/process"
	"millrace/internal/porttest"
)

// The peers' names.
const ours, rsyslog, syslogng = "millrace", "rsyslog", "syslog-ng"

// topic is where rsyslog and syslog-ng write to; ours has one for each kind.
const (
	topic    = "bench"
	ourTopic = "bench.message"
)

// setup is what a peer is configured for.
type setup struct {
	network     string // tcp, udp
	port        int
	broker      string
	codec       string // of Kafka's record batches; "": the peer's own default
	connections int    // that it must be able to hold
	http        string // ours only: the address of its metrics and profiles, or off
}

// peerProgram is a program that takes syslog and writes to Kafka.
type peerProgram struct {
	name    string
	topic   string
	program string // path; "" when it is not installed
	version string
	absent  string // why it takes no part, and what would change that

	// command writes the configuration into dir and returns the command that runs it.
	command func(p *peerProgram, dir string, s setup) (*exec.Cmd, error)
	env     []string
}

// findPeers looks for the programs: ours at a path, the others unpacked under tools or
// installed on the machine.
func findPeers(millrace, tools string) []*peerProgram {
	lib := filepath.Join(tools, "usr/lib/x86_64-linux-gnu")
	us := &peerProgram{name: ours, topic: ourTopic, program: millrace, command: ourCommand}
	rs := &peerProgram{name: rsyslog, topic: topic, command: rsyslogCommand}
	ng := &peerProgram{name: syslogng, topic: topic, command: syslogngCommand}

	if path := filepath.Join(tools, "usr/sbin/rsyslogd"); exists(path) {
		rs.program, rs.env = path, []string{"LD_LIBRARY_PATH=" + lib}
	} else if path, err := exec.LookPath("rsyslogd"); err == nil {
		rs.program = path
	} else {
		rs.absent = "not installed: `make debian` unpacks Debian's packages rsyslog and rsyslog-kafka under .tools"
	}
	if path := filepath.Join(tools, "usr/sbin/syslog-ng"); exists(path) {
		ng.program, ng.env = path, []string{"LD_LIBRARY_PATH=" + lib + ":" + filepath.Join(tools, "usr/lib/syslog-ng")}
	} else if path, err := exec.LookPath("syslog-ng"); err == nil {
		ng.program = path
	} else {
		ng.absent = "not installed: `make debian` unpacks Debian's packages syslog-ng-core and syslog-ng-mod-rdkafka under .tools"
	}

	peers := []*peerProgram{us, rs, ng}
	for _, p := range peers {
		if p.program == "" {
			continue
		}
		var err error
		if p.version, err = p.askVersion(); err != nil {
			p.absent = err.Error()
		}
	}
	return peers
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

var versionNumber = regexp.MustCompile(`\d+\.[\d.]*\d`)

// askVersion is the first thing that looks like a version in what the program says of itself.
func (p *peerProgram) askVersion() (string, error) {
	argument := map[string]string{ours: "version", rsyslog: "-v", syslogng: "--version"}[p.name]
	cmd := exec.Command(p.program, argument)
	cmd.Env = append(os.Environ(), p.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s does not run: %w: %s", p.program, err, out)
	}
	if p.name == ours { // "millrace VERSION", which may be a commit
		first, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(strings.TrimPrefix(first, ours)), nil
	}
	return versionNumber.FindString(string(out)), nil
}

// run starts the peer and returns when it listens.
func (p *peerProgram) run(dir string, s setup) (*process.Process, error) {
	cmd, err := p.command(p, dir, s)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), p.env...)
	proc, err := process.Start(p.name, dir, cmd)
	if err != nil {
		return nil, err
	}
	if err := proc.Await("listening", 15*time.Second, func() bool { return listening(s.network, s.port) }); err != nil {
		proc.Stop()
		return nil, err
	}
	if s.network == "udp" {
		// Ours finds out whether the port is free before it opens the sockets that share it.
		time.Sleep(100 * time.Millisecond)
	}
	return proc, nil
}

// ourCommand is `millrace ingest` with its default settings but for the addresses, the
// frame's end, and the format pair that the filter was given.
func ourCommand(p *peerProgram, dir string, s setup) (*exec.Cmd, error) {
	codec := ""
	if s.codec != "" {
		codec = ", compression: " + s.codec
	}
	sockets := ""
	if s.network == "udp" {
		// Two sockets of half the buffer: as much in all as the others have.
		sockets = ", sockets: 2, receive_buffer: 2MiB"
	}
	if s.http == "" {
		s.http = "off"
	}
	config := fmt.Sprintf(`listeners:
  - {name: bench, address: "%s://127.0.0.1:%d", framing: lf, formats: [m1, s1], max_connections: %d%s}
kafka: {brokers: ["%s"], topic_prefix: "bench."%s}
http: {ingest: "%s"}
`, s.network, s.port, max(1024, s.connections+1), sockets, s.broker, codec, s.http)
	file, err := write(dir, "millrace.yaml", config)
	return exec.Command(p.program, "ingest", "--config", file), err
}

// rsyslogCommand forwards the text of a message as it came. Over TCP its own main queue
// was as fast as larger ones with more or fewer workers; over UDP a large one holds
// more of a burst.
func rsyslogCommand(p *peerProgram, dir string, s setup) (*exec.Cmd, error) {
	input := fmt.Sprintf(`module(load="imptcp" threads="2")
input(type="imptcp" address="127.0.0.1" port="%d" socketBacklog="4096" ruleset="kafka")`, s.port)
	if s.network == "udp" {
		input = fmt.Sprintf(`main_queue(queue.size="200000" queue.dequeueBatchSize="2048" queue.workerThreads="2")
module(load="imudp" threads="2" batchSize="128" timeRequery="8")
input(type="imudp" address="127.0.0.1" port="%d" rcvbufSize="4m" ruleset="kafka")`, s.port)
	}
	codec := s.codec
	if codec == "" {
		codec = "lz4"
	}
	config := fmt.Sprintf(`global(workDirectory="%s")
module(load="omkafka")
template(name="raw" type="string" string="%%rawmsg%%")
%s
ruleset(name="kafka") {
  action(type="omkafka" broker="%s" topic="%s" template="raw" partitions.auto="on"
    confParam=["compression.codec=%s", "queue.buffering.max.messages=500000"])
}
`, dir, input, s.broker, topic, codec)
	file, err := write(dir, "rsyslog.conf", config)
	cmd := exec.Command(p.program, "-n", "-f", file, "-i", filepath.Join(dir, "pid"), "-C")
	if root, ok := strings.CutSuffix(p.program, "/usr/sbin/rsyslogd"); ok && root != "" {
		cmd.Args = append(cmd.Args, "-M", filepath.Join(root, "usr/lib/x86_64-linux-gnu/rsyslog"))
	}
	return cmd, err
}

// syslogngCommand forwards the text of a message without parsing it.
func syslogngCommand(p *peerProgram, dir string, s setup) (*exec.Cmd, error) {
	limits := fmt.Sprintf("listen-backlog(4096) max-connections(%d) log-iw-size(%d)", max(10, s.connections+1), 100*max(100, s.connections+1))
	if s.network == "udp" {
		limits = "so-rcvbuf(4194304)"
	}
	codec := s.codec
	if codec == "" {
		codec = "lz4"
	}
	config := fmt.Sprintf(`@version: 3.38
options { threaded(yes); stats-freq(0); log-fifo-size(2000000); log-msg-size(65536); };
source s { network(ip("127.0.0.1") port(%d) transport("%s") flags(no-parse) %s); };
destination d { kafka-c(bootstrap-servers("%s") topic("%s") message("$MESSAGE") workers(2)
  config(compression.codec("%s") queue.buffering.max.messages("500000"))); };
log { source(s); destination(d); flags(flow-control); };
`, s.port, s.network, limits, s.broker, topic, codec)
	file, err := write(dir, "syslog-ng.conf", config)
	in := func(name string) string { return filepath.Join(dir, name) }
	cmd := exec.Command(p.program, "-F", "--no-caps", "-f", file, "--persist-file="+in("persist"), "--pidfile="+in("pid"), "--control="+in("control"))
	if root, ok := strings.CutSuffix(p.program, "/usr/sbin/syslog-ng"); ok && root != "" {
		cmd.Args = append(cmd.Args, "--module-path="+filepath.Join(root, "usr/lib/syslog-ng/3.38"))
	}
	return cmd, err
}

func write(dir, name, text string) (string, error) {
	file := filepath.Join(dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// listening tells whether a port of the loopback interface is taken. It looks instead
// of trying: a port that is tried is taken for a moment, perhaps the one in which the
// peer wants it.
func listening(network string, port int) bool {
	b, err := os.ReadFile("/proc/net/" + network)
	if err != nil {
		return false
	}
	const listen = "0A" // TCP_LISTEN; a UDP socket has no such state
	address := fmt.Sprintf("0100007F:%04X", port)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == address && (network == "udp" || f[3] == listen) {
			return true
		}
	}
	return false
}

// freePort is a port that nobody else gets before this program's end.
func freePort(network string) (int, error) {
	if network == "udp" {
		port, _, err := porttest.UDPPort()
		return port, err
	}
	return process.FreePort()
}
