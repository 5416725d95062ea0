package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketPath is what struct sockaddr_un holds with the NUL behind it.
const maxSocketPath = 107

// listenUnixgram makes the socket file of a local logger. Its senders wait while the
// queue is full (net.unix.max_dgram_qlen datagrams), so nothing is dropped here: a Sink
// may block, as on TCP.
func listenUnixgram(o Options) (Listener, error) {
	l := &udpListener{o: o, readers: 1, stopper: newStopper(), seal: sealUnixgram}
	if err := l.open(bindUnixgram); err != nil {
		return nil, err
	}
	if l.share == nil || !l.share.kept {
		var err error
		if l.closed, err = fileRemover(o.Address); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

func bindUnixgram(o Options) ([]datagramSocket, error) {
	if err := removeStale(o.Address); err != nil {
		return nil, err
	}
	s, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: o.Address})
	if err != nil {
		return nil, err
	}
	// The process' umask has taken its part of the mode.
	if err := os.Chmod(o.Address, o.SocketMode); err != nil {
		s.Close()
		os.Remove(o.Address)
		return nil, err
	}
	return []datagramSocket{s}, nil
}

// sealUnixgram makes the senders' next write fail, while what is queued can be read.
func sealUnixgram(s datagramSocket) error { return s.(*net.UnixConn).CloseRead() }

// removeStale removes a socket file that a killed process left behind: one that nobody
// serves.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket: remove it, or choose another path")
	}
	c, err := net.Dial("unixgram", path)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("another process serves it: %w", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, syscall.EPROTOTYPE):
		return fmt.Errorf("another process serves a stream there: %w", syscall.EADDRINUSE)
	}
	return err
}

// fileRemover removes the file that is at path now, and no later one.
func fileRemover(path string) (func(), error) {
	ours, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	return func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(ours, now) {
			os.Remove(path)
		}
	}, nil
}

func checkSocketPath(path string) error {
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf("cannot use socket path %q: it does not begin with / (listeners[].address is unixgram:///PATH)", path)
	case len(path) > maxSocketPath:
		return fmt.Errorf("cannot use socket path %q: it has %d bytes, and a socket's address holds %d (listeners[].address)", path, len(path), maxSocketPath)
	}
	return nil
}
