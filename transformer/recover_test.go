package transformer

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/schema"
)

// resetOffsets commits offset without metadata for all partitions of the topic, in
// the name of nobody: what an operator's tool does.
func (w *world) resetOffsets(k *schema.Kind, offset int64) {
	w.t.Helper()
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation = w.group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = w.topic(k)
	for p := range int32(partitions) {
		c := kmsg.NewOffsetCommitRequestTopicPartition()
		c.Partition, c.Offset = p, offset
		t.Partitions = append(t.Partitions, c)
	}
	r.Topics = append(r.Topics, t)
	for _, t := range request[*kmsg.OffsetCommitResponse](w, r).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				w.t.Fatalf("reset offset: code %d", p.ErrorCode)
			}
		}
	}
}

func (w *world) deleteTopic(k *schema.Kind) {
	w.t.Helper()
	r := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	name := w.topic(k)
	t.Topic = &name
	r.Topics, r.TopicNames = append(r.Topics, t), []string{name}
	for _, t := range request[*kmsg.DeleteTopicsResponse](w, r).Topics {
		if t.ErrorCode != 0 {
			w.t.Fatalf("delete topic: code %d", t.ErrorCode)
		}
	}
	// Apache Kafka's brokers hold the topic, and acknowledge records for it, a
	// little longer than that, also if one of its name has been made by then.
	w.eventually("the topic is deleted", func() bool {
		for _, b := range w.client.DiscoveredBrokers() {
			if w.holds(b, name) {
				return false
			}
		}
		return true
	})
}

// holds reports whether the broker knows any partition of the topic.
func (w *world) holds(b *kgo.Broker, topic string) bool {
	w.t.Helper()
	r := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for id := range int32(partitions) {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = id, -1
		t.Partitions = append(t.Partitions, p)
	}
	r.Topics = append(r.Topics, t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	res, err := b.Request(ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, t := range res.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != kerr.UnknownTopicOrPartition.Code {
				return true
			}
		}
	}
	return false
}

// deleteRows removes every third row: what an insert that never happened looks like.
func (w *world) deleteRows(table string) {
	w.t.Helper()
	ctx := context.Background()
	err := w.conn.Exec(ctx, "ALTER TABLE "+w.database+"."+table+" DELETE WHERE k_off % 3 = 1 SETTINGS mutations_sync = 2")
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestRecover_OffsetsWiped(t *testing.T) {
	t.Parallel()
	for name, wipe := range map[string]func(w *world){
		"new group":        func(w *world) { w.group += "-another" },
		"reset to 0":       func(w *world) { w.resetOffsets(schema.Message, 0) },
		"reset to a place": func(w *world) { w.resetOffsets(schema.Message, 7) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.load()
			m := w.start(nil, nil)
			w.exactlyOnce()
			m.stop()
			if name != "reset to a place" {
				w.deleteRows("message_events")
			}
			w.load()
			wipe(w)
			again := w.start(nil, nil)
			w.exactlyOnce()
			again.stop()
			if again.Stats().FoundRows.Load() == 0 {
				t.Error("ClickHouse was not asked")
			}
			if name != "reset to a place" && again.Stats().ReconciledRows.Load() == 0 {
				t.Error("no row was found missing")
			}
		})
	}
}

// A reconciliation that is killed half way is taken up again.
func TestRecover_KilledWhileReconciling(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"reconciling", "half", "reconciled"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.load()
			m := w.start(nil, nil)
			w.exactlyOnce()
			m.stop()
			w.deleteRows("message_events")
			w.resetOffsets(schema.Message, 0)
			step, killed := killAt(at, 0)
			m = w.start(nil, step)
			<-killed
			m.wait()
			w.start(nil, nil)
			w.load()
			w.exactlyOnce()
		})
	}
}

func TestRecover_TopicMadeAgain(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		for _, offsets := range []string{"gone with the topic", "kept"} {
			if running && offsets == "kept" {
				continue // the member's own commits make them anew
			}
			t.Run(offsets+map[bool]string{true: ", running", false: ", stopped"}[running], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.load()
				m := w.start(nil, nil)
				w.exactlyOnce()
				if !running {
					m.stop()
				}
				old := w.committed()
				w.deleteTopic(schema.Message)
				if running {
					w.eventually("the deletion seen", func() bool { return m.State().Kafka != nil })
				}
				w.createTopic(w.topic(schema.Message), partitions)
				w.connect()
				if offsets == "kept" {
					w.restore(old)
				}
				w.produce(schema.Message, 200) // more than there was before
				if !running {
					m = w.start(nil, nil)
				}
				w.exactlyOnce()
				if n := w.count("SELECT uniqExact(k_epoch) FROM DB.message_events"); n != 2 {
					t.Errorf("%d epochs, want 2", n)
				}
				if n := m.Stats().NewEpochs.Load(); n != partitions {
					t.Errorf("NewEpochs is %d, want %d", n, partitions)
				}
				if n := w.count("SELECT uniqExact(k_epoch) FROM DB.status_events"); n != 1 {
					t.Errorf("%d epochs of a topic that is the old one", n)
				}
			})
		}
	}
}

