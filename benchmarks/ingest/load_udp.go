package main

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/net/ipv4"

	"millrace/benchmarks/frames"
)

const (
	// senders are the source ports that datagrams come from: the kernel spreads
	// sockets that share a port by source.
	senders = 16
	// datagrams is the most that one sendmmsg hands over.
	datagrams = 32
	// catchUp is how far behind its rate a sender that was not scheduled may be and still
	// make up for it; what is more is not sent, and the rate is the less.
	catchUp = 5 * time.Millisecond
)

// sender sends datagrams at a rate.
type sender struct {
	conns    []*net.UDPConn
	sockets  []*ipv4.PacketConn
	messages []ipv4.Message
	in       *frames.Input
	at       int // next frame
	turn     int // next socket
}

func newSender(in *frames.Input, port int) (*sender, error) {
	s := &sender{in: in, messages: make([]ipv4.Message, datagrams)}
	for i := range s.messages {
		s.messages[i].Buffers = make([][]byte, 1)
	}
	for range senders {
		c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			s.close()
			return nil, fmt.Errorf("cannot open a socket to send from: %w", err)
		}
		s.conns = append(s.conns, c)
		s.sockets = append(s.sockets, ipv4.NewPacketConn(c))
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
		if due < datagrams {
			// As long as a batch takes at this rate; below a millisecond the runtime's timers
			// are good to some 60 microseconds.
			time.Sleep(time.Duration((datagrams - due) / rate * float64(time.Second)))
			continue
		}
		for i := range s.messages {
			f := s.in.Frames[s.at]
			s.messages[i].Buffers[0] = f[:len(f)-1] // a datagram is a frame: no LF
			s.at = (s.at + 1) % len(s.in.Frames)
		}
		for rest := s.messages; len(rest) > 0; {
			n, err := s.sockets[s.turn].WriteBatch(rest, 0)
			if err != nil {
				return uint64(sent), time.Since(began), fmt.Errorf("cannot send datagrams: %w", err)
			}
			sent += float64(n)
			rest = rest[n:]
		}
		s.turn = (s.turn + 1) % len(s.sockets)
	}
}
