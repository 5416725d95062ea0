package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"millrace/internal/recordbatch"
)

// identity is a producer id and its epoch. Brokers count sequences per identity
// and partition, so a partition may change its identity alone.
type identity struct {
	id    int64
	epoch int16
}

var noIdentity = identity{id: -1, epoch: -1}

// outcome is what is known after an attempt to send a batch.
type outcome uint8

const (
	acknowledged outcome = iota
	notAppended          // it is certainly not in the log
	unknown              // it may be
	forgotten            // not appended: the broker does not accept the identity or the sequence
)

// send takes a batch to a partition and stays until it is acknowledged, or may
// go elsewhere, or the hard context ends.
func (p *Publisher) send(t *topic, q *partition, b *batch) {
	p.pack(b)
	for {
		what, base, err := p.attempt(t, q, b)
		if what == acknowledged {
			q.sequence = recordbatch.NextSequence(b.sequence, b.records)
			p.acknowledge(t, q, b, base)
			return
		}
		if p.hard.Err() != nil {
			p.lose(b)
			t.abandon(q)
			return
		}
		p.stats.Retries.Add(1)
		p.wantLeaders()
		switch {
		case what == unknown:
			b.uncertain = true
		case what == forgotten:
			p.renounce(q, b)
		case !b.uncertain:
			t.giveBack(q, b, err)
			p.judge()
			return
		}
		wait := t.failed(q, err)
		p.judge()
		p.sleep(wait)
		if _, exists := t.leaderOf(q); !exists {
			// The topic was made anew with fewer partitions: what was in this one
			// is gone with it.
			p.renounce(q, b)
			t.giveBack(q, b, err)
			return
		}
	}
}

// renounce makes the partition take a new identity for its next attempt.
func (p *Publisher) renounce(q *partition, b *batch) {
	if q.identity != noIdentity {
		q.refused, q.identity = q.identity.id, noIdentity
	}
	if b.uncertain {
		b.uncertain = false
		p.stats.PossibleDuplicates.Add(uint64(b.records))
	}
}

// acknowledge ends a batch that Kafka has, from offset base on; -1: it did not say where.
func (p *Publisher) acknowledge(t *topic, q *partition, b *batch, base int64) {
	end := int64(-1)
	if base >= 0 {
		end = base + int64(b.records)
	}
	p.stats.Batches.Add(1)
	p.stats.Records.Add(uint64(b.records))
	p.stats.Bytes.Add(uint64(len(b.bytes)))
	p.stats.RecordBytes.Add(uint64(b.size))
	p.o.OnAck(b.counts)
	b.receipts.give()
	p.pool.put(b)
	if t.acknowledged(q, end) {
		p.judge()
	}
}

func (p *Publisher) lose(b *batch) {
	p.stats.Lost.Add(uint64(b.records))
	p.o.OnLost(b.counts)
	b.receipts.forget()
	p.pool.put(b)
}

// packer compresses batches; spare is the buffer that the next one goes to.
type packer struct {
	compressor *recordbatch.Compressor
	spare      []byte
}

// pack compresses a batch once. The packer keeps the batch's buffer and the
// batch gets the packer's.
func (p *Publisher) pack(b *batch) {
	if b.packed || p.packers == nil {
		return
	}
	k := <-p.packers
	if out, ok := k.compressor.Compress(k.spare, b.bytes); ok {
		b.buf, k.spare = k.spare, b.buf
		b.bytes = out
	}
	b.packed = true
	p.packers <- k
}

// attempt sends a batch once. base is the offset that an acknowledgement names, or -1.
func (p *Publisher) attempt(t *topic, q *partition, b *batch) (what outcome, base int64, err error) {
	leader, _ := t.leaderOf(q)
	if leader < 0 {
		return notAppended, -1, fmt.Errorf("partition %d of topic %q has no leader", q.id, t.name)
	}
	if q.identity == noIdentity {
		id, err := p.newIdentity(q)
		if err != nil {
			return notAppended, -1, fmt.Errorf("cannot get a producer id: %w", err)
		}
		q.identity, q.sequence = id, 0
	}
	if b.stamp != q.identity || b.sequence != q.sequence {
		b.stamp, b.sequence = q.identity, q.sequence
		recordbatch.Stamp(b.bytes, b.stamp.id, b.stamp.epoch, b.sequence)
	}
	content := newBody(b.bytes)
	req := &produceRequest{
		Acks:    -1,
		Timeout: int32(p.o.Timeout * 2 / 3 / time.Millisecond),
		Topics: []rawproduce.RequestTopic{{
			Topic: t.name,
			Partitions: []rawproduce.RequestPartition{{
				Partition: q.id,
				RecordSet: protocol.RawRecordSet{Reader: content},
			}},
		}},
		leader: leader,
	}
	m, err := p.roundTrip(req)
	if read := content.close(); err != nil {
		if !read {
			return notAppended, -1, err
		}
		return unknown, -1, err
	}
	return p.result(t, q, leader, m)
}

