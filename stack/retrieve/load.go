package retrieve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/ingester/publish"
	"millrace/ingester/quarantine"
	"millrace/internal/config"
	"millrace/internal/topics"
	"millrace/schema"
)

// loader publishes messages.
type loader struct {
	cfg       *config.Config
	conns     []driver.Conn
	publisher *publish.Publisher
	event     schema.Event

	appended int
	acked    atomic.Int64
	stop     context.CancelFunc // of the publisher: no more comes
	giveUp   context.CancelFunc // of its attempts
	ended    chan error
}

// newLoader returns when Kafka takes records. Whoever has it calls finish.
func newLoader(ctx context.Context, o Options) (_ *loader, err error) {
	l := &loader{cfg: o.Config, ended: make(chan error, 1)}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, options := range o.ClickHouse {
		conn, err := clickhouse.Open(options)
		if err != nil {
			return nil, fmt.Errorf("cannot use the ClickHouse options: %w", err)
		}
		l.conns = append(l.conns, conn)
	}
	k := &o.Config.Kafka
	kinds := []*schema.Kind{schema.Quarantine}
	if err := ensure(ctx, o.Config); err != nil {
		return nil, err
	}
	transport, err := o.Config.KafkaTransport(publish.Topics(k.TopicPrefix, kinds)...)
	if err != nil {
		return nil, err
	}
	l.publisher, err = publish.New(publish.Options{
		Brokers: k.Brokers, Transport: transport, TopicPrefix: k.TopicPrefix, Kinds: kinds, Compression: k.Compression,
		BatchBytes: int(k.BatchBytes), StickyBytes: int(k.StickyBytes), BufferBytes: int(k.BufferBytes), Linger: max(k.Linger, time.Millisecond),
		Timeout: k.RequestTimeout, Lanes: 1, Log: log,
		OnAck: func(counts []uint32) { l.acked.Add(int64(counts[0])) },
	})
	if err != nil {
		return nil, err
	}
	// Neither ends with ctx: what has been appended is sent also after Ctrl-C.
	var soft, hard context.Context
	soft, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	hard, l.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	go func() { l.ended <- l.publisher.Run(soft, hard) }()
	select {
	case <-l.publisher.Ready():
		return l, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(l.patience()):
		err = l.publisher.State()
	}
	l.giveUp()
	<-l.ended
	return nil, fmt.Errorf("cannot load messages: %w", err)
}

// ensure makes the topic if it is missing.
func ensure(ctx context.Context, cfg *config.Config) error {
	o, err := topics.FromConfig(cfg)
	if err != nil {
		return err
	}
	o.Topics = []string{cfg.Kafka.Topic(schema.Quarantine.Topic)}
	if c, ok := o.Transport.(interface{ CloseIdleConnections() }); ok {
		defer c.CloseIdleConnections()
	}
	if _, err := topics.Ensure(ctx, o); err != nil { // the ingester says what is not as configured
		return fmt.Errorf("cannot load messages: %w", err)
	}
	return nil
}

// patience is how long Kafka may take.
func (l *loader) patience() time.Duration { return l.cfg.Stop.DrainTimeout }

// knownSQL bounds event_time, so that the index over it leaves out what is of other days.
const knownSQL = `SELECT DISTINCT uid FROM %s
WHERE server = {server:String} AND account = {account:String} AND folder = {folder:String} AND uid_validity = {validity:UInt64}
AND uid BETWEEN {first:UInt64} AND {last:UInt64} AND event_time BETWEEN fromUnixTimestamp64Milli({from:Int64}) AND fromUnixTimestamp64Milli({to:Int64})`

