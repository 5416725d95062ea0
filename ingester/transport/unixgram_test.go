package transport

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func overUnixgram(t *testing.T) variant {
	t.Helper()
	path := socketPath(t)
	return variant{name: unixgram, network: unixgram, options: func(o *Options) { o.Address = path }}
}

// Real loggers of the machine write to the socket.
func TestUnixgram_Logger(t *testing.T) {
	t.Parallel()
	logger, err := exec.LookPath("logger")
	if err != nil {
		t.Fatalf("%v: install the package bsdutils (util-linux logger)", err)
	}
	s := start(t, overUnixgram(t), Options{}, newRecorder())
	for i, args := range [][]string{{"--rfc5424=nohost"}, {"--rfc3164"}, {}} {
		text := "one line of logger " + strings.Repeat("x", i)
		args = append([]string{"--socket", s.Addr().String(), "--priority", "mail.info", "--tag", "mailfilter"}, args...)
		if out, err := exec.Command(logger, append(args, "--", text)...).CombinedOutput(); err != nil {
			t.Fatalf("logger failed: %v\n%s", err, out)
		}
		f := s.waitFor(t, i+1)[i]
		if !strings.HasPrefix(f.text, "<22>") || !strings.HasSuffix(f.text, text) || !strings.Contains(f.text, "mailfilter") {
			t.Errorf("%q", f.text)
		}
	}
}

// A file of a killed process is replaced; one that is served, or is no socket, is not.
func TestUnixgram_File(t *testing.T) {
	t.Parallel()
	v := overUnixgram(t)
	o := v.configured(Options{SocketMode: 0o620})
	stale, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: o.Address})
	if err != nil {
		t.Fatal(err)
	}
	stale.Close()
	if _, err := os.Lstat(o.Address); err != nil {
		t.Fatalf("no stale file: %v", err)
	}
	s := start(t, v, o, newRecorder())
	info, err := os.Lstat(o.Address)
	if err != nil || info.Mode() != fs.ModeSocket|0o620 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Listen(o); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("a second listener: %v", err)
	}
	send(t, s.dial(t, ""), "<14>still here")
	s.waitFor(t, 1)
	s.stop()
	s.wait(t)
	if _, err := os.Lstat(o.Address); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}

	if err := os.WriteFile(o.Address, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(o); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("over a file: %v", err)
	}
	if text, err := os.ReadFile(o.Address); string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
	os.Remove(o.Address)

	stream, err := net.Listen("unix", o.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := Listen(o); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("over a stream's socket: %v", err)
	}
}

// A file that somebody has put in the place of ours is not removed.
func TestUnixgram_FileOfAnother(t *testing.T) {
	t.Parallel()
	s := start(t, overUnixgram(t), Options{}, newRecorder())
	path := s.Addr().String()
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.wait(t)
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// A sender waits while the sink does, and loses nothing; nor does a stop, which tells it.
func TestUnixgram_BackPressure(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, overUnixgram(t), Options{}, r)
	c := s.dial(t, "")
	var sent []string
	write := func(wait time.Duration) error {
		text := "<14>" + time.Now().Format(time.RFC3339Nano)
		c.SetWriteDeadline(time.Now().Add(wait))
		_, err := c.Write([]byte(text))
		if err == nil {
			sent = append(sent, text)
		}
		return err
	}
	for {
		if err := write(300 * time.Millisecond); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(sent) > 100_000 {
			t.Fatal("a sink that takes nothing has taken 100,000 datagrams")
		}
	}
	s.stop()
	close(r.gate)
	err := write(patience)
	for err == nil {
		err = write(patience)
	}
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a write after the stop: %v", err)
	}
	s.wait(t)
	if have := texts(s.waitFor(t, len(sent))); !slices.Equal(have, sent) {
		t.Errorf("%d frames, want %d", len(have), len(sent))
	}
}

func TestUnixgram_Paths(t *testing.T) {
	t.Parallel()
	for address, part := range map[string]string{
		"log":                          "does not begin with /",
		"/" + strings.Repeat("x", 107): "107",
	} {
		if err := Validate(Options{Network: unixgram, Address: address}); err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), "listeners[].address") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if err := Validate(Options{Network: unixgram, Address: "/" + strings.Repeat("x", 106)}); err != nil {
		t.Error(err)
	}
	if _, err := Listen(Options{Network: unixgram, Address: "/nonexistent/log"}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
