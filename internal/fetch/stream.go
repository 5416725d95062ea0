package fetch

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// Chunk is what one response held for one partition: whole record batches, and
// perhaps a cut one at the end.
type Chunk struct {
	Offset        int64 // that was asked for: the first batch may begin before it
	HighWatermark int64
	LogStart      int64
	Err           error // ErrOutOfRange, ErrGone: then nothing follows before the next Start

	buffer *Buffer
	stream *Stream
}

// Records is the record set, valid until Release.
func (c *Chunk) Records() []byte {
	if c.buffer == nil {
		return nil
	}
	return c.buffer.b
}

// Release gives the chunk's memory back.
func (c *Chunk) Release() {
	if c.buffer == nil {
		return
	}
	if c.stream != nil {
		c.stream.account(-int64(len(c.buffer.b)))
	}
	c.buffer.put()
	c.buffer = nil
}

// Stream is one partition. Its methods are for one reader.
type Stream struct {
	f         *Fetcher
	topic     string
	partition int32
	leader    atomic.Int32
	held      atomic.Int64 // bytes in queue, in chunks being read, and declared by Hold
	highWater atomic.Int64
	ready     chan struct{}

	mutex    sync.Mutex
	session  uint64 // one Start to the next; 0: none yet
	active   bool
	next     int64
	queue    []Chunk
	queued   int
	declared int64
	maxBytes int32
	retryAt  time.Time
	failures int
}

// Start drops what is queued and begins at offset.
func (s *Stream) Start(offset int64) {
	s.mutex.Lock()
	s.dropQueue()
	s.session++
	s.active, s.next, s.retryAt, s.failures = true, offset, time.Time{}, 0
	s.mutex.Unlock()
	s.f.wakeLoops()
}

// Stop drops what is queued and asks for nothing more.
func (s *Stream) Stop() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.dropQueue()
	s.session++
	s.active = false
}

func (s *Stream) dropQueue() {
	for i := range s.queue {
		s.queue[i].Release()
	}
	clear(s.queue)
	s.queue, s.queued = s.queue[:0], 0
}

// String tells what the stream is about, for who looks why nothing comes.
func (s *Stream) String() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return fmt.Sprintf("leader %d, active %v, next offset %d, queued %d chunks of %d bytes, holds %d of %d bytes, failures %d",
		s.leader.Load(), s.active, s.next, len(s.queue), s.queued, s.held.Load(), s.f.o.Used.Load(), s.failures)
}

// Ready has an element when Next may have something.
func (s *Stream) Ready() <-chan struct{} { return s.ready }

// HighWatermark is the end of the partition when it was last fetched.
func (s *Stream) HighWatermark() int64 { return s.highWater.Load() }

// Next returns the next chunk, if there is one.
func (s *Stream) Next() (Chunk, bool) {
	s.mutex.Lock()
	if len(s.queue) == 0 {
		s.mutex.Unlock()
		return Chunk{}, false
	}
	c := s.queue[0]
	n := copy(s.queue, s.queue[1:])
	s.queue[n] = Chunk{}
	s.queue = s.queue[:n]
	was := s.queued
	s.queued -= len(c.Records())
	more := n > 0
	s.mutex.Unlock()
	if more {
		s.signal()
	}
	if was >= s.f.o.QueueBytes && was-len(c.Records()) < s.f.o.QueueBytes {
		s.f.wakeLoops()
	}
	return c, true
}

// Hold declares how many bytes the reader keeps for this partition.
func (s *Stream) Hold(n int64) {
	if d := n - s.declared; d != 0 {
		s.declared = n
		s.account(d)
		if d < 0 {
			s.f.wakeLoops()
		}
	}
}

func (s *Stream) account(n int64) {
	s.held.Add(n)
	s.f.o.Used.Add(n)
}

func (s *Stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

type wantState uint8

const (
	idle wantState = iota
	wanted
	full
)

// want is what to ask for now.
func (s *Stream) want(now time.Time) (want, uint64, wantState) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case !s.active || now.Before(s.retryAt):
		return want{}, 0, idle
	case s.queued >= s.f.o.QueueBytes:
		return want{}, 0, full
	case s.held.Load() > 0 && s.f.o.Used.Load() >= s.f.o.LimitBytes:
		return want{}, 0, full
	}
	return want{s.topic, s.partition, s.next, s.maxBytes}, s.session, wanted
}

// deliver takes over a part's buffer.
func (s *Stream) deliver(session uint64, p *part) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if session != s.session || !s.active {
		if p.records != nil {
			p.records.put()
		}
		return
	}
	if p.code != 0 {
		if p.records != nil {
			p.records.put()
		}
		switch kafka.Error(p.code) {
		case kafka.OffsetOutOfRange:
			s.end(ErrOutOfRange)
		case kafka.UnknownTopicOrPartition:
			s.end(ErrGone)
		default: // the leader has moved, or is not ready: metadata will tell
			s.failures++
			s.retryAt = time.Now().Add(backoff(s.failures))
		}
		return
	}
	s.failures = 0
	s.highWater.Store(p.highWatermark)
	if p.records == nil {
		return
	}
	next, whole := lastOffset(p.records.b, s.next)
	if !whole {
		// Not even one batch fitted: ask for more, without haste.
		s.maxBytes = min(s.maxBytes*2, maxRecordSet)
		s.retryAt = time.Now().Add(5 * time.Millisecond)
		p.records.put()
		return
	}
	c := Chunk{Offset: s.next, HighWatermark: p.highWatermark, LogStart: p.logStart, buffer: p.records, stream: s}
	s.next = next
	s.account(int64(len(p.records.b)))
	s.queued += len(p.records.b)
	s.queue = append(s.queue, c)
	s.signal()
}

// fail ends the session with an error that was learnt elsewhere.
func (s *Stream) fail(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.active {
		s.end(err)
	}
}

func (s *Stream) end(err error) {
	s.active = false
	s.session++
	s.queue = append(s.queue, Chunk{Offset: s.next, Err: err})
	s.signal()
}

// lastOffset walks the batches' headers and returns the offset after the last
// whole one. A header that cannot be right counts as whole: the reader is the
// one to say what is wrong with it.
func lastOffset(b []byte, next int64) (int64, bool) {
	const header = 12 // base offset and length
	whole := false
	for len(b) >= header+15 {
		size := int64(int32(binary.BigEndian.Uint32(b[8:]))) + header
		if size < header+15 {
			return next, true
		}
		if size > int64(len(b)) {
			break
		}
		base := int64(binary.BigEndian.Uint64(b))
		last := base + int64(int32(binary.BigEndian.Uint32(b[header+11:])))
		next, whole = max(next, last+1), true
		b = b[size:]
	}
	return next, whole
}
