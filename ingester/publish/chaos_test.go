package publish_test

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// chaos stands between a publisher and its brokers and breaks both, on a course
// that its seed decides: what happens to an attempt depends on the partition and
// the attempt's number there, what happens to the cluster on how many attempts
// there have been. Only the order in which goroutines come by is left to chance.
type chaos struct {
	*kafka.Transport
	cluster *kfake.Cluster // nil: only the network breaks
	seed    uint64
	topics  []string
	// forget lets brokers answer that they do not know the producer or its
	// sequence any more: the one way in which a record may be doubled.
	forget bool

	calm  atomic.Bool // from now on nothing breaks
	tries atomic.Int64
	net   slowNetwork

	mu       sync.Mutex
	attempts map[int64]uint64 // by topic and partition
	did      map[string]int   // how often what was done
	added    []int32          // brokers
}

// maxTries is the length of a course: the last batches alone among the faults
// would take long.
const maxTries = 400

func newChaos(c *kfake.Cluster, seed uint64, topics []string, timeout time.Duration) *chaos {
	x := &chaos{cluster: c, seed: seed, topics: topics, attempts: map[int64]uint64{}, did: map[string]int{}}
	x.net.timeout = timeout
	x.Transport = x.net.transport()
	x.Transport.Dial = x.net.dialSlow
	return x
}

// draw is a source of choices for one thing.
func (x *chaos) draw(thing string, numbers ...uint64) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, thing)
	for _, n := range numbers {
		for ; n > 0; n >>= 8 {
			_, _ = h.Write([]byte{byte(n)})
		}
		_, _ = h.Write([]byte{0, 1})
	}
	return rand.New(rand.NewPCG(x.seed, h.Sum64()))
}

func (x *chaos) note(what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.did[what]++
}

// RoundTrip implements kafka.RoundTripper.
func (x *chaos) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	if x.calm.Load() {
		return x.Transport.RoundTrip(ctx, addr, req)
	}
	if req.ApiKey() != protocol.Produce {
		return x.Transport.RoundTrip(ctx, addr, req)
	}
	switch n := x.tries.Add(1); {
	case n > maxTries:
		x.calm.Store(true)
	case n%6 == 0:
		x.breakCluster(x.draw("cluster", uint64(n)))
	}
	return x.produce(ctx, addr, req)
}

// produce is one attempt to send a batch, with what the way there and back may
// do to it.
func (x *chaos) produce(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	var n int64
	if p, ok := req.(interface{ Place() (string, int32) }); ok {
		topic, partition := p.Place()
		n = int64(slices.Index(x.topics, topic))<<32 | int64(partition)
	}
	x.mu.Lock()
	x.attempts[n]++
	r := x.draw("attempt", uint64(n), x.attempts[n])
	x.mu.Unlock()

	what := r.IntN(100)
	if what < 4 {
		x.note("request not sent")
		return nil, errors.New("chaos: no way to the broker")
	}
	m, err := x.Transport.RoundTrip(ctx, addr, req)
	if err != nil {
		x.note("request or answer cut, or too late")
		return m, err
	}
	res, ok := m.(*produce.Response)
	if !ok {
		return m, err
	}
	answer := &res.Topics[0].Partitions[0]
	switch {
	case what < 10:
		x.note("answer lost")
		return nil, io.ErrUnexpectedEOF
	case what < 12:
		x.note("answer later than the timeout")
		<-ctx.Done()
		return nil, ctx.Err()
	case what < 24 && answer.ErrorCode == 0:
		x.note("appended, and an error in answer")
		answer.ErrorCode = maybeAppended[r.IntN(len(maybeAppended))]
	case what < 30:
		x.note("throttled")
		res.ThrottleTimeMs = int32(1 + r.IntN(40))
	}
	return res, nil
}

// maybeAppended are the codes with which a broker can answer when the batch is
// in its log, or in that of the next leader.
var maybeAppended = []int16{
	kerr.RequestTimedOut.Code, kerr.NotEnoughReplicasAfterAppend.Code, kerr.NotLeaderForPartition.Code,
	kerr.KafkaStorageError.Code, kerr.NetworkException.Code, kerr.UnknownServerError.Code,
	kerr.LeaderNotAvailable.Code, kerr.UnknownTopicOrPartition.Code, kerr.FencedLeaderEpoch.Code,
}

// notAppended are those with which it refuses a batch.
var notAppended = []*kerr.Error{
	kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.KafkaStorageError, kerr.CorruptMessage,
	kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.ThrottlingQuotaExceeded, kerr.PolicyViolation,
	kerr.UnknownServerError, kerr.TopicAuthorizationFailed, kerr.NetworkException,
}

var forgets = []*kerr.Error{
	kerr.UnknownProducerID, kerr.InvalidProducerIDMapping, kerr.OutOfOrderSequenceNumber,
	kerr.InvalidProducerEpoch, kerr.ProducerFenced,
}

var noProducerID = []*kerr.Error{
	kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RequestTimedOut,
}

