package publish

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

// The requests of this package are types of its own, because kafka-go's routing
// looks at a request's type and does more than is wanted for its own ones.

// produceRequest is rawproduce.Request that goes to the leader we know of:
// kafka-go would use metadata that is up to its MetadataTTL old.
type produceRequest struct {
	// The fields of rawproduce.Request, in its order: kafka-go encodes by
	// position.
	TransactionalID string
	Acks            int16
	Timeout         int32
	Topics          []rawproduce.RequestTopic

	leader int32
}

var _ protocol.BrokerMessage = (*produceRequest)(nil)

func (r *produceRequest) ApiKey() protocol.ApiKey           { return protocol.Produce }
func (r *produceRequest) TypeKey() protocol.OverrideTypeKey { return protocol.RawProduceOverride }
func (r *produceRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	b, ok := c.Brokers[r.leader]
	if !ok {
		return protocol.Broker{ID: -1}, fmt.Errorf("the address of broker %d is not known yet", r.leader)
	}
	return b, nil
}

// producerIDRequest is initproducerid.Request without its transactional id in
// Go's eyes: with it kafka-go first looks for a transaction coordinator, which
// can make a broker create the topic of transactions.
type producerIDRequest initproducerid.Request

func (r *producerIDRequest) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// leadersRequest asks the cluster for the leaders of topics. kafka-go answers a
// metadata.Request from its cache, so this exchanges the bytes itself.
type leadersRequest struct {
	Topics  []string
	version int16
}

// leadersResponse hides metadata.Response from kafka-go's cache handling.
type leadersResponse struct{ metadata.Response }

func (r *leadersRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Required is asked once per connection, with the versions agreed on it.
func (r *leadersRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Metadata]
	return true
}

// RawExchange writes the request to the connection and reads the response.
func (r *leadersRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const correlation = 1 // one request at a time on a connection
	err := protocol.WriteRequest(rw, r.version, correlation, "millrace", &metadata.Request{TopicNames: r.Topics})
	if err != nil {
		return nil, err
	}
	id, m, err := protocol.ReadResponse(rw, protocol.Metadata, r.version)
	if err != nil {
		return nil, err
	}
	res, ok := m.(*metadata.Response)
	if !ok || id != correlation {
		return nil, fmt.Errorf("cannot read metadata: got %T with correlation id %d", m, id)
	}
	return &leadersResponse{*res}, nil
}

// errBodyClosed stops an attempt that nobody waits for any more.
var errBodyClosed = errors.New("the attempt to send this batch has ended")

// body is a batch on its way into one request, as the record set that kafka-go
// copies into its own pages.
//
// It settles two questions that kafka-go leaves open when a call ends with its
// context: whether the batch can have been sent (not, when nobody has begun to
// read), and whether its bytes are still being read (not, once close returns).
type body struct {
	mu     sync.Mutex
	batch  []byte // nil when closed
	read   bool
	prefix [4]byte // the size of the record set stands before it
}

func newBody(batch []byte) *body {
	b := &body{batch: batch}
	binary.BigEndian.PutUint32(b.prefix[:], uint32(len(batch)))
	return b
}

// WriteTo implements io.WriterTo. The writer is memory of kafka-go's, so the
// lock is held for the time of a copy.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.batch == nil {
		return 0, errBodyClosed
	}
	b.read = true
	n, err := w.Write(b.prefix[:])
	if err != nil {
		return int64(n), err
	}
	m, err := w.Write(b.batch)
	return int64(n) + int64(m), err
}

// Read implements io.Reader, for a kafka-go that copies in another way.
func (b *body) Read([]byte) (int, error) {
	return 0, errors.New("BUG: the body of a produce request is read in pieces")
}

// close ends all access to the batch and says whether it was ever read.
func (b *body) close() (read bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batch = nil
	return b.read
}

var _ kafka.Request = (*leadersRequest)(nil)
