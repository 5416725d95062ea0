package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handOverTimeout bounds the wait for an instance that is frozen.
const handOverTimeout = 5 * time.Second

// mostSockets is how many descriptors one message holds (SCM_MAX_FD).
const mostSockets = 253

func (s *share) listen(door string) (err error) {
	s.door, err = net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: door})
	return err
}

// knock asks at the door for the sockets. Nobody may be there: no files, and no error.
func knock(door string) ([]*os.File, *share, error) {
	var c *net.UnixConn
	var files []*os.File
	var counts []uint32
	for until := time.Now().Add(handOverTimeout); ; {
		var err error
		c, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: door})
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if files, counts, err = take(c); err == nil {
			break
		}
		c.Close()
		// Whoever opened was just leaving: another opens the door, or nobody is there any
		// more. Or one of two is about to leave.
		again := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, errTwo)
		if !again || time.Now().After(until) {
			return nil, nil, fmt.Errorf("cannot take over the sockets of the instance that runs: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
	ln, err := net.FileListener(files[0])
	files[0].Close()
	files = files[1:]
	if err != nil {
		c.Close()
		closeAll(files)
		return nil, nil, err
	}
	return files, &share{inherited: true, counts: counts, door: ln.(*net.UnixListener), others: []*net.UnixConn{c}}, nil
}

// sameUser: the kernel lets nobody else into a SO_REUSEPORT group, either.
func sameUser(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: it belongs to user %d, and we are %d", errForeign, cred.Uid, os.Geteuid())
	}
	return nil
}

// errTwo: two instances share the sockets.
var errTwo = errors.New("two share them already, and one has to stop first (listeners[].reuse_port)")

// refuse says errTwo.
func refuse(c *net.UnixConn) {
	c.SetWriteDeadline(time.Now().Add(handOverTimeout))
	c.Write([]byte{0})
}

// give sends the sockets: their number, then each of counts in four bytes.
func give(c *net.UnixConn, counts []uint32, sockets []syscall.Conn) error {
	if err := sameUser(c); err != nil {
		return err
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, s := range sockets {
		raw, err := s.SyscallConn()
		if err != nil {
			return err
		}
		var fd int
		if cerr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil || err != nil {
			return errors.Join(cerr, err)
		}
		fds = append(fds, fd)
	}
	c.SetWriteDeadline(time.Now().Add(handOverTimeout))
	message := []byte{byte(len(fds))}
	for _, n := range counts {
		message = binary.LittleEndian.AppendUint32(message, n)
	}
	_, _, err := c.WriteMsgUnix(message, unix.UnixRights(fds...), nil)
	return err
}

// take receives what give sends, the door first.
func take(c *net.UnixConn) (files []*os.File, counts []uint32, err error) {
	if err := sameUser(c); err != nil {
		return nil, nil, err
	}
	c.SetReadDeadline(time.Now().Add(handOverTimeout))
	message, rights := make([]byte, 1+4*mostSockets), make([]byte, unix.CmsgSpace(4*mostSockets))
	n, size, _, _, err := c.ReadMsgUnix(message, rights)
	switch {
	case err != nil:
		return nil, nil, err
	case n == 0:
		return nil, nil, io.EOF
	case message[0] == 0:
		return nil, nil, errTwo
	}
	c.SetReadDeadline(time.Time{})
	messages, err := unix.ParseSocketControlMessage(rights[:size])
	for _, m := range messages {
		fds, ferr := unix.ParseUnixRights(&m)
		err = errors.Join(err, ferr)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	if err == nil && (len(files) != int(message[0]) || len(files) < 2) {
		err = fmt.Errorf("%d sockets came", len(files))
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	for m := message[1:n]; len(m) >= 4; m = m[4:] {
		counts = append(counts, binary.LittleEndian.Uint32(m))
	}
	return files, counts, nil
}

// hungUp reports whether the other end has left, or is dead.
func hungUp(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	there := false
	if err := raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_DONTWAIT|unix.MSG_PEEK)
		there = err == unix.EAGAIN
	}); err != nil {
		return true
	}
	return !there
}