func oneOf[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// breakCluster does one thing to the brokers.
func (x *chaos) breakCluster(r *rand.Rand) {
	if x.cluster == nil {
		x.breakNetwork(r)
		return
	}
	topic := oneOf(r, x.topics)
	infos := x.cluster.PartitionInfos(topic)
	if len(infos) == 0 {
		return
	}
	partition := int32(r.IntN(len(infos)))
	count := 1 + r.IntN(4)
	switch r.IntN(12) {
	case 0:
		x.note("a leader moves")
		_ = x.cluster.MoveTopicPartition(topic, partition, int32(r.IntN(4))) // where there is such a broker
	case 1:
		x.note("all leaders move")
		x.cluster.ShufflePartitionLeaders()
	case 2, 3, 10:
		x.breakNetwork(r)
	case 4, 5:
		x.note("a partition refuses")
		x.cluster.Fault(kfake.Fault{Keys: produceKey, Topic: topic, Partitions: []int32{partition}, Err: oneOf(r, notAppended), Count: count})
	case 6:
		x.note("all refuse")
		x.cluster.Fault(kfake.Fault{Keys: produceKey, Err: oneOf(r, notAppended), Count: count})
	case 7:
		if x.forget {
			x.note("producer forgotten")
			x.cluster.Fault(kfake.Fault{Keys: produceKey, Topic: topic, Err: oneOf(r, forgets), Count: count})
		}
		x.note("no producer id")
		x.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: oneOf(r, noProducerID), Count: count})
	case 8:
		x.note("coordinators move")
		x.cluster.RehashCoordinators()
	case 9:
		x.note("metadata fail")
		x.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: topic,
			Err: oneOf(r, []*kerr.Error{kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable}), Count: count})
	case 11:
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(x.added) > 0 && r.IntN(2) == 0 {
			x.did["a broker goes"]++
			_ = x.cluster.RemoveNode(x.added[0])
			x.added = x.added[1:]
		} else if len(x.added) < 3 {
			if id, _, err := x.cluster.AddNode(-1, 0); err == nil {
				x.did["a broker comes"]++
				x.added = append(x.added, id)
			}
		}
	}
}

func (x *chaos) breakNetwork(r *rand.Rand) {
	switch r.IntN(3) {
	case 0:
		x.note("connections cut")
		x.net.cutAll()
	case 1:
		x.note("network away")
		x.net.away.Store(int64(3 + r.IntN(10)))
		x.net.cutAll()
	case 2:
		x.note("slow connections")
		x.net.slow.Add(int64(1 + r.IntN(4)))
	}
}

// slowNetwork is a network in which requests can be under way for longer than
// anyone waits for them: they arrive when their repetition has arrived already.
type slowNetwork struct {
	network
	timeout time.Duration // of those who wait
	away    atomic.Int64  // how many more dials fail
	slow    atomic.Int64  // how many more produce requests are held up or torn
	held    atomic.Int64  // how many were
}

func (n *slowNetwork) cutAll() {
	n.set(true)
	n.set(false)
}

func (n *slowNetwork) dialSlow(ctx context.Context, nw, address string) (net.Conn, error) {
	if takeOne(&n.away) {
		return nil, &net.OpError{Op: "dial", Net: nw, Err: errors.New("network is away")}
	}
	c, err := n.dial(ctx, nw, address)
	if err != nil {
		return nil, err
	}
	return &slowConn{Conn: c, n: n}, nil
}

// takeOne counts down to zero, and says whether it was above.
func takeOne(n *atomic.Int64) bool {
	for {
		left := n.Load()
		if left <= 0 {
			return false
		}
		if n.CompareAndSwap(left, left-1) {
			return true
		}
	}
}

// slowConn can hold a request up. It then delivers what was written even when the
// writer has closed it, as a socket's buffer does.
type slowConn struct {
	net.Conn
	n *slowNetwork

	mu     sync.Mutex
	late   []byte // not nil: what has been written and is held up
	closed bool
}

func (c *slowConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late != nil {
		c.late = append(c.late, b...)
		return len(b), nil
	}
	produces := len(b) > 8 && b[4] == 0 && b[5] == byte(kmsg.Produce) // a request begins with its size and key
	if !produces || !takeOne(&c.n.slow) {
		return c.Conn.Write(b)
	}
	held := c.n.held.Add(1)
	if held%4 == 0 {
		n, _ := c.Conn.Write(b[:len(b)/2])
		c.Conn.Close()
		return n, io.ErrClosedPipe
	}
	c.late = slices.Clone(b)
	time.AfterFunc(c.n.timeout*time.Duration(1+2*(held%5))/4, c.deliver)
	return len(b), nil
}

func (c *slowConn) deliver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.Conn.SetWriteDeadline(time.Time{})
	_, _ = c.Conn.Write(c.late)
	c.late = nil
	if c.closed {
		// Half of it: the broker reads the request, and the end after it.
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.n.timeout))
		go func() {
			_, _ = io.Copy(io.Discard, c.Conn)
			c.Conn.Close()
		}()
	}
}

func (c *slowConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.late != nil {
		return nil // by deliver
	}
	return c.Conn.Close()
}
