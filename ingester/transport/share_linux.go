package transport

import (
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
	for until := time.Now().Add(handOverTimeout); ; {
		var err error
		c, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: door})
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if files, err = take(c); err == nil {
			break
		}
		c.Close()
		// Whoever opened was just leaving: another opens the door, or nobody is there any more.
		left := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
		if !left || time.Now().After(until) {
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
	return files, &share{inherited: true, door: ln.(*net.UnixListener), others: []*net.UnixConn{c}}, nil
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
		return fmt.Errorf("it belongs to user %d, and we are %d", cred.Uid, os.Geteuid())
	}
	return nil
}

// give sends the sockets.
func give(c *net.UnixConn, sockets []syscall.Conn) error {
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
	_, _, err := c.WriteMsgUnix([]byte{byte(len(fds))}, unix.UnixRights(fds...), nil)
	return err
}

// take receives what give sends, the door first.
func take(c *net.UnixConn) ([]*os.File, error) {
	if err := sameUser(c); err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(handOverTimeout))
	count, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4*mostSockets))
	n, size, _, _, err := c.ReadMsgUnix(count, rights)
	if err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Time{})
	var files []*os.File
	messages, err := unix.ParseSocketControlMessage(rights[:size])
	for _, m := range messages {
		fds, ferr := unix.ParseUnixRights(&m)
		err = errors.Join(err, ferr)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	if err == nil && (n != 1 || len(files) != int(count[0]) || len(files) < 2) {
		err = fmt.Errorf("%d sockets came", len(files))
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
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
