//go:build !unix

package transport

import (
	"net"
	"time"
)

// socket is not needed where connections are read through net.Conn.
type socket struct {
	net.Conn
	ready    bool
	patience time.Duration
}

func below(net.Conn) *socket { return nil }
