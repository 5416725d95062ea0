package publish

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// state is what the publisher says of Kafka.
type state struct {
	mu          sync.Mutex
	unreachable error // of asking for metadata
	answered    bool  // Kafka has answered at least once
	err         error // what State returns
	class       string
	ready       chan struct{} // closed when err is nil for the first time

	// What the log said last, and when. A trouble that comes and goes with every batch must
	// not have two lines for each.
	told      string
	toldAt    time.Time
	troubleAt time.Time
	later     *time.Timer // tells of a trouble that was not told of at once, if it lasts
}

// State is nil when Kafka takes records of every kind, else it says why not and
// what to do. It is cheap.
func (p *Publisher) State() error {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	return p.state.err
}

// Ready is closed when Kafka can take records for the first time.
func (p *Publisher) Ready() <-chan struct{} { return p.state.ready }

// setReachable notes how asking for metadata went. One failure may be an old
// connection's: it counts when it is the first answer or not the only one.
func (p *Publisher) setReachable(err error, failures int) {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	switch {
	case err == nil:
		p.state.unreachable, p.state.answered = nil, true
	case !p.state.answered || failures > 1:
		p.state.unreachable = fmt.Errorf("cannot reach Kafka at %s: %w; check that it runs and that kafka.brokers names it", p.o.where(), plain(err))
	}
}

// stateInterval is the least time between two lines that tell of a trouble.
const stateInterval = 5 * time.Second

// judge derives the state anew and logs a change of it, once.
func (p *Publisher) judge() {
	s := &p.state
	s.mu.Lock() // before looking, so that an older view never replaces a newer one
	defer s.mu.Unlock()
	var err error
	class := ""
	for _, t := range p.topics {
		if e := t.health(); e != nil {
			err, class = e, "topic "+t.name
			break
		}
	}
	if s.unreachable != nil {
		err, class = s.unreachable, "unreachable"
	}
	s.err, s.class = err, class
	if err == nil {
		select {
		case <-s.ready:
		default:
			close(s.ready)
		}
	}
	if class == s.told {
		return
	}
	if wait := time.Until(s.troubleAt.Add(stateInterval)); err != nil && wait > 0 {
		if s.later == nil {
			s.later = time.AfterFunc(wait, p.judgeLater)
		}
		return
	}
	before, lasted := s.told, time.Since(s.toldAt).Round(time.Millisecond)
	s.told, s.toldAt = class, time.Now()
	switch {
	case err != nil:
		s.troubleAt = s.toldAt
		p.o.Log.Warn("Kafka does not take records", "error", err)
	case before == classStart:
		p.o.Log.Info("Kafka takes records", "brokers", p.o.where())
	default:
		p.o.Log.Info("Kafka takes records again", "brokers", p.o.where(), "after", lasted)
	}
}

// judgeLater is judge for a change that was not told at once.
func (p *Publisher) judgeLater() {
	p.state.mu.Lock()
	p.state.later = nil
	p.state.mu.Unlock()
	p.judge()
}

// classStart is the state before the first answer.
const classStart = "start"

// health is nil when a partition of the topic can take a batch.
func (t *topic) health() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	var err error
	for _, q := range t.partitions {
		switch {
		case q.gone || q.leader < 0:
		case q.err == nil:
			return nil
		default:
			err = q.err
		}
	}
	if err == nil {
		err = fmt.Errorf("no partition of topic %q has a leader; see kafka-topics.sh --bootstrap-server %s --describe --topic %s",
			t.name, t.p.o.Brokers[0], t.name)
	}
	return fmt.Errorf("cannot publish to topic %q: %w", t.name, plain(err))
}

// plain takes kafka-go's words for being out of time off an error.
func plain(err error) error {
	if err != nil && strings.Contains(err.Error(), "context deadline exceeded") {
		return errors.New("no answer in time")
	}
	return err
}

// hint is what an operator can do about an error code.
func (p *Publisher) hint(code kafka.Error, t *topic) string {
	server := p.o.Brokers[0]
	switch code {
	case kafka.UnknownTopicOrPartition:
		return fmt.Sprintf("; create it: kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions N --replication-factor N", server, t.name)
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return fmt.Sprintf("; kafka.batch_bytes is %d: make it smaller, or the topic's max.message.bytes larger: kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config max.message.bytes=%d",
			p.o.BatchBytes, server, t.name, p.o.BatchBytes+p.o.BatchBytes/8)
	case kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return fmt.Sprintf("; grant it: kafka-acls.sh --bootstrap-server %s --add --allow-principal User:NAME --operation Write --operation Describe --topic %s", server, t.name)
	case kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend:
		return "; fewer replicas are in sync than min.insync.replicas asks for: look at the brokers"
	case kafka.UnsupportedCompressionType:
		return fmt.Sprintf("; kafka.compression is %s: the brokers are too old for it", p.o.Compression)
	}
	return ""
}
