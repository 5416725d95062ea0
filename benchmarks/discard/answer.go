package discard

import (
	"encoding/binary"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/recordbatch"
)

// node is the id of the only broker.
const node = 1

// answer returns the response to a request, nil when none is wanted or the request is none of ours.
func (b *Broker) answer(req kmsg.Request) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		return b.versions(req)
	case *kmsg.MetadataRequest:
		return b.metadata(req)
	case *kmsg.DescribeConfigsRequest:
		return b.configs(req)
	case *kmsg.InitProducerIDRequest:
		res := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		res.ProducerID = b.producer.Add(1)
		return res
	case *kmsg.ProduceRequest:
		res := b.produce(req)
		if req.Acks == 0 {
			return nil
		}
		return res
	}
	return nil
}

func (b *Broker) versions(req *kmsg.ApiVersionsRequest) kmsg.Response {
	res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	for _, s := range served {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = s.key, s.oldest, s.newest
		res.ApiKeys = append(res.ApiKeys, k)
	}
	return res
}

func (b *Broker) metadata(req *kmsg.MetadataRequest) kmsg.Response {
	res := req.ResponseKind().(*kmsg.MetadataResponse)
	host, port, _ := net.SplitHostPort(b.Addr())
	number, _ := strconv.Atoi(port)
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = node, host, int32(number)
	res.Brokers = append(res.Brokers, broker)
	res.ClusterID = kmsg.StringPtr("discard")
	res.ControllerID = node
	for _, asked := range req.Topics {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = asked.Topic
		for i := range b.o.Partitions {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.LeaderEpoch = int32(i), node, 0
			p.Replicas, p.ISR = []int32{node}, []int32{node}
			topic.Partitions = append(topic.Partitions, p)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

// configs says that every topic is there and has no settings of its own.
func (b *Broker) configs(req *kmsg.DescribeConfigsRequest) kmsg.Response {
	res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, r := range req.Resources {
		resource := kmsg.NewDescribeConfigsResponseResource()
		resource.ResourceType, resource.ResourceName = r.ResourceType, r.ResourceName
		res.Resources = append(res.Resources, resource)
	}
	return res
}

func (b *Broker) produce(req *kmsg.ProduceRequest) kmsg.Response {
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = t.Topic
		for j := range t.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition = t.Partitions[j].Partition
			p.ErrorCode, p.BaseOffset = b.count(t.Topic, p.Partition, t.Partitions[j].Records)
			topic.Partitions = append(topic.Partitions, p)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

// Where the fields of a record batch's header lie.
const (
	atLength   = 8
	atMagic    = 16
	atProducer = 43
	atEpoch    = 51
	atSequence = 53
	atCount    = 57
)

// count takes the one batch of a partition into the counts and returns Kafka's error
// code and the offset of its first record, which is the topic's here.
func (b *Broker) count(topic string, partition int32, batch []byte) (code int16, offset int64) {
	if len(batch) < recordbatch.HeaderSize || batch[atMagic] != 2 || len(batch) != 12+int(binary.BigEndian.Uint32(batch[atLength:])) {
		return kerr.CorruptMessage.Code, -1
	}
	records := int32(binary.BigEndian.Uint32(batch[atCount:]))
	s := sequence{
		producer:  int64(binary.BigEndian.Uint64(batch[atProducer:])),
		epoch:     int16(binary.BigEndian.Uint16(batch[atEpoch:])),
		topic:     topic,
		partition: partition,
	}
	first := int32(binary.BigEndian.Uint32(batch[atSequence:]))

	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counts[topic]
	if c == nil {
		c = &Counts{}
		b.counts[topic] = c
	}
	if s.producer >= 0 {
		switch next := b.next[s]; {
		case first == next:
			b.next[s] = recordbatch.NextSequence(first, records)
		case first-next < 0: // also across the wrap
			c.Duplicates += uint64(records)
			return 0, -1
		default:
			return kerr.OutOfOrderSequenceNumber.Code, -1
		}
	}
	offset = int64(c.Records)
	c.Records += uint64(records)
	c.Bytes += uint64(len(batch))
	c.Batches++
	return 0, offset
}
