package ingester

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"millrace/ingester/peers"
	"millrace/ingester/publish"
	"millrace/ingester/tap"
	"millrace/ingester/transport"
	"millrace/schema"
)

// stub is a cluster in a function call, which acknowledges every batch: it costs
// next to nothing, so that what is measured is the pipeline.
type stub struct{}

func (stub) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	switch req.ApiKey() {
	case protocol.Metadata:
		r := req.(interface {
			Required(map[protocol.ApiKey]int16) bool
			RawExchange(io.ReadWriter) (protocol.Message, error)
		})
		const version = 1
		r.Required(map[protocol.ApiKey]int16{protocol.Metadata: version})
		res := &metadata.Response{Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: "127.0.0.1", Port: 1}}}
		for _, k := range schema.Kinds() {
			t := metadata.ResponseTopic{Name: "millrace." + k.Topic}
			for i := range 4 {
				t.Partitions = append(t.Partitions, metadata.ResponsePartition{PartitionIndex: int32(i), LeaderID: 1})
			}
			res.Topics = append(res.Topics, t)
		}
		var answer bytes.Buffer
		if err := protocol.WriteResponse(&answer, version, 1, res); err != nil {
			return nil, err
		}
		return r.RawExchange(struct {
			io.Reader
			io.Writer
		}{&answer, io.Discard})
	case protocol.InitProducerId:
		return &initproducerid.Response{ProducerID: 1}, nil
	case protocol.Produce:
		t := reflect.ValueOf(req).Elem().FieldByName("Topics").Interface().([]rawproduce.RequestTopic)[0]
		if _, err := t.Partitions[0].RecordSet.WriteTo(io.Discard); err != nil {
			return nil, err
		}
		return &produce.Response{Topics: []produce.ResponseTopic{{
			Topic: t.Topic, Partitions: []produce.ResponsePartition{{Partition: t.Partitions[0].Partition}},
		}}}, nil
	}
	return nil, fmt.Errorf("unexpected request %T", req)
}

// newSink is a sink whose batches the stub acknowledges. With run false nothing is
// ever sealed by time, nor sent.
func newSink(t testing.TB, run bool, change func(*publish.Options)) *sink {
	t.Helper()
	cfg := parse(t, "127.0.0.1:1", "  - {name: bench, address: 'tcp://127.0.0.1:0'}\n", "")
	plans, err := plan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &cfg.Listeners[0]
	in := &input{
		name: schema.Padded(l.Name), transport: schema.Padded("tcp"), waits: true,
		ledger: newLedger(new(transport.Stats)), gate: new(Gate), taps: new(tap.Hub), hard: context.Background(),
		rejects: newRejectLimit(l.RejectLimit), samples: newSamples(), peers: peers.New(peers.Max), hosts: peers.New(peers.Max),
	}
	in.follow(plans[0])
	o := publish.Options{
		Brokers: cfg.Kafka.Brokers, Transport: stub{}, TopicPrefix: cfg.Kafka.TopicPrefix, Compression: cfg.Kafka.Compression,
		BatchBytes: int(cfg.Kafka.BatchBytes), BufferBytes: int(cfg.Kafka.BufferBytes), Linger: 50 * time.Millisecond, Metadata: time.Hour, Tags: outcomes,
		OnAck: func(counts []uint32) {
			for outcome, n := range counts {
				if n != 0 {
					in.ledger.acknowledge(outcome, n)
				}
			}
		},
	}
	if change != nil {
		change(&o)
	}
	if in.publisher, err = publish.New(o); err != nil {
		t.Fatal(err)
	}
	s := in.open(nil)
	if !run {
		return s
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.publisher.Run(ctx, context.Background()) }()
	<-in.publisher.Ready()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if a := in.ledger.read(); !a.Closes() || a.InFlight != 0 {
			t.Errorf("the account does not close: %+v", a)
		}
	}))
	return s
}

var benchPeer = netip.MustParseAddrPort("192.0.2.7:40000")
