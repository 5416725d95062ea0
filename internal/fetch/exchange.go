package fetch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	kfetch "github.com/segmentio/kafka-go/protocol/fetch"
)

// The versions of Fetch that are understood: from the first that carries the log
// start offset to the last that kafka-go knows.
const (
	minVersion = 5
	maxVersion = 11
)

// maxRecordSet bounds what one partition's answer may claim to be: a broker's
// largest batch (message.max.bytes) is far below.
const maxRecordSet = 256 << 20

// want asks for one partition.
type want struct {
	topic     string
	partition int32
	offset    int64
	maxBytes  int32
}

// part is one partition's answer.
type part struct {
	topic         string
	partition     int32
	code          int16
	highWatermark int64
	logStart      int64
	records       *Buffer // nil: none
}

// exchange is one request and its response. It is used again only when the
// round trip completed: see Buffer.
type exchange struct {
	broker  int32 // -1: the leader of the first partition asked for
	request kfetch.Request
	version int16
	parts   []part
	code    int16

	r       io.Reader
	left    int // bytes of the response not yet read
	scratch [64]byte
	names   map[string]string // topic names, so that reading one allocates nothing
}

func newExchange() *exchange { return &exchange{names: map[string]string{}} }

// prepare sets what to ask for. wants are sorted by topic.
func (x *exchange) prepare(broker int32, wants []want, maxWaitMillis, minBytes, maxBytes int32) {
	x.broker, x.parts, x.code = broker, x.parts[:0], 0
	topics := x.request.Topics[:0]
	for _, w := range wants {
		if n := len(topics); n == 0 || topics[n-1].Topic != w.topic {
			if n < cap(topics) {
				topics = topics[:n+1]
				topics[n].Topic, topics[n].Partitions = w.topic, topics[n].Partitions[:0]
			} else {
				topics = append(topics, kfetch.RequestTopic{Topic: w.topic})
			}
			x.names[w.topic] = w.topic
		}
		t := &topics[len(topics)-1]
		// -1 says "not known" for the epoch and "not a replica" for the rest:
		// zero would be compared with the leader's and refused after its first move.
		t.Partitions = append(t.Partitions, kfetch.RequestPartition{
			Partition: w.partition, CurrentLeaderEpoch: -1, FetchOffset: w.offset,
			LogStartOffset: -1, PartitionMaxBytes: w.maxBytes,
		})
	}
	x.request = kfetch.Request{
		ReplicaID: -1, MaxWaitTime: maxWaitMillis, MinBytes: minBytes, MaxBytes: maxBytes,
		SessionEpoch: -1, Topics: topics,
	}
}

// ApiKey makes it a Fetch.
func (x *exchange) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker says which broker the request goes to.
func (x *exchange) Broker(c protocol.Cluster) (protocol.Broker, error) {
	if x.broker < 0 {
		return x.request.Broker(c)
	}
	b, ok := c.Brokers[x.broker]
	if !ok {
		return protocol.Broker{ID: -1}, fmt.Errorf("cannot fetch: broker %d is not in the cluster", x.broker)
	}
	return b, nil
}

// Required keeps the version that the connection has negotiated.
func (x *exchange) Required(versions map[protocol.ApiKey]int16) bool {
	x.version = versions[protocol.Fetch]
	return true
}

const correlationID = 1

// RawExchange writes the request and reads the response.
func (x *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if x.version < minVersion || x.version > maxVersion {
		return nil, fmt.Errorf("cannot fetch: broker and client share only version %d of Fetch, need %d to %d", x.version, minVersion, maxVersion)
	}
	if err := protocol.WriteRequest(rw, x.version, correlationID, "millrace", &x.request); err != nil {
		return nil, err
	}
	x.r, x.left = rw, 4
	size, err := x.int32()
	if err != nil {
		return nil, err
	}
	if size < 4 {
		return nil, fmt.Errorf("cannot read fetch response: size %d", size)
	}
	x.left = int(size)
	if err := x.read(); err != nil {
		x.drop()
		return nil, fmt.Errorf("cannot read fetch response: %w", err)
	}
	return x, nil
}

