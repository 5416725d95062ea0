package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/segmentio/kafka-go"

	"millrace/schema"
)

// Options say what to compare.
type Options struct {
	ClickHouse []*clickhouse.Options // of each shard; a user that may read the tables
	Database   string

	Brokers     []string // none: Kafka is not asked, and the tables alone are looked at
	Transport   *kafka.Transport
	TopicPrefix string
	Group       string

	Since    time.Time               // rows received before are left out; zero: none
	Progress func(done, rows uint64) // called as the rows are read; nil: nobody looks
}

// late is how far from the beginning of a week rows of the week before may be among
// its own: several ingesters' batches come in turn.
const late = time.Hour

// Run looks at everything once. An error means that it could not be looked at; what
// is wrong with it is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	a := &auditor{o: &o, now: time.Now(), report: &Report{Since: o.Since, At: time.Now().UTC()}}
	for _, options := range o.ClickHouse {
		conn, err := clickhouse.Open(options)
		if err != nil {
			return nil, fmt.Errorf("cannot use the ClickHouse options: %w", err)
		}
		a.shards = append(a.shards, &tables{conn, o.Database})
		defer func() {
			if ctx.Err() == nil { // else a question may still be on its way
				conn.Close()
			}
		}()
	}
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	return a.report, nil
}

type auditor struct {
	o      *Options
	shards []*tables
	broker *broker // nil: not asked
	now    time.Time
	report *Report

	logs    map[partition]*log
	places  map[place]*held
	foreign map[string]uint64 // rows by topics that are not ours
	explain explanations
}

// explanations are offsets by which a gap is explained.
type explanations struct {
	since   map[place]int64     // the first that is looked at
	expired map[place]int64     // rows below may have been in a week that the TTL deleted
	dropped map[partition]int64 // records below are of such a week
	erased  map[place]int64     // rows below were there when somebody ran a DELETE
}

func (a *auditor) run(ctx context.Context) (err error) {
	a.logs = map[partition]*log{}
	if len(a.o.Brokers) > 0 {
		a.broker = newBroker(a.o)
		if a.logs, err = a.broker.logs(ctx); err != nil {
			return err
		}
	}
	weeks, err := a.read(ctx)
	if err != nil {
		return err
	}
	if err := a.compareTopics(); err != nil {
		return err
	}
	if err := a.findExplanations(ctx, weeks); err != nil {
		return err
	}
	for topic, n := range a.foreign {
		a.report.note("rows with k_topic %q, which is none of our topics, so that they are not from this pipeline: %s", topic, count(int64(n)))
	}
	for _, p := range a.everyPlace() {
		if err := a.judge(ctx, p); err != nil {
			return err
		}
	}
	a.report.finish()
	return nil
}

// compareTopics refuses to call good what cannot be compared: with the wrong brokers
// or prefix nothing would ever be missing.
func (a *auditor) compareTopics() error {
	if a.broker == nil {
		return nil
	}
	for _, k := range schema.Kinds() {
		inKafka, inTables := false, false
		for p := range a.logs {
			inKafka = inKafka || p.topic == k.Topic
		}
		for p := range a.places {
			inTables = inTables || p.topic == k.Topic
		}
		name := a.o.TopicPrefix + k.Topic
		switch {
		case inKafka:
		case inTables:
			return fmt.Errorf("cannot compare %s with Kafka at %s: it has no topic %q; kafka.brokers and kafka.topic_prefix say which it is, --kafka off looks at the tables alone",
				k.Table, strings.Join(a.o.Brokers, ","), name)
		default:
			a.report.note("Kafka has no topic %q, and there are no rows of it", name)
		}
	}
	return nil
}