// restore commits what committed returned.
func (w *world) restore(old map[topicPartition]string) {
	w.t.Helper()
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation = w.group, -1
	for p, text := range old {
		if p.topic != w.topic(schema.Message) {
			continue
		}
		offset, metadata, _ := strings.Cut(text, " ")
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = p.topic
		c := kmsg.NewOffsetCommitRequestTopicPartition()
		c.Partition, c.Metadata = int32(p.partition), &metadata
		for _, digit := range offset {
			c.Offset = c.Offset*10 + int64(digit-'0')
		}
		t.Partitions = append(t.Partitions, c)
		r.Topics = append(r.Topics, t)
	}
	request[*kmsg.OffsetCommitResponse](w, r)
}

// Retention that overtakes the transformer is counted, and work goes on.
func TestRecover_Truncated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.load()
	m := w.start(nil, nil)
	w.exactlyOnce()
	m.stop()
	before := m.Confirmed(w.topic(schema.Message), 1)
	for range 3 { // three batches a partition
		w.produce(schema.Message, 30)
	}
	end := before + 30
	r := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = w.topic(schema.Message)
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = 1, end-10
	topic.Partitions = append(topic.Partitions, p)
	r.Topics = append(r.Topics, topic)
	request[*kmsg.DeleteRecordsResponse](w, r)
	m = w.start(nil, nil)
	w.eventually("what is left", func() bool {
		return w.count("SELECT count() FROM DB.message_events") == int64(len(w.want["message_events"])-20)
	})
	if n := m.Stats().LostRecords.Load(); n != 20 {
		t.Errorf("LostRecords is %d, want 20", n)
	}
	if o := w.check(); o != (outcome{missing: 20}) {
		t.Errorf("%+v, want 20 missing", o)
	}
}

// Retention overtakes in the middle of an announced range.
func TestRecover_TruncatedIntent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.produce(schema.Message, 30)
	}
	step, killed := killAt("announced", 0)
	m := w.start(nil, step)
	<-killed
	m.wait()
	r := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = w.topic(schema.Message)
	for i := range int32(partitions) {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = i, 10
		topic.Partitions = append(topic.Partitions, p)
	}
	r.Topics = append(r.Topics, topic)
	request[*kmsg.DeleteRecordsResponse](w, r)
	m = w.start(nil, nil)
	w.eventually("what is left", func() bool { return w.count("SELECT count() FROM DB.message_events") == 60 })
	m.stop()
	if o := w.check(); o != (outcome{missing: 30}) {
		t.Errorf("%+v, want 30 missing", o)
	}
	if n := m.Stats().LostRecords.Load(); n == 0 {
		t.Error("nothing was counted as lost")
	}
}

// Retention overtakes in the middle of a range that is being reconciled: what is
// left of it is inserted, and what is gone is counted.
func TestRecover_TruncatedWhileReconciling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.produce(schema.Message, 30) // ten a partition
	}
	m := w.start(nil, nil)
	w.exactlyOnce()
	m.stop()
	if err := w.conn.Exec(context.Background(), "ALTER TABLE "+w.database+".message_events DELETE WHERE k_off < 29 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	w.resetOffsets(schema.Message, 0)
	step, killed := killAt("reconciling", 0)
	m = w.start(nil, step)
	<-killed
	m.wait()
	r := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = w.topic(schema.Message)
	for i := range int32(partitions) {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = i, 10
		topic.Partitions = append(topic.Partitions, p)
	}
	r.Topics = append(r.Topics, topic)
	request[*kmsg.DeleteRecordsResponse](w, r)
	m = w.start(nil, nil)
	w.eventually("what is left", func() bool {
		return w.count("SELECT count() FROM DB.message_events WHERE k_off >= 10") == 60
	})
	m.stop()
	if o := w.check(); o.doubled != 0 || o.missing > 30 {
		t.Errorf("%+v, want at most 30 missing", o)
	}
	if n, missing := m.Stats().LostRecords.Load(), w.check().missing; n != uint64(missing) {
		t.Errorf("LostRecords is %d, and %d are missing", n, missing)
	}
}

// A range that another version announced is finished, too, where blocks hold less now.
func TestRecover_AnnouncedRangeTooLongForABlock(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"announced", "half", "inserted"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.produce(schema.Message, 900)
			step, killed := killAt(at, 0)
			m := w.start(nil, step)
			<-killed
			m.wait()
			w.startWith(nil, nil, func(t *Transformer) { t.maxRows = 7 })
			w.exactlyOnce()
		})
	}
}

// A range that another version announced, which makes other rows of the records, is
// not made again under the old token: its halves may differ from the old ones.
func TestRecover_AnnouncedByAnotherReader(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"announced", "half", "inserted"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.load()
			step, killed := killAt(at, 0)
			m := w.start(nil, step)
			<-killed
			m.wait()
			m = w.startWith(nil, nil, func(t *Transformer) { t.version++ })
			w.exactlyOnce()
			// All rows may be there before the new member has looked at the range.
			w.eventually("ClickHouse is asked what is there", func() bool { return m.Stats().ReconciledRows.Load()+m.Stats().FoundRows.Load() > 0 })
			w.exactlyOnce()
			if n := m.Stats().RecoveredIntents.Load(); n != 0 {
				t.Errorf("%d ranges of another version were made again under their token", n)
			}
		})
	}
}

