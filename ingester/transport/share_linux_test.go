package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/internal/porttest"
)

// A socket that was passed may be open to more than the address of the configuration:
// without a list of senders it is served on loopback alone.
func TestPassed_BeyondLoopback(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "relp", "udp"} {
		kind := network
		if network == "relp" {
			kind = "tcp"
		}
		o := Options{Network: network, Address: "127.0.0.1:0", Passed: []*os.File{passedSocket(t, kind, "0.0.0.0:0")}}
		if l, err := Listen(o); err == nil || !strings.Contains(err.Error(), "listeners[].allow") {
			t.Errorf("%s: %v", network, err)
			if err == nil {
				l.Close()
			}
		}
		o.Passed = []*os.File{passedSocket(t, kind, "0.0.0.0:0")}
		o.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		l, err := Listen(o)
		if err != nil {
			t.Errorf("%s, with a list: %v", network, err)
			continue
		}
		l.Close()
	}
}

// ReceiveBuffer= of systemd's unit may be more than ours.
func TestPassed_KeepsItsBuffer(t *testing.T) {
	t.Parallel()
	f := passedSocket(t, "udp", "127.0.0.1:0")
	if err := syscall.SetsockoptInt(int(f.Fd()), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 128<<10); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ asked, given int64 }{{16 << 10, 128 << 10}, {160 << 10, 160 << 10}} {
		l, err := Listen(Options{Network: "udp", Address: "127.0.0.1:0", Passed: []*os.File{duplicate(t, f)}, ReceiveBuffer: int(want.asked)})
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Stats().ReceiveBuffer.Load(); got != want.given {
			t.Errorf("asked for %d: %d, want %d", want.asked, got, want.given)
		}
		l.Close()
	}
}

// Two share the sockets. A third one has to wait for the first to go, and is told so.
func TestHandOver_Three(t *testing.T) {
	t.Parallel()
	var frames atomic.Int64
	o := Options{Network: "udp", Address: porttest.UDP(t), Sockets: 1, ReusePort: true, Logger: slog.New(slog.DiscardHandler)}
	first, second := runInstance(t, o, &frames), runInstance(t, o, &frames)
	if l, err := Listen(o); !errors.Is(err, errTwo) {
		t.Errorf("the third: %v", err)
		if err == nil {
			l.Close()
		}
	}
	waiting := make(chan *instance)
	go func() { waiting <- runInstance(t, o, &frames) }()
	first.end(t)
	third := <-waiting
	second.end(t)
	c, err := net.Dial("udp", o.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, "<14>one frame")
	eventually(t, "the frame has come", func() bool { return frames.Load() == 1 })
	third.end(t)
}

const foreignDoor = "MILLRACE_TEST_FOREIGN_DOOR"

// Another user may sit at the door: that keeps nobody from the port.
func TestHandOver_ForeignDoor(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(foreignDoor); name != "" { // we are that user
		l, err := net.Listen("unixpacket", name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("sits there")
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root, to be another user")
	}
	o := Options{Network: "tcp", Address: porttest.TCP(t), ReusePort: true}
	// The test's own file may lie where others may not go.
	program := "/proc/self/fd/3"
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command(program, "-test.run=^TestHandOver_ForeignDoor$")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), foreignDoor+"="+o.door(o.Address))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	said := make([]byte, len("sits there"))
	if _, err := io.ReadFull(out, said); err != nil || string(said) != "sits there" {
		t.Fatalf("the other user: %q, %v", said, err)
	}
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got := log.String(); !strings.Contains(got, "belongs to user 65534") {
		t.Errorf("the log: %s", got)
	}
}

// slowly takes frames when it may.
type slowly struct {
	may    chan struct{}
	frames *atomic.Int64
}

func (s slowly) Frame(netip.AddrPort, framing.Frame) error { <-s.may; s.frames.Add(1); return nil }
func (s slowly) Flush()                                    {}

// While two share the sockets, and over an upgrade, what the kernel drops is counted once.
func TestHandOver_Drops(t *testing.T) {
	t.Parallel()
	var frames atomic.Int64
	sink := slowly{make(chan struct{}), &frames}
	o := Options{Network: "udp", Address: porttest.UDP(t), Sockets: 2, ReceiveBuffer: 32 << 10, ReusePort: true}
	first := runInstanceWith(t, o, func(Receipts) Sink { return sink })
	var sent atomic.Int64
	flood := func() {
		var wg sync.WaitGroup
		for range 4 {
			c, err := net.Dial("udp", o.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wg.Go(func() {
				for range 2000 {
					if _, err := c.Write([]byte("<14>" + strings.Repeat("x", 500))); err != nil {
						t.Error(err)
						return
					}
					sent.Add(1)
				}
			})
		}
		wg.Wait()
	}
	flood()
	second := runInstanceWith(t, o, func(Receipts) Sink { return sink })
	flood()
	close(sink.may)
	dropped := func() uint64 { return first.Stats().Kernel.Load() + second.Stats().Kernel.Load() }
	eventually(t, "all are accounted for", func() bool { return frames.Load()+int64(dropped()) == sent.Load() })
	first.end(t)
	flood()
	eventually(t, "all are accounted for by the second", func() bool { return frames.Load()+int64(dropped()) == sent.Load() })
	second.end(t)
	if n := frames.Load() + int64(dropped()); n != sent.Load() || first.Stats().Kernel.Load() == 0 || second.Stats().Kernel.Load() == 0 {
		t.Errorf("%d frames, %d and %d drops, %d sent", frames.Load(), first.Stats().Kernel.Load(), second.Stats().Kernel.Load(), sent.Load())
	}
}

// Connections that are served to their end do not keep the door open for others.
func TestStop_RefusesNew(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, variant{name: "tcp", network: "tcp"}, Options{DrainTime: time.Minute}, r)
	c := s.dial(t, "")
	send(t, c, "<14>is served to its end\n")
	eventually(t, "it is read", func() bool { return s.Stats().Bytes.Load() > 0 })
	s.stop()
	eventually(t, "others are refused", func() bool {
		d, err := net.Dial("tcp", s.Addr().String())
		if err == nil {
			d.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case err := <-s.done:
		t.Errorf("it has ended: %v", err)
		s.done <- err
	default:
	}
	c.Close()
	close(r.gate)
	s.wait(t)
	if len(r.frames) != 1 {
		t.Errorf("%d frames", len(r.frames))
	}
}
