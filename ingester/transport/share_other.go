//go:build !linux

package transport

import (
	"errors"
	"net"
	"os"
	"syscall"
)

var errNoDoor = errors.New("listeners[].reuse_port needs Linux")

func (s *share) listen(string) error { return errNoDoor }

func knock(string) ([]*os.File, *share, error) { return nil, nil, nil }

func give(*net.UnixConn, []uint32, []syscall.Conn) error { return errNoDoor }

func refuse(*net.UnixConn) {}

func hungUp(*net.UnixConn) bool { return true }
