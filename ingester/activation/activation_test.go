package activation

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// passed makes a socket for the test.
func passed(t *testing.T, network, address string) *os.File {
	t.Helper()
	var s any
	var err error
	switch network {
	case "tcp":
		s, err = net.Listen(network, address)
	default:
		s, err = net.ListenPacket(network, address)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	s.(interface{ Close() error }).Close()
	t.Cleanup(func() { f.Close() })
	return f
}

func socket(t *testing.T, name, network, address string) *Socket {
	t.Helper()
	s, err := examine(passed(t, network, address), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAssign(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	tcp, udp := socket(t, "filter", "tcp", "127.0.0.1:0"), socket(t, "filter", "udp", "127.0.0.1:0")
	other := socket(t, "millrace-ingest.socket", "tcp", "[::]:0")
	second, local := socket(t, "filter-udp", "udp", "127.0.0.1:0"), socket(t, "x", "unixgram", path)
	_, port, _ := net.SplitHostPort(other.addr)

	listeners := []Listener{
		{Name: "by-address", Stream: true, Address: "0.0.0.0:" + port},
		{Name: "filter", Stream: true, Address: "127.0.0.1:1"},
		{Name: "filter-udp", Address: udp.addr, Several: true},
		{Name: "local", Address: path},
		{Name: "own", Stream: true, Address: "127.0.0.1:2"},
	}
	files, err := Assign([]*Socket{tcp, udp, other, second, local}, listeners)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]*os.File{{other.File}, {tcp.File}, {udp.File, second.File}, {local.File}, nil}
	for i, w := range want {
		if len(files[i]) != len(w) {
			t.Errorf("%s: %d sockets, want %d", listeners[i].Name, len(files[i]), len(w))
			continue
		}
		for j := range w {
			if files[i][j] != w[j] {
				t.Errorf("%s: another socket", listeners[i].Name)
			}
		}
	}

	if _, err := Assign([]*Socket{socket(t, "nobody", "tcp", "127.0.0.1:0")}, listeners); err == nil || !strings.Contains(err.Error(), `"nobody" (stream, 127.0.0.1:`) || !strings.Contains(err.Error(), "FileDescriptorName") {
		t.Error(err)
	}
	if _, err := Assign([]*Socket{tcp, socket(t, "filter", "tcp", "127.0.0.1:0")}, listeners); err == nil || !strings.Contains(err.Error(), `2 sockets`) {
		t.Error(err)
	}
}

// TestFromEnvironment_Child runs in a process of its own, as the test below starts it.
func TestFromEnvironment_Child(t *testing.T) {
	if os.Getenv("MILLRACE_TEST_CHILD") == "" {
		if s, err := FromEnvironment(); s != nil || err != nil {
			t.Errorf("%v, %v", s, err)
		}
		return
	}
	sockets, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		t.Logf("socket %s", s)
	}
	if os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID")+os.Getenv("LISTEN_FDNAMES") != "" {
		t.Error("the environment is as it was")
	}
	if again, err := FromEnvironment(); again != nil || err != nil {
		t.Errorf("again: %v, %v", again, err)
	}
}

// The descriptors and variables are passed by a shell, which is $LISTEN_PID after exec.
func TestFromEnvironment(t *testing.T) {
	t.Parallel()
	run := func(environment string, files ...*os.File) (string, error) {
		cmd := exec.Command("/bin/sh", "-c", "export LISTEN_PID=$$ "+environment+`; exec "$0" -test.v -test.run 'TestFromEnvironment_Child$'`, os.Args[0])
		cmd.Env = append(os.Environ(), "MILLRACE_TEST_CHILD=1")
		cmd.ExtraFiles = files
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	tcp, udp := passed(t, "tcp", "127.0.0.1:0"), passed(t, "udp", "127.0.0.1:0")
	out, err := run("LISTEN_FDS=2 LISTEN_FDNAMES=one:two", tcp, udp)
	if err != nil || !strings.Contains(out, `socket "one" (stream, 127.0.0.1:`) || !strings.Contains(out, `socket "two" (datagram, 127.0.0.1:`) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = run("LISTEN_FDS=1", tcp)
	if err != nil || !strings.Contains(out, `socket "" (stream, 127.0.0.1:`) {
		t.Errorf("without names: %v\n%s", err, out)
	}
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if out, err = run("LISTEN_FDS=1 LISTEN_FDNAMES=null", plain); err == nil || !strings.Contains(out, `"null" is no socket`) {
		t.Errorf("no socket: %v\n%s", err, out)
	}
	if out, err = run("LISTEN_FDS=many"); err == nil || !strings.Contains(out, "$LISTEN_FDS") {
		t.Errorf("no number: %v\n%s", err, out)
	}
}
