//go:build !unix

package transport

import (
	"net"
	"syscall"
)

// rawConn: connections are read through net.Conn here.
func rawConn(net.Conn) syscall.RawConn { return nil }

func (c *conn) tryRead(uintptr) bool { return true }
