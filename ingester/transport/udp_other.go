//go:build !linux

package transport

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// openUDP opens one socket, whatever o.Sockets says: to share an address between
// sockets is Linux' way.
func openUDP(o Options) ([]datagramSocket, error) {
	s, err := new(net.ListenConfig).ListenPacket(context.Background(), family("udp", o), o.Address)
	if err != nil {
		return nil, err
	}
	return []datagramSocket{s.(*net.UDPConn)}, nil
}

func prepareUDP(q *queue, buffer int, _ bool) (int, error) {
	return buffer, q.datagramSocket.(*net.UDPConn).SetReadBuffer(buffer)
}

// kernelDrops is not to be had here.
func kernelDrops(datagramSocket) uint32 { return 0 }

// sealUDP is nil: there is no way known here.
var sealUDP func(datagramSocket) error

type peerAddr struct{ peer netip.AddrPort }

func (p peerAddr) addrPort() netip.AddrPort { return p.peer }

// receiver takes one datagram at a time.
type receiver struct {
	s        datagramSocket
	maxFrame int
	buf      []byte
	messages [1]message
}

func newReceiver(s datagramSocket, maxFrame int) (*receiver, error) {
	return &receiver{s: s, maxFrame: maxFrame, buf: make([]byte, MaxUDP)}, nil
}

func (r *receiver) filled() bool { return false }

func (r *receiver) receive(wait bool) ([]message, error) {
	if !wait {
		r.s.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	}
	n, from, err := r.s.ReadFrom(r.buf)
	if err != nil {
		if !wait {
			err = nil
		}
		return nil, err
	}
	var peer netip.AddrPort // of a Unix socket: none
	if udp, ok := from.(*net.UDPAddr); ok {
		peer = plainPeer(udp.AddrPort())
	}
	r.messages[0] = message{data: r.buf[:min(n, r.maxFrame)], size: n, peer: peerAddr{peer}}
	return r.messages[:], nil
}
