package main

import (
	"fmt"
	"time"

	"millrace/benchmarks/discard"
)

const (
	partitions  = 6 // of a topic: the default of our configuration
	connections = 4
)

// tcpCase is one way of using a peer over TCP.
type tcpCase struct {
	section     string
	peer        string
	name        string
	codec       string
	connections int
	partitions  int
}

// tcpCases are the whole path at the default shape, with each codec.
var tcpCases = []tcpCase{
	{"tcp", "millrace", "snappy", "snappy", connections, partitions},
	{"tcp", "rsyslog", "lz4", "lz4", connections, partitions},
	{"tcp", "syslog-ng", "lz4", "lz4", connections, partitions},
	{"tcp", "rsyslog", "snappy", "snappy", connections, partitions},
	{"tcp", "millrace", "none", "none", connections, partitions},
	{"tcp", "rsyslog", "none", "none", connections, partitions},
	{"tcp", "syslog-ng", "none", "none", connections, partitions},
}

// proportionCases change one thing at a time.
func proportionCases() []tcpCase {
	var cases []tcpCase
	for _, n := range []int{1, 10, 100, 1000} {
		cases = append(cases, tcpCase{"connections", "millrace", fmt.Sprint(n), "", n, partitions})
	}
	for _, n := range []int{6, 24, 96} {
		cases = append(cases, tcpCase{"partitions", "millrace", fmt.Sprint(n), "", connections, n})
	}
	return cases
}

// tcp measures one case once.
func (b *bench) tcp(c tcpCase, p *peer) (Metrics, error) {
	t, err := begin(p, setup{network: "tcp", codec: c.codec, connections: c.connections}, discard.Options{Partitions: c.partitions})
	if err != nil {
		return nil, err
	}
	defer t.end()
	conns, err := connect(t.port, c.connections)
	if err != nil {
		return nil, t.proc.failed(err)
	}
	defer disconnect(conns)
	if err := t.warmUp(b.in, conns); err != nil {
		return nil, err
	}
	return t.span(func() (uint64, error) {
		return b.in.floodFor(conns, time.Duration(b.o.seconds*float64(time.Second)))
	})
}