// read scans the tables. With Since the week before is scanned too: its rows tell
// where the first offset is that counts.
func (a *auditor) read(ctx context.Context) ([]week, error) {
	var first, counted time.Time
	if !a.o.Since.IsZero() {
		counted = monday(a.o.Since)
		first = counted.AddDate(0, 0, -7)
	}
	var weeks []week
	for _, t := range a.shards {
		its, err := t.weeks(ctx, first)
		if err != nil {
			return nil, err
		}
		weeks = append(weeks, its...)
	}
	var done, rows uint64
	for _, w := range weeks {
		rows += w.rows
	}
	a.places, a.foreign = map[place]*held{}, map[string]uint64{}
	for _, w := range weeks {
		if a.o.Progress != nil {
			a.o.Progress(done, rows)
		}
		foreign, err := w.in.scan(ctx, w, counted, a.places)
		if err != nil {
			return nil, err
		}
		for topic, n := range foreign {
			a.foreign[topic] += n
		}
		done += w.rows
	}
	if a.o.Progress != nil {
		a.o.Progress(done, rows)
	}
	a.report.Scanned = rows
	return weeks, nil
}

func (a *auditor) findExplanations(ctx context.Context, weeks []week) (err error) {
	x := &a.explain
	if !a.o.Since.IsZero() {
		if x.since, _, err = edges(ctx, a.places, weeks, a.o.Since); err != nil {
			return err
		}
		if err := a.sinceByKafka(ctx); err != nil {
			return err
		}
	}
	expired, err := a.expired(ctx)
	if err != nil {
		return err
	}
	x.expired = map[place]int64{}
	for topic, keeps := range expired {
		_, before, err := edges(ctx, a.places, weeks, keeps.Add(late))
		if err != nil {
			return err
		}
		for p, o := range before {
			if p.topic == topic {
				x.expired[p] = o
			}
		}
	}
	if a.broker != nil {
		if x.dropped, err = a.broker.at(ctx, a.logs, expired); err != nil {
			return err
		}
	}
	erased, err := a.erased(ctx)
	if err != nil {
		return err
	}
	x.erased = map[place]int64{}
	for table, at := range erased {
		since, _, err := edges(ctx, a.places, weeks, at.Add(time.Second)) // ClickHouse notes whole seconds
		if err != nil {
			return err
		}
		for _, p := range a.everyPlace() {
			if kindOf(p.topic).Table != table && schema.Reject.Table != table {
				continue
			}
			edge, ok := since[p]
			if !ok {
				edge = forever // nothing has come since
			}
			x.erased[p] = max(x.erased[p], edge)
		}
	}
	return nil
}

// expired is by topic the first week that the TTL of every shard keeps.
func (a *auditor) expired(ctx context.Context) (map[string]time.Time, error) {
	var all map[string]time.Time
	for _, t := range a.shards {
		its, err := t.expired(ctx, a.now)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = its
			continue
		}
		for topic, keeps := range all {
			if other, ok := its[topic]; !ok {
				delete(all, topic)
			} else if other.Before(keeps) {
				all[topic] = other
			}
		}
	}
	return all, nil
}

// erased is by table the last deletion on any shard.
func (a *auditor) erased(ctx context.Context) (map[string]time.Time, error) {
	all := map[string]time.Time{}
	for _, t := range a.shards {
		its, allowed, err := t.erased(ctx)
		if err != nil {
			return nil, err
		}
		if !allowed {
			a.report.note("the user may not see whether rows were deleted (GRANT SELECT ON system.mutations): what was would be called missing")
		}
		for table, at := range its {
			if at.After(all[table]) {
				all[table] = at
			}
		}
	}
	return all, nil
}

// sinceByKafka: where Kafka knows the time, rows that are missing behind it do not
// move the first offset that is looked at.
func (a *auditor) sinceByKafka(ctx context.Context) error {
	if a.broker == nil {
		return nil
	}
	times := map[string]time.Time{}
	for _, k := range schema.Kinds() {
		times[k.Topic] = a.o.Since
	}
	at, err := a.broker.at(ctx, a.logs, times)
	if err != nil {
		return err
	}
	for p, o := range at {
		current := place{p.topic, a.epoch(p), p.part}
		if first, ok := a.explain.since[current]; !ok || o < first {
			a.explain.since[current] = o
		}
	}
	return nil
}

