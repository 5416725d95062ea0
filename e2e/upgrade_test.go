package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/internal/embedded"
)

// TestUpgrade restarts the ingester again and again under traffic, as an upgrade does, in
// both ways that lose nothing: with reuse_port the next process starts before the last one
// stops; with sockets of systemd, here of the test, it starts afterwards. Each connection
// is made and ended in order, and each frame of each connection and each datagram is
// received once and published.
func TestUpgrade(t *testing.T) {
	for _, mode := range []string{"reuse_port", "systemd"} {
		t.Run(mode, func(t *testing.T) {
			broker, err := embedded.StartBroker(embedded.BrokerOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(broker.Close)
			u := &upgrades{t: t, dir: t.TempDir(), broker: broker.Addr}
			u.run(mode)
		})
	}
}

type upgrades struct {
	t           *testing.T
	dir, broker string
	sent        atomic.Int64

	mu        sync.Mutex
	processes []*process
	ended     map[*process]account
}

// account is the last line of an ingester's log.
type account struct{ received, published, rejected, dropped int64 }

func (u *upgrades) run(mode string) {
	const connections, senders, datagrams, restarts = 20_000, 8, 200_000, 4
	t := u.t
	var next func() *process
	var tcp, udp string
	if mode == "reuse_port" {
		first := u.start(u.config("127.0.0.1:0", "127.0.0.1:0", true))
		tcp, udp = first.addr["syslog_tcp"], first.addr["syslog_udp"]
		config := u.config(tcp, udp, true)
		next = func() *process { return u.start(config) }
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tcp, udp = l.Addr().String(), c.LocalAddr().String()
		files := []*os.File{file(t, c), file(t, l)}
		l.Close()
		c.Close()
		config := u.config("127.0.0.1:0", "127.0.0.1:0", false)
		next = func() *process { return u.start(config, files...) }
		next()
	}

	var wg sync.WaitGroup
	stopped := make(chan struct{})
	defer wg.Wait()
	defer close(stopped)
	for i := range senders {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(20+i))}}
		wg.Go(func() {
			for n := range connections / senders {
				if err := oneFrame(&dialer, tcp, m1(testID(i*connections+n), "short")); err != nil {
					t.Error(err)
					return
				}
				u.sent.Add(1)
			}
		})
	}
	wg.Go(func() {
		c, err := net.Dial("udp", udp)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for n := range datagrams {
			// No faster than they are taken: what has come is asked each time that so many are open.
			for n%100 == 0 && u.sent.Load()-u.received() > 100 {
				select {
				case <-stopped:
					return
				case <-time.After(time.Millisecond):
				}
			}
			if _, err := c.Write([]byte(m1(testID(1_000_000+n), "datagram"))); err != nil {
				t.Error(err)
				return
			}
			u.sent.Add(1)
		}
	})
	const all = connections + datagrams
	for r := range restarts {
		until(t, "traffic goes on", func() bool { return t.Failed() || u.sent.Load() >= int64(all*(r+1)/(restarts+2)) },
			func() string { return fmt.Sprint(u.sent.Load(), " sent, ", u.received(), " received") })
		old := u.last()
		if mode == "reuse_port" {
			next()
			u.end(old)
		} else {
			u.end(old)
			next()
		}
	}
	until(t, "all is sent and received", func() bool { return t.Failed() || u.sent.Load() == all && u.received() == all },
		func() string { return fmt.Sprint(u.sent.Load(), " sent, ", u.received(), " received") })
	u.end(u.last())
	var sum account
	for _, a := range u.ended {
		sum.received += a.received
		sum.published += a.published
		sum.rejected += a.rejected
		sum.dropped += a.dropped
	}
	if sum != (account{received: all, published: all}) {
		t.Errorf("of %d frames: %+v", all, sum)
	}
}

// oneFrame is a connection that is made for one frame. Any reset is an error.
func oneFrame(d *net.Dialer, to, frame string) error {
	c, err := d.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(frame + "\x00")); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

func (u *upgrades) config(tcp, udp string, share bool) string {
	u.t.Helper()
	path := filepath.Join(u.dir, fmt.Sprintf("%d.yaml", time.Now().UnixNano()))
	text := fmt.Sprintf(`
listeners:
  - {name: tcp, address: "tcp://%s", framing: nul, reuse_port: %v}
  - {name: udp, address: "udp://%s", sockets: 1, reuse_port: %v}
kafka: {brokers: ["%s"]}
http: {ingest: "127.0.0.1:0"}
`, tcp, share, udp, share, u.broker)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
	return path
}

// start waits until the process serves. It passes files as systemd does.
func (u *upgrades) start(config string, files ...*os.File) *process {
	u.t.Helper()
	cmd := exec.Command(binary, "ingest", "--config", config)
	if len(files) > 0 {
		// The shell has the process id that the program has after exec.
		cmd = exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=udp:tcp; exec "$0" "$@"`, binary, "ingest", "--config", config)
		cmd.ExtraFiles = files
	}
	p := startCommand(u.t, cmd)
	p.waitReady()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.processes = append(u.processes, p)
	return p
}

func (u *upgrades) last() *process {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.processes[len(u.processes)-1]
}

var stoppedLine = regexp.MustCompile(`msg="ingester stopped" received=(\d+) published=(\d+) rejected=(\d+) dropped=(\d+) in_flight=0`)

// end stops a process and keeps its account.
func (u *upgrades) end(p *process) {
	u.t.Helper()
	if code := p.signal(syscall.SIGTERM); code != 0 {
		u.t.Errorf("exit code %d", code)
	}
	m := stoppedLine.FindStringSubmatch(p.text())
	if m == nil {
		u.t.Fatal("no account in the log")
	}
	n := make([]int64, 4)
	for i := range n {
		n[i], _ = strconv.ParseInt(m[1+i], 10, 64)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended == nil {
		u.ended = map[*process]account{}
	}
	u.ended[p] = account{n[0], n[1], n[2], n[3]}
}

// received is what all processes have received, or less: one that is about to end does not
// say.
func (u *upgrades) received() (n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.processes {
		if a, ok := u.ended[p]; ok {
			n += a.received
			continue
		}
		res, err := http.Get("http://" + p.addr["http"] + "/metrics")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "millrace_frames_received_total{") {
				v, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
				n += int64(v)
			}
		}
	}
	return n
}

func file(t *testing.T, s any) *os.File {
	t.Helper()
	f, err := s.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
