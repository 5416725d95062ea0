//go:build unix

package transport

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// socket is what a TLS connection stands on. During the handshake it is an ordinary one;
// then fd is set for the time of a read, and it answers nothing that it would have to wait
// for. So a connection that waits needs no buffer, as one without TLS, and what has come
// is known without a guess at the time that it may take.
type socket struct {
	net.Conn
	fd       int
	ready    bool          // the handshake is over
	patience time.Duration // for a write; 0: for ever
}

// nothingYet looks like a timeout, after which crypto/tls goes on where it was.
type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

var errNothingYet net.Error = nothingYet{}

// below makes nc a socket, or nil if it has no descriptor of its own.
func below(nc net.Conn) *socket {
	if rawConn(nc) == nil {
		return nil
	}
	return &socket{Conn: nc}
}

func (s *socket) Write(b []byte) (int, error) {
	if s.patience > 0 {
		s.SetWriteDeadline(time.Now().Add(s.patience))
	}
	return s.Conn.Write(b)
}

func (s *socket) Read(b []byte) (int, error) {
	if !s.ready {
		return s.Conn.Read(b)
	}
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errNothingYet
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// readTLS reads from the TLS connection in, which stands on s, all records that are there
// and that b holds. It answers as unix.Read.
func (s *socket) readTLS(fd int, in io.Reader, b []byte) (n int, err error) {
	s.fd = fd
	for n < len(b) && err == nil {
		var m int
		m, err = in.Read(b[n:])
		n += m
	}
	switch {
	case n > 0: // crypto/tls repeats an error
		return n, nil
	case errors.Is(err, errNothingYet):
		return 0, unix.EAGAIN
	case err == io.EOF:
		return 0, nil
	}
	return 0, err
}
