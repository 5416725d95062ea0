//go:build !unix

package transport

import "net"

// socket is not needed where connections are read through net.Conn.
type socket struct {
	net.Conn
	ready bool
}

func below(net.Conn) *socket { return nil }