// A topic is made again while a range of it is announced that another version has
// begun to insert: the new records are not taken for the old ones.
func TestRecover_MadeAgainAndAnnouncedByAnotherReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.produce(schema.Message, 60)
	step, killed := killAt("inserted", 0)
	m := w.start(nil, step)
	<-killed
	m.wait()
	old := w.committed()
	w.deleteTopic(schema.Message)
	w.createTopic("millrace.message", partitions)
	w.connect()
	w.eventually("the old offsets, behind the session's end", func() bool {
		w.restore(old)
		is := w.committed()
		for p := range partitions {
			if key := (topicPartition{"millrace.message", p}); is[key] != old[key] {
				return false
			}
		}
		return true
	})
	// What was not inserted is gone with the old topic.
	first := w.count("SELECT count() FROM DB.message_events")
	w.want = map[string][]string{}
	w.produce(schema.Message, 60)
	w.startWith(nil, nil, func(t *Transformer) { t.version++ })
	w.eventually("the new records", func() bool { return w.count("SELECT count() FROM DB.message_events") >= first+60 })
	if o := w.check(); o.missing != 0 || o.doubled != 0 || o.foreign != int(first) {
		t.Errorf("%+v, want %d rows of the old topic beside the new ones", o, first)
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	for _, m := range []mark{
		{epoch: 3, time: 5, shard: "north", end: 7, fingerprint: 9},
		{epoch: 3, time: 5, shard: "north-2.a_b", wide: true},
		{epoch: 1, time: 1762257600000},
		{epoch: 65535, time: 1, end: 1 << 60, fingerprint: 0xdeadbeef, reader: 0xfeedf00d},
		{epoch: 2, end: 5, query: true, anchor: anchor{true, 4, 7}},
		{epoch: 3, time: 1762257600000, first: 1762257540000, end: 5, anchor: anchor{true, 4, 7}},
	} {
		got, ok := parseMark(m.String())
		if !ok || got != m {
			t.Errorf("parseMark(%q) = %+v, %v, want %+v", m.String(), got, ok, m)
		}
		if len(m.String()) > 200 {
			t.Errorf("%q is too long", m.String())
		}
	}
	for _, s := range []string{"", "2;ep=1", "1", "1;ep=70000", "1;ep=1;e=5", "1;ep=1;lb=3", "1;ep=1;e=x;fp=0", "1;ep=1;e=-4;fp=0"} {
		if m, ok := parseMark(s); ok {
			t.Errorf("parseMark(%q) = %+v, want a refusal", s, m)
		}
	}
	if _, ok := parseMark("1;ep=3;t=5;later=thing"); !ok {
		t.Error("a field of a later version must be passed over")
	}
	const want = "v1/millrace/2/message/3/10-20/0000abcd"
	if got := token("millrace", 2, "message", 3, 10, 20, 0xabcd); got != want {
		t.Errorf("token = %q, want %q", got, want)
	}
}

func FuzzMark(f *testing.F) {
	f.Add("1;ep=1;t=5;e=10;fp=00ff00ff;q=1;lb=3;lc=01020304")
	f.Add("1;ep=;;=")
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMark(s)
		if !ok {
			return
		}
		if again, ok := parseMark(m.String()); !ok || again.end != m.end || again.epoch != m.epoch || again.fingerprint != m.fingerprint && m.end > 0 {
			t.Errorf("%q reads as %+v, written and read again as %+v", s, m, again)
		}
	})
}

// Retention overtakes between the look at the log's bounds and the reading of an
// announced range: that is no other log, and what is there is not inserted again.
func TestRecover_TruncatedWhileLooking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.produce(schema.Message, 30) // three batches a partition
	}
	step, killed := killAt("inserted", 0)
	m := w.start(nil, step)
	<-killed
	m.wait()
	r := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = "millrace.message"
	for i := range int32(partitions) {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = i, 10
		topic.Partitions = append(topic.Partitions, p)
	}
	r.Topics = append(r.Topics, topic)
	var once sync.Once
	m = w.start(nil, func(_ *member, step, topic string, _ int) {
		if step == "looked" && topic == "millrace.message" {
			once.Do(func() { request[*kmsg.DeleteRecordsResponse](w, r) })
		}
	})
	w.eventually("what is left", func() bool {
		return w.count("SELECT count() FROM DB.message_events WHERE k_off >= 10") >= 60
	})
	m.stop()
	if o := w.check(); o.doubled != 0 || o.missing != int(m.Stats().LostRecords.Load()) {
		t.Errorf("%+v, and %d counted as lost", o, m.Stats().LostRecords.Load())
	}
	if n := m.Stats().NewEpochs.Load(); n != 0 {
		t.Errorf("NewEpochs is %d for a log that was only cut at its beginning", n)
	}
}
