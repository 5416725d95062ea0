package transport

import (
	"sync/atomic"

	"millrace/schema"
)

// Stats is what a listener counts. All fields may be read at any time.
type Stats struct {
	Bytes         atomic.Uint64 // read from sockets
	Frames        atomic.Uint64 // given to sinks, rejects included, and taken
	Open          atomic.Int64  // TCP connections now
	Connections   atomic.Uint64 // TCP connections accepted, without those below
	Refused       atomic.Uint64 // TCP connections beyond listeners[].max_connections and max_connections_per_peer
	BadHeaders    atomic.Uint64 // connections of load balancers without a PROXY header
	Idle          atomic.Uint64 // connections ended for idle_timeout
	Slow          atomic.Uint64 // for frame_timeout
	Crowded       atomic.Uint64 // for open_frames
	Handshakes    atomic.Uint64 // TLS handshakes that failed
	ReceiveBuffer atomic.Int64  // what the kernel gives a UDP socket of listeners[].receive_buffer

	// RELP frames that a connection ended without an answer to: their sender sends them
	// again, and those that Kafka had or got are duplicates then.
	Unanswered atomic.Uint64

	// Messages that were answered with 451, for what: their sender sends them again.
	PutOffKafka   atomic.Uint64 // Kafka, within answer_timeout
	PutOffForward atomic.Uint64 // forward_to
	PutOffMemory  atomic.Uint64 // open_frames

	Empty      atomic.Uint64 // frames with nothing in them
	NotAllowed atomic.Uint64 // see Refuse: datagrams, and TCP connections, from elsewhere or without a permitted name
	Kernel     atomic.Uint64 // datagrams that found the receive buffer full
	Shutdown   atomic.Uint64 // frames that a Sink did not take

	stranger stranger
}

// Drops calls f with the number of drops for each reason.
func (s *Stats) Drops(f func(reason schema.Reason, n uint64)) {
	f(schema.DropEmpty, s.Empty.Load())
	f(schema.DropNotAllowed, s.NotAllowed.Load())
	f(schema.DropKernel, s.Kernel.Load())
	f(schema.DropShutdown, s.Shutdown.Load())
}
