package transport

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// slotSize holds nearly every datagram. The rest of a longer one goes to a slot of the
// longest there may be, of which most memory is thus never touched: datagrams that lie
// 64 KiB apart also put each other out of the processor's caches, where the same few
// lines are for all of them.
const slotSize = 2 << 10

// batchSize is how many datagrams one system call takes at most.
const batchSize = 64

// openUDP binds o.Sockets sockets to one address; the kernel spreads the senders over
// them. A socket of its own finds out first whether the address is free and which port
// it is: with SO_REUSEPORT a second program of the same user would share it silently.
func openUDP(o Options) ([]datagramSocket, error) {
	var config net.ListenConfig
	probe, err := config.ListenPacket(context.Background(), family("udp", o), o.Address)
	if err != nil || o.Sockets == 1 {
		if err != nil {
			return nil, err
		}
		return []datagramSocket{probe.(*net.UDPConn)}, nil
	}
	host, _, _ := net.SplitHostPort(o.Address)
	address := net.JoinHostPort(host, strconv.Itoa(probe.LocalAddr().(*net.UDPAddr).Port))
	probe.Close()
	config.Control = func(_, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); cerr != nil {
			return cerr
		}
		return err
	}
	var sockets []datagramSocket
	for range o.Sockets {
		s, err := config.ListenPacket(context.Background(), family("udp", o), address)
		if err != nil {
			for _, s := range sockets {
				s.Close()
			}
			return nil, err
		}
		sockets = append(sockets, s.(*net.UDPConn))
	}
	return sockets, nil
}

// sealUDP makes the kernel queue no more datagrams, while what is queued can be read: a
// socket that is connected, here to itself, takes only what its peer sends. Datagrams go
// to another socket of the port from then on, if there is one, or are refused (ICMP).
func sealUDP(s datagramSocket) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) {
		var own unix.Sockaddr
		if own, err = unix.Getsockname(int(fd)); err != nil {
			return
		}
		switch a := own.(type) { // an unspecified address means loopback
		case *unix.SockaddrInet4:
			if a.Addr == [4]byte{} {
				a.Addr = [4]byte{127, 0, 0, 1}
			}
		case *unix.SockaddrInet6:
			if a.Addr == [16]byte{} {
				a.Addr = [16]byte{15: 1}
			}
		}
		err = unix.Connect(int(fd), own)
	}); cerr != nil {
		return cerr
	}
	return err
}

// prepareUDP sets the receive buffer and returns the size that the kernel gives. One of a
// socket that somebody else has opened is not made smaller: he had a reason.
func prepareUDP(s *queue, buffer int, inherited bool) (size int, err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		// The kernel reports twice what it was asked for, to count its own overhead.
		if size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err != nil || inherited && size/2 >= buffer {
			return
		}
		// Force needs CAP_NET_ADMIN and is not bound by net.core.rmem_max.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil && !(inherited && size/2 > buffer) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
		}
		size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	if cerr != nil {
		return 0, cerr
	}
	return size / 2, err
}

// peerAddr is a socket address as the kernel writes it.
type peerAddr struct{ raw *unix.RawSockaddrInet6 }

func (p peerAddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&p.raw.Port))[:])
	switch p.raw.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(p.raw))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(p.raw.Addr).Unmap(), port)
	}
	return netip.AddrPort{}
}

// mmsghdr is struct mmsghdr: Go pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// receiver takes datagrams by the batch. golang.org/x/net/ipv4 does so too, with two
// allocations for the address of each datagram; this has none.
type receiver struct {
	raw syscall.RawConn

	headers  []mmsghdr
	iovecs   [][2]unix.Iovec
	names    []unix.RawSockaddrInet6
	slots    []byte // of slotSize bytes each
	longs    []byte // of maxFrame bytes each; the front of a long datagram is moved there from its slot
	maxFrame int
	messages []message

	read    func(fd uintptr) bool
	readNow func(fd uintptr)
	wait    bool
	n       int
	err     error
}

func newReceiver(s datagramSocket, maxFrame int) (*receiver, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &receiver{
		raw:      raw,
		headers:  make([]mmsghdr, batchSize),
		iovecs:   make([][2]unix.Iovec, batchSize),
		names:    make([]unix.RawSockaddrInet6, batchSize),
		slots:    make([]byte, batchSize*slotSize),
		maxFrame: maxFrame,
		messages: make([]message, batchSize),
	}
	if maxFrame > slotSize {
		r.longs = make([]byte, batchSize*maxFrame)
	}
	for i := range r.headers {
		h := &r.headers[i].hdr
		h.Iov = &r.iovecs[i][0]
		h.SetIovlen(1)
		r.iovecs[i][0].Base = &r.slots[i*slotSize]
		r.iovecs[i][0].SetLen(min(slotSize, maxFrame))
		if r.longs != nil {
			h.SetIovlen(2)
			r.iovecs[i][1].Base = &r.longs[i*maxFrame+slotSize]
			r.iovecs[i][1].SetLen(maxFrame - slotSize)
		}
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		r.messages[i].peer = peerAddr{&r.names[i]}
	}
	r.rearm(batchSize)
	r.read = r.tryRead
	r.readNow = func(fd uintptr) { r.tryRead(fd) }
	return r, nil
}

// rearm restores what the kernel overwrote in the first n headers.
func (r *receiver) rearm(n int) {
	for i := range n {
		h := &r.headers[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.Flags = 0
	}
}

// filled: the last batch was a full one, so more may wait.
func (r *receiver) filled() bool { return r.n == batchSize }

// receive waits for datagrams and returns all that are there, a batch at most. Without
// wait it returns none when there is none. The messages are valid until the next call.
func (r *receiver) receive(wait bool) ([]message, error) {
	r.rearm(r.n)
	r.wait, r.n, r.err = wait, 0, nil
	var err error
	if wait {
		err = r.raw.Read(r.read)
	} else {
		err = r.raw.Control(r.readNow)
	}
	if err == nil {
		err = r.err
	}
	for i := range r.n {
		m := &r.messages[i]
		m.size = int(r.headers[i].len)
		slot := r.slots[i*slotSize:][:slotSize]
		if m.size > slotSize && r.longs != nil {
			long := r.longs[i*r.maxFrame:][:r.maxFrame]
			copy(long, slot)
			slot = long
		}
		m.data = slot[:min(m.size, r.maxFrame, len(slot))]
	}
	return r.messages[:r.n], err
}

func (r *receiver) tryRead(fd uintptr) bool {
	for {
		// MSG_TRUNC: the length is the datagram's, also of one that does not fit its slot.
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers[0])), batchSize, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
		switch errno {
		case 0:
			r.n = int(n)
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return !r.wait
		default:
			r.err = errno
		}
		return true
	}
}

// kernelDrops is how many datagrams a socket has not taken for want of room, since it was
// opened: a count that passes zero. It is 0 where nobody knows.
func kernelDrops(s datagramSocket) uint32 {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	var info [9]uint32 // SK_MEMINFO_VARS
	size := uint32(unsafe.Sizeof(info))
	raw.Control(func(fd uintptr) {
		unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	return info[unix.SK_MEMINFO_DROPS]
}