// epoch is that of the log that Kafka has.
func (a *auditor) epoch(p partition) uint16 {
	if l := a.logs[p]; l != nil && l.marked {
		return l.epoch
	}
	newest := uint16(1)
	for x := range a.places {
		if x.topic == p.topic && x.part == p.part {
			newest = max(newest, x.epoch)
		}
	}
	return newest
}

// kindOrder is where a topic's kind stands in the list of kinds.
func kindOrder(topic string) int {
	return slices.IndexFunc(schema.Kinds(), func(k *schema.Kind) bool { return k.Topic == topic })
}

// everyPlace are those that have rows and those that Kafka has, in order.
func (a *auditor) everyPlace() (all []place) {
	seen := map[place]bool{}
	for p := range a.places {
		seen[p] = true
	}
	for p := range a.logs {
		seen[place{p.topic, a.epoch(p), p.part}] = true
	}
	for p := range seen {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(kindOrder(a.topic), kindOrder(b.topic)), strings.Compare(a.topic, b.topic), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.part, b.part))
	})
	return all
}

// judge adds a place to the report.
func (a *auditor) judge(ctx context.Context, p place) error {
	c := &evidence{place: p, held: a.places[p], since: -1, expired: a.explain.expired[p], erased: a.explain.erased[p]}
	if c.held == nil {
		c.held = &held{}
	}
	if !a.o.Since.IsZero() {
		first, ok := a.explain.since[p]
		if !ok {
			return nil // an old log, of which nothing has come since
		}
		c.since = first
	}
	kafka := partition{p.topic, p.part}
	l, current := a.logs[kafka], a.epoch(kafka)
	switch {
	case l == nil:
		c.state = NoLog
	case p.epoch < current:
		c.state = OldLog
	case p.epoch > current:
		c.state = NewLog
	default:
		c.state, c.log = Current, l
		if dropped := a.explain.dropped[kafka]; dropped > l.start { // else Kafka knows none that old
			c.expired = max(c.expired, dropped)
		}
		var err error
		if c.before, err = a.cutFrom(ctx, p, l, c.held); err != nil {
			return err
		}
	}
	if c.log != nil && l.committed < 0 && len(c.held.ranges) > 0 {
		a.report.note("group %q has confirmed nothing of %s partition %d, of which there are rows: what has no row counts as not yet inserted; is kafka.group right?", a.o.Group, p.topic, p.part)
	}
	found := c.judge()
	for _, w := range c.held.doubles {
		if len(found.DoubledOffsets) >= Shown {
			break
		}
		offsets, err := w.in.doubled(ctx, w, p, Shown-len(found.DoubledOffsets))
		if err != nil {
			return err
		}
		found.DoubledOffsets = append(found.DoubledOffsets, offsets...)
	}
	a.report.Places = append(a.report.Places, found)
	return nil
}

// cutFrom are the offsets that the epoch before has of this very log: where an
// unclean election cut it, the next epoch goes on from its end. A topic that was
// made again looks the same; its records were received at another time.
func (a *auditor) cutFrom(ctx context.Context, p place, l *log, h *held) (ranges, error) {
	union, _ := join(slices.Clone(h.ranges))
	first := l.committed
	if len(union) > 0 {
		first = union[0].From
	}
	before := place{p.topic, 0, p.part}
	for x := range a.places {
		if x.topic == p.topic && x.part == p.part && x.epoch < p.epoch && x.epoch > before.epoch {
			before.epoch = x.epoch
		}
	}
	if before.epoch == 0 || first <= l.start || a.broker == nil {
		return nil, nil
	}
	old, _ := join(slices.Clone(a.places[before].ranges))
	if len(old.within(first-1, first)) == 0 {
		return nil, nil
	}
	record, ok, err := a.broker.received(ctx, partition{p.topic, p.part}, first-1)
	if err != nil || !ok {
		return nil, err
	}
	for _, t := range a.shards {
		row, ok, err := t.received(ctx, before, first-1)
		if err != nil {
			return nil, err
		}
		if ok && row == record {
			return old, nil
		}
	}
	return nil, nil
}