// drop forgets the parts; their buffers stay with the garbage collector.
func (x *exchange) drop() { x.parts = x.parts[:0] }

var errShort = errors.New("response is shorter than its fields")

func (x *exchange) take(n int) ([]byte, error) {
	if n > x.left {
		return nil, errShort
	}
	b := x.scratch[:n]
	x.left -= n
	_, err := io.ReadFull(x.r, b)
	return b, err
}

func (x *exchange) int16() (int16, error) {
	b, err := x.take(2)
	if err != nil {
		return 0, err
	}
	return int16(binary.BigEndian.Uint16(b)), nil
}

func (x *exchange) int32() (int32, error) {
	b, err := x.take(4)
	if err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}

// count reads the length of an array whose elements have at least size bytes.
func (x *exchange) count(size int) (int, error) {
	n, err := x.int32()
	if err == nil && int(n) > x.left/size {
		err = errShort
	}
	return int(n), err
}

// topic reads a topic's name.
func (x *exchange) topic() (string, error) {
	n, err := x.int16()
	if err != nil {
		return "", err
	}
	if n < 0 || int(n) > x.left {
		return "", errShort
	}
	var long []byte
	if int(n) > len(x.scratch) {
		long = make([]byte, n)
		x.left -= int(n)
		_, err = io.ReadFull(x.r, long)
	} else {
		long, err = x.take(int(n))
	}
	if err != nil {
		return "", err
	}
	name, ok := x.names[string(long)]
	if !ok {
		return "", fmt.Errorf("topic %q was not asked for", long)
	}
	return name, nil
}

func (x *exchange) read() error {
	if id, err := x.int32(); err != nil || id != correlationID {
		return errors.Join(err, errors.New("correlation id differs"))
	}
	if _, err := x.int32(); err != nil { // throttle time
		return err
	}
	var err error
	if x.version >= 7 {
		if x.code, err = x.int16(); err != nil {
			return err
		}
		if _, err = x.int32(); err != nil { // session
			return err
		}
	}
	topics, err := x.count(6)
	if err != nil {
		return err
	}
	for range topics {
		name, err := x.topic()
		if err != nil {
			return err
		}
		partitions, err := x.count(38)
		if err != nil {
			return err
		}
		for range partitions {
			if err := x.partition(name); err != nil {
				return err
			}
		}
	}
	if x.left != 0 {
		return fmt.Errorf("%d bytes behind the last field", x.left)
	}
	return nil
}

func (x *exchange) partition(topic string) error {
	b, err := x.take(4 + 2 + 8 + 8 + 8)
	if err != nil {
		return err
	}
	p := part{
		topic:         topic,
		partition:     int32(binary.BigEndian.Uint32(b)),
		code:          int16(binary.BigEndian.Uint16(b[4:])),
		highWatermark: int64(binary.BigEndian.Uint64(b[6:])),
		logStart:      int64(binary.BigEndian.Uint64(b[22:])),
	}
	aborted, err := x.count(16)
	if err != nil {
		return err
	}
	for range max(aborted, 0) {
		if _, err := x.take(16); err != nil {
			return err
		}
	}
	if x.version >= 11 {
		if _, err := x.int32(); err != nil { // preferred read replica
			return err
		}
	}
	size, err := x.int32()
	if err != nil {
		return err
	}
	if int(size) > x.left || size > maxRecordSet {
		return fmt.Errorf("record set of %d bytes: %w", size, errShort)
	}
	if size > 0 {
		p.records = getBuffer(int(size))
		x.left -= int(size)
		if _, err := io.ReadFull(x.r, p.records.b); err != nil {
			return err
		}
	}
	x.parts = append(x.parts, p)
	return nil
}
