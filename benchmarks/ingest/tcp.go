package main

import (
	"fmt"
	"net"
	"time"

	"millrace/benchmarks/discard"
	"millrace/benchmarks/report"
)

const (
	partitions  = 6 // of a topic: the default of our configuration
	connections = 4
)

// tcpJob floods one peer over TCP.
func (b *bench) tcpJob(section, peer, name, codec string, connections, partitions int) job {
	return job{section: section, peer: peer, name: name, measure: func(p *peerProgram) (report.Metrics, error) {
		t, conns, err := b.warm(p, setup{codec: codec, connections: connections}, discard.Options{Partitions: partitions})
		if err != nil {
			return nil, err
		}
		defer t.end()
		return t.span(func() (uint64, error) { return floodFor(b.in, conns, b.o.span()) })
	}}
}

// warm begins a trial over TCP and lets the program settle under load. The trial's end
// closes the connections too.
func (b *bench) warm(p *peerProgram, s setup, o discard.Options) (t *trial, conns []net.Conn, err error) {
	s.network = "tcp"
	if t, err = begin(p, s, o); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			t.end()
		}
	}()
	if conns, err = connect(t.port, s.connections); err != nil {
		return nil, nil, t.proc.Failed(err)
	}
	t.conns = conns
	return t, conns, t.warmUp(b.in, conns, b.o.span())
}

// tcpJobs are the whole path in its usual shape, with each codec that has a goal or an anchor.
func (b *bench) tcpJobs() []job {
	var jobs []job
	for _, c := range []struct{ peer, codec string }{
		{ours, "snappy"}, {rsyslog, "lz4"}, {syslogng, "lz4"},
		{rsyslog, "snappy"},
		{ours, "none"}, {rsyslog, "none"}, {syslogng, "none"},
	} {
		jobs = append(jobs, b.tcpJob("tcp", c.peer, c.codec, c.codec, connections, partitions))
	}
	return jobs
}

// proportionJobs change one thing at a time.
func (b *bench) proportionJobs() []job {
	var jobs []job
	for _, n := range []int{1, 10, 100, 1000} {
		jobs = append(jobs, b.tcpJob("connections", ours, fmt.Sprint(n), "", n, partitions))
	}
	for _, n := range []int{6, 24, 96} {
		jobs = append(jobs, b.tcpJob("partitions", ours, fmt.Sprint(n), "", connections, n))
	}
	return jobs
}

// span is how long one measurement sends.
func (o *options) span() time.Duration { return time.Duration(o.seconds * float64(time.Second)) }
