package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"millrace/benchmarks/frames"
)

const (
	// senders are the source ports that datagrams come from: the kernel spreads
	// sockets that share a port by source.
	senders = 16
	// segments is the most datagrams that one call hands over.
	segments = 32
	// catchUp is how far behind its rate a sender that was not scheduled may be and still
	// make up for it; what is more is not sent, and the rate is the less.
	catchUp = 5 * time.Millisecond
)

// burst is a run of frames of one length, which the kernel sends as a datagram each
// (UDP_SEGMENT). One by one, even by sendmmsg, sending costs more than any of the
// programs needs to receive, and a sender on the same cores would be what is measured.
type burst struct {
	bytes   []byte
	control []byte
	frames  int
}

// bursts cuts the frames, without their LF, into bursts in an order that is always the same.
func bursts(in *frames.Input) []burst {
	byLength := slices.SortedStableFunc(slices.Values(in.Frames), func(a, b []byte) int { return cmp.Compare(len(a), len(b)) })
	var all []burst
	for i := 0; i < len(byLength); {
		b := burst{control: segmentControl(len(byLength[i]) - 1)}
		for length := len(byLength[i]); i < len(byLength) && len(byLength[i]) == length && b.frames < segments; i++ {
			b.bytes = append(b.bytes, byLength[i][:length-1]...)
			b.frames++
		}
		all = append(all, b)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// segmentControl is the control message that has the kernel cut at every size bytes.
func segmentControl(size int) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	return b
}

// sender sends datagrams at a rate.
type sender struct {
	conns  []*net.UDPConn
	bursts []burst
	at     int // next burst
	turn   int // next socket
}

func newSender(in *frames.Input, port int) (*sender, error) {
	s := &sender{bursts: bursts(in)}
	for range senders {
		c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			s.close()
			return nil, fmt.Errorf("cannot open a socket to send from: %w", err)
		}
		s.conns = append(s.conns, c)
	}
	return s, nil
}

func (s *sender) close() {
	for _, c := range s.conns {
		c.Close()
	}
}

// send sends for d at a rate of frames a second and returns how many went out and how
// long it took.
func (s *sender) send(rate float64, d time.Duration) (uint64, time.Duration, error) {
	var sent, waived float64
	began := time.Now()
	for {
		elapsed := time.Since(began)
		if elapsed >= d {
			return uint64(sent), elapsed, nil
		}
		due := rate*elapsed.Seconds() - sent - waived
		if most := rate * catchUp.Seconds(); due > most {
			waived += due - most
			due = most
		}
		b := &s.bursts[s.at]
		if missing := float64(b.frames) - due; missing > 0 {
			time.Sleep(time.Duration(missing / rate * float64(time.Second)))
			continue
		}
		if _, _, err := s.conns[s.turn].WriteMsgUDP(b.bytes, b.control, nil); err != nil {
			return uint64(sent), time.Since(began), fmt.Errorf("cannot send datagrams: %w", err)
		}
		sent += float64(b.frames)
		s.at = (s.at + 1) % len(s.bursts)
		s.turn = (s.turn + 1) % len(s.conns)
	}
}
