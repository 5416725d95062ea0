package discard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Options say what the broker is like.
type Options struct {
	Partitions int // of every topic
	// Acked, if set, is called for each record set after its acknowledgement has been
	// written, with the time of that. The records are valid until it returns. It is called
	// from many goroutines.
	Acked func(topic string, records []byte, at time.Time)
}

// Broker is a running broker.
type Broker struct {
	o        Options
	listener net.Listener
	serving  sync.WaitGroup
	producer atomic.Int64 // last producer id given away

	mu     sync.Mutex
	thawed *sync.Cond
	frozen bool
	closed bool
	conns  map[net.Conn]bool
	counts map[string]*Counts
	next   map[sequence]int32 // the sequence expected next
}

// Counts are what arrived for a topic.
type Counts struct {
	Records    uint64 // acknowledged, each once
	Bytes      uint64 // of their batches, as they came
	Batches    uint64
	Duplicates uint64 // records of batches that came again
}

// sequence is what an idempotent producer counts by.
type sequence struct {
	producer  int64
	epoch     int16
	topic     string
	partition int32
}

// Listen starts a broker on a free port of the loopback interface.
func Listen(o Options) (*Broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot start the broker: %w", err)
	}
	b := &Broker{o: o, listener: l, conns: map[net.Conn]bool{}, counts: map[string]*Counts{}, next: map[sequence]int32{}}
	b.thawed = sync.NewCond(&b.mu)
	b.serving.Go(b.accept)
	return b, nil
}

// Addr is HOST:PORT.
func (b *Broker) Addr() string { return b.listener.Addr().String() }

// Counts returns what has arrived for the topic so far.
func (b *Broker) Counts(topic string) Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.counts[topic]; c != nil {
		return *c
	}
	return Counts{}
}

// Freeze stops reading and answering.
func (b *Broker) Freeze() { b.freeze(true) }

// Thaw goes on where Freeze stopped.
func (b *Broker) Thaw() { b.freeze(false) }

func (b *Broker) freeze(frozen bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = frozen
	b.thawed.Broadcast()
}

// Close ends the broker and its connections.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed, b.frozen = true, false
	b.listener.Close()
	for c := range b.conns {
		c.Close()
	}
	b.thawed.Broadcast()
	b.mu.Unlock()
	b.serving.Wait()
}

func (b *Broker) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		if b.closed {
			c.Close()
		}
		b.conns[c] = true
		b.mu.Unlock()
		b.serving.Go(func() {
			// What ends a connection is the client's matter: it logs it, and it connects again.
			_ = b.serve(c)
			c.Close()
			b.mu.Lock()
			delete(b.conns, c)
			b.mu.Unlock()
		})
	}
}

// waitWhileFrozen returns when the broker is not frozen.
func (b *Broker) waitWhileFrozen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.frozen {
		b.thawed.Wait()
	}
}

// maxRequest is far beyond the largest batch that any of the producers makes.
const maxRequest = 64 << 20

func (b *Broker) serve(c net.Conn) error {
	var size [4]byte
	var buf, out []byte
	for {
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(size[:]))
		if n > maxRequest {
			return fmt.Errorf("a request of %d bytes", n)
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		b.waitWhileFrozen()
		req, correlation, err := parse(buf)
		if err != nil {
			return err
		}
		res := b.answer(req)
		if res == nil { // acks=0
			continue
		}
		out = appendResponse(out[:0], res, correlation)
		if _, err := c.Write(out); err != nil {
			return err
		}
		if p, ok := req.(*kmsg.ProduceRequest); ok && b.o.Acked != nil {
			now := time.Now()
			for _, t := range p.Topics {
				for _, part := range t.Partitions {
					b.o.Acked(t.Topic, part.Records, now)
				}
			}
		}
	}
}

// served are the requests that are answered, with the newest version of each that
// both kafka-go and librdkafka can do without topic ids.
var served = []struct{ key, oldest, newest int16 }{
	{int16(kmsg.Produce), 3, 9},
	{int16(kmsg.Metadata), 1, 9},
	{int16(kmsg.ApiVersions), 0, 3},
	{int16(kmsg.DescribeConfigs), 0, 3},
	{int16(kmsg.InitProducerID), 0, 4},
	// Never asked: librdkafka writes today's batches, with lz4 or zstd, only to brokers that list these.
	{int16(kmsg.Fetch), 4, 11},
	{int16(kmsg.FindCoordinator), 0, 2},
}

// parse reads a request. What it holds are views of buf.
func parse(buf []byte) (kmsg.Request, int32, error) {
	const fixed = 8 // key, version, correlation id
	if len(buf) < fixed+2 {
		return nil, 0, errors.New("a request without a header")
	}
	key, version := int16(binary.BigEndian.Uint16(buf)), int16(binary.BigEndian.Uint16(buf[2:]))
	correlation := int32(binary.BigEndian.Uint32(buf[4:]))
	client := max(0, int(int16(binary.BigEndian.Uint16(buf[fixed:]))))
	body := buf[fixed+2:]
	req := kmsg.RequestForKey(key)
	if req == nil || client > len(body) {
		return nil, 0, fmt.Errorf("a request with key %d that cannot be read", key)
	}
	body = body[client:]
	if version > req.MaxVersion() {
		return nil, 0, fmt.Errorf("%s of version %d", kmsg.NameForKey(key), version)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		if len(body) == 0 || body[0] != 0 {
			return nil, 0, errors.New("a request header with tags")
		}
		body = body[1:]
	}
	if err := req.ReadFrom(body); err != nil {
		return nil, 0, fmt.Errorf("%s of version %d: %w", kmsg.NameForKey(key), version, err)
	}
	return req, correlation, nil
}

// appendResponse writes a response with its header and its length in front.
func appendResponse(dst []byte, res kmsg.Response, correlation int32) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlation))
	if res.IsFlexible() && res.Key() != int16(kmsg.ApiVersions) {
		dst = append(dst, 0) // no tags
	}
	dst = res.AppendTo(dst)
	binary.BigEndian.PutUint32(dst, uint32(len(dst)-4))
	return dst
}