// known are those of the messages that are in ClickHouse. found is not empty, and in order.
func (l *loader) known(ctx context.Context, at quarantine.Place, found []quarantine.Found) (map[uint32]bool, error) {
	wanted := make(map[uint32]bool, len(found))
	from, to := found[0].Millis, found[0].Millis
	for _, m := range found {
		wanted[m.UID] = true
		from, to = min(from, m.Millis), max(to, m.Millis)
	}
	sql := fmt.Sprintf(knownSQL, schema.QuoteName(l.cfg.ClickHouse.Database)+"."+schema.QuoteName(schema.Quarantine.Table))
	parameters := clickhouse.Parameters{
		"server": at.Server, "account": at.Account, "folder": at.Folder.Name, "validity": fmt.Sprint(at.Folder.Validity),
		"first": fmt.Sprint(found[0].UID), "last": fmt.Sprint(found[len(found)-1].UID), "from": fmt.Sprint(from), "to": fmt.Sprint(to),
	}
	known := map[uint32]bool{}
	for _, conn := range l.conns {
		err := ask(ctx, conn, sql, parameters, func(rows driver.Rows) error {
			var uid uint64
			err := rows.Scan(&uid)
			if wanted[uint32(uid)] {
				known[uint32(uid)] = true
			}
			return err
		})
		var refused *clickhouse.Exception
		switch {
		case err == nil:
		case errors.As(err, &refused) && (refused.Code == unknownTable || refused.Code == unknownDatabase):
			return nil, fmt.Errorf("cannot ask ClickHouse which messages are loaded already: table %s is missing; millrace schema apply makes it", schema.Quarantine.Table)
		case errors.Is(err, syscall.ECONNREFUSED):
			return nil, fmt.Errorf("cannot ask ClickHouse which messages are loaded already: %w; it is clickhouse.addresses", err)
		default:
			return nil, fmt.Errorf("cannot ask ClickHouse which messages are loaded already: %w", err)
		}
	}
	return known, nil
}

// ClickHouse's UNKNOWN_TABLE and UNKNOWN_DATABASE.
const (
	unknownTable    = 60
	unknownDatabase = 81
)

// ask runs one query. The driver is given a context that does not end, because it would close a
// channel that its own reader may still be sending on; a question whose ctx has ended is left to
// the end of the process.
func ask(ctx context.Context, conn driver.Conn, sql string, parameters clickhouse.Parameters, scan func(driver.Rows) error) error {
	answer := make(chan error, 1)
	go func() {
		rows, err := conn.Query(clickhouse.Context(context.WithoutCancel(ctx), clickhouse.WithParameters(parameters)), sql)
		if err != nil {
			answer <- err
			return
		}
		for err == nil && ctx.Err() == nil && rows.Next() {
			err = scan(rows)
		}
		answer <- errors.Join(err, rows.Err(), rows.Close())
	}()
	select {
	case err := <-answer:
		if ctx.Err() != nil { // it explains the other
			return context.Cause(ctx)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// add appends a message to what is on its way to Kafka.
func (l *loader) add(ctx context.Context, m *quarantine.Message, at quarantine.Place, f quarantine.Found, header []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.patience(), fmt.Errorf("no record was taken by Kafka for %s (stop.drain_timeout)", l.patience()))
	defer cancel()
	m.Event(&l.event, at, f, header, l.cfg.Quarantine.Raw, now())
	lane := l.publisher.Acquire()
	defer lane.Release()
	err := lane.Append(ctx, &l.event, 0)
	if errors.Is(err, publish.ErrRecordTooLarge) && l.event.Has(schema.Raw) {
		l.event.SetText(schema.Raw, nil) // the largest of its values, and not needed to find it
		l.event.Flag(schema.FlagIncomplete)
		err = lane.Append(ctx, &l.event, 0)
	}
	switch {
	case err == nil:
		l.appended++
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("cannot load message UID %d of folder %q: %w", f.UID, at.Folder.Name, err)
}

// finish sends what is left and returns how many messages Kafka has acknowledged, of all.
func (l *loader) finish() (loaded int, err error) {
	defer l.close()
	l.stop()
	late := time.AfterFunc(l.patience(), l.giveUp)
	err = <-l.ended
	late.Stop()
	l.giveUp()
	loaded = int(l.acked.Load())
	if err != nil {
		return loaded, fmt.Errorf("cannot load all messages: Kafka acknowledged %d of %d within %s (stop.drain_timeout): %w; run it again when the transformer has inserted those",
			loaded, l.appended, l.patience(), err)
	}
	return loaded, nil
}

func (l *loader) close() {
	for _, conn := range l.conns {
		conn.Close()
	}
}
