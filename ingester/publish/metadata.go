package publish

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// metadataPause is the least time between two questions for leaders.
	metadataPause = 100 * time.Millisecond
	// metadataTimeout bounds one question.
	metadataTimeout = 5 * time.Second
	// maxPartitions of a topic that we believe a broker.
	maxPartitions = 100_000
)

// wantLeaders asks for fresh metadata soon.
func (p *Publisher) wantLeaders() {
	select {
	case p.stale <- struct{}{}:
	default:
	}
}

// followLeaders keeps the partitions and their leaders up to date until the hard
// context ends: at intervals, at once after a failed attempt, and more often
// while Kafka cannot take records.
func (p *Publisher) followLeaders() {
	failures, trouble := 0, 0 // in a row: of asking; rounds in which Kafka did not take records
	for {
		err := p.refresh()
		if p.hard.Err() != nil {
			return
		}
		if err != nil {
			failures++
		} else {
			failures = 0
		}
		p.setReachable(err, failures)
		p.judge()
		wait := p.o.Metadata
		if p.State() != nil || err != nil {
			trouble++
			wait = min(wait, backoff(trouble))
		} else {
			trouble = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-p.hard.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-p.stale:
			timer.Stop()
			p.pause(metadataPause)
		}
	}
}

// refresh asks once.
func (p *Publisher) refresh() error {
	ctx, cancel := context.WithTimeout(p.hard, metadataTimeout)
	defer cancel()
	m, err := p.o.Transport.RoundTrip(ctx, p.address, &leadersRequest{Topics: p.topicNames})
	if err != nil {
		return err
	}
	res, ok := m.(*leadersResponse)
	if !ok {
		return fmt.Errorf("cannot read metadata: got %T", m)
	}
	brokers := make(map[int32]bool, len(res.Brokers))
	for i := range res.Brokers {
		brokers[res.Brokers[i].NodeID] = true
	}
	changed := false
	for _, t := range p.topics {
		for i := range res.Topics {
			if res.Topics[i].Name == t.name {
				changed = t.update(&res.Topics[i], brokers) || changed
			}
		}
	}
	if changed {
		p.wakeSenders()
	}
	return nil
}

// update takes over what the cluster says of the topic and says whether a
// partition has another leader now.
func (t *topic) update(m *metadata.ResponseTopic, brokers map[int32]bool) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	code := kafka.Error(m.ErrorCode)
	t.err = nil
	if code != 0 {
		t.err = fmt.Errorf("cannot publish to topic %q: %w%s", t.name, code, t.p.hint(code, t))
		// A topic that is away may come back as it was: partitions keep their
		// identities and batches wait.
		for _, q := range t.partitions {
			q.leader = -1
		}
		return false
	}
	seen := make([]bool, len(t.partitions))
	for i := range m.Partitions {
		id := m.Partitions[i].PartitionIndex
		if id < 0 || id >= maxPartitions {
			continue
		}
		for int(id) >= len(t.partitions) {
			t.partitions = append(t.partitions, &partition{id: int32(len(t.partitions)), leader: -1, identity: noIdentity, refused: -1})
			seen = append(seen, false)
		}
		seen[id] = true
		leader := m.Partitions[i].LeaderID
		if !brokers[leader] {
			leader = -1
		}
		q := t.partitions[id]
		q.gone = false
		if q.leader != leader {
			q.leader = leader
			q.notUntil = time.Time{} // a new leader is worth an attempt at once
			changed = true
		}
	}
	for i, q := range t.partitions {
		if !seen[i] && !q.gone {
			q.gone, q.leader, changed = true, -1, true
		}
	}
	t.dispatch()
	return changed
}

// sleep waits for d, for a change of leaders, or for the hard context.
func (p *Publisher) sleep(d time.Duration) {
	p.wakeMu.Lock()
	wake := p.wake
	p.wakeMu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-p.hard.Done():
	}
}

// wakeSenders ends the back-off of senders: there is a new leader to try.
func (p *Publisher) wakeSenders() {
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	close(p.wake)
	p.wake = make(chan struct{})
}

// pause waits for d or for the hard context.
func (p *Publisher) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.hard.Done():
	}
}