func (p *Publisher) result(t *topic, q *partition, leader int32, m kafka.Response) (what outcome, base int64, err error) {
	res, ok := m.(*produce.Response)
	if !ok || len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 || res.Topics[0].Partitions[0].Partition != q.id {
		return unknown, -1, fmt.Errorf("cannot read the answer to a produce request for partition %d of topic %q", q.id, t.name)
	}
	if ms := res.ThrottleTimeMs; ms > 0 {
		p.stats.ThrottleMillis.Add(uint64(ms))
		t.throttle(leader, time.Duration(ms)*time.Millisecond)
	}
	answer := &res.Topics[0].Partitions[0]
	code := kafka.Error(answer.ErrorCode)
	what = classify(code)
	if what == acknowledged {
		if code != 0 {
			return what, -1, nil
		}
		return what, answer.BaseOffset, nil
	}
	err = error(code)
	if answer.ErrorMessage != "" {
		err = fmt.Errorf("%w (%s)", code, answer.ErrorMessage)
	}
	return what, -1, fmt.Errorf("partition %d of topic %q: %w%s", q.id, t.name, err, p.hint(code, t))
}

// classify says what an error code of a produce response means for the batch.
// NotLeader is not among the certain ones: a leader that steps down while it
// waits for its replicas answers so, with the batch in its log.
func classify(code kafka.Error) outcome {
	switch code {
	case 0:
		return acknowledged
	case kafka.DuplicateSequenceNumber:
		// The log has the batch, further back than the broker remembers where.
		return acknowledged
	case kafka.OutOfOrderSequenceNumber, kafka.InvalidProducerEpoch, kafka.InvalidProducerIDMapping,
		kafka.UnknownProducerId, kafka.ProducerFenced:
		return forgotten
	case kafka.InvalidMessage, kafka.MessageSizeTooLarge, kafka.InvalidTopic, kafka.RecordListTooLarge,
		kafka.NotEnoughReplicas, kafka.InvalidRequiredAcks, kafka.TopicAuthorizationFailed,
		kafka.ClusterAuthorizationFailed, kafka.InvalidTimestamp, kafka.UnsupportedVersion, kafka.InvalidRequest,
		kafka.UnsupportedForMessageFormat, kafka.PolicyViolation, kafka.UnsupportedCompressionType,
		kafka.InvalidRecord, kafka.ThrottlingQuotaExceeded:
		return notAppended
	}
	return unknown
}

// newIdentity is an identity that the partition has not used. All partitions
// begin with one that they share; one whose identity was refused takes a newer.
func (p *Publisher) newIdentity(q *partition) (identity, error) {
	p.identityMu.Lock()
	defer p.identityMu.Unlock()
	if p.current != noIdentity && p.current.id != q.refused {
		return p.current, nil
	}
	m, err := p.roundTrip(&producerIDRequest{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return noIdentity, err
	}
	res, ok := m.(*initproducerid.Response)
	if !ok {
		return noIdentity, fmt.Errorf("got %T", m)
	}
	if code := kafka.Error(res.ErrorCode); code != 0 {
		if errors.Is(code, kafka.ClusterAuthorizationFailed) {
			return noIdentity, fmt.Errorf("%w; grant IDEMPOTENT_WRITE on the cluster, or WRITE on the topics", code)
		}
		return noIdentity, code
	}
	p.stats.ProducerIDs.Add(1)
	p.current = identity{id: res.ProducerID, epoch: res.ProducerEpoch}
	return p.current, nil
}

// roundTrip bounds a call in time: kafka-go does not by itself.
func (p *Publisher) roundTrip(req kafka.Request) (kafka.Response, error) {
	ctx, cancel := context.WithTimeout(p.hard, p.o.Timeout)
	defer cancel()
	return p.o.Transport.RoundTrip(ctx, p.address, req)
}
