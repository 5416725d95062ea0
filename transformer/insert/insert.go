package insert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/schema"
	"millrace/transformer/block"
)

// Inserter writes blocks.
type Inserter interface {
	// Insert writes all rows of b into its kind's table as one block under the
	// token. After an error the rows may be there or not. The deadline of ctx is
	// kept by the socket's. When ctx is cancelled it returns at once and may go on
	// reading b, which must then be left to the garbage collector.
	Insert(ctx context.Context, b *block.Block, token string) error
}

// Options say where to insert.
type Options struct {
	ClickHouse *clickhouse.Options // addresses, user, TLS; Compression nil: none on loopback, lz4 beyond
	Database   string
	Settings   clickhouse.Settings // more settings of each INSERT
}

// ClickHouse inserts through the native protocol.
type ClickHouse struct {
	conn     driver.Conn
	database string
	extra    clickhouse.Settings

	mutex    sync.Mutex
	settings clickhouse.Settings // nil: not yet known

	scratch  sync.Pool
	prepared prepared
}

// Open prepares connections; it does not make one yet.
func Open(o Options) (*ClickHouse, error) {
	c := *o.ClickHouse
	if c.Compression == nil && !loopback(c.Addr) {
		c.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 5 * time.Second
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = 30 * time.Second
	}
	boundWrites(&c)
	conn, err := clickhouse.Open(&c)
	if err != nil {
		return nil, fmt.Errorf("cannot use ClickHouse at %q: %w", strings.Join(c.Addr, ", "), err)
	}
	return &ClickHouse{conn: conn, database: o.Database, extra: o.Settings}, nil
}

// Close ends the connections.
func (c *ClickHouse) Close() error { return c.conn.Close() }

// loopback tells whether all addresses are this machine's: compression would
// only cost there.
func loopback(addrs []string) bool {
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return false
		}
		if ip, err := netip.ParseAddr(host); err != nil && host != "localhost" || err == nil && !ip.IsLoopback() {
			return false
		}
	}
	return true
}

// Refused tells whether err is the server's own answer, not a lost connection
// or a deadline: it read the request and would not do it.
func Refused(err error) bool {
	var e *clickhouse.Exception
	return errors.As(err, &e)
}

func (c *ClickHouse) table(k *schema.Kind) string {
	return schema.QuoteName(c.database) + "." + schema.QuoteName(k.Table)
}

// insertSettings are those of every INSERT. The server is asked once whether it
// knows deduplicate_insert: an unknown setting is an error.
func (c *ClickHouse) insertSettings(ctx context.Context) (clickhouse.Settings, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.settings != nil {
		return c.settings, nil
	}
	var known uint64
	err := ask(ctx, func(ctx context.Context) error {
		return c.conn.QueryRow(ctx, "SELECT count() FROM system.settings WHERE name = 'deduplicate_insert'").Scan(&known)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read ClickHouse's settings: %w", err)
	}
	s := clickhouse.Settings{
		"async_insert":       0, // on by default since 26.2; it would cut and merge our blocks
		"insert_deduplicate": 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1, // off by default before 26.2
		"low_cardinality_allow_in_native_format":             0, // the server builds the dictionaries faster than the driver
		"throw_on_max_partitions_per_insert_block":           0, // received_at of a foreign record must not stop a partition for ever
	}
	if known > 0 {
		s["deduplicate_insert"] = "enable"
	}
	maps.Copy(s, c.extra)
	c.settings = s
	return s, nil
}

// scratch is reused memory of one insert at a time.
type scratch struct {
	strings []string
	keys    []string
	values  []string
	u16     []uint16
	pairs   pairs
	columns []int
	sql     strings.Builder
}

// Insert implements Inserter.
func (c *ClickHouse) Insert(ctx context.Context, b *block.Block, token string) error {
	if b.Rows() == 0 {
		return nil
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(askTimeout)
	}
	answer := make(chan error, 1)
	go func() { answer <- c.insert(unhurried{context.WithoutCancel(ctx), deadline}, b, token) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return <-answer // the socket has the same deadline
		}
		return ctx.Err()
	}
}

func (c *ClickHouse) insert(ctx context.Context, b *block.Block, token string) error {
	settings, err := c.insertSettings(ctx)
	if err != nil {
		return err
	}
	settings = maps.Clone(settings)
	settings["insert_deduplication_token"] = token
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings), clickhouse.WithQueryID("millrace-"+rand.Text()))
	s, _ := c.scratch.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	defer c.scratch.Put(s)

	columns := b.Columns()
	statement := c.statement(s, b, columns)
	batch, err := c.prepared.take(ctx, c.conn, statement)
	if err != nil {
		return fmt.Errorf("cannot begin an INSERT into %s: %w", c.table(b.Kind()), err)
	}
	if err := s.fill(batch.columns, b, columns); err != nil {
		_ = batch.Batch.Abort()
		return fmt.Errorf("cannot build a block for %s: %w", c.table(b.Kind()), err)
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("cannot insert %d rows into %s: %w", b.Rows(), c.table(b.Kind()), err)
	}
	c.prepared.put(batch)
	return nil
}

// statement names the columns that have values; s.columns gets their positions.
func (c *ClickHouse) statement(s *scratch, b *block.Block, columns []block.Column) string {
	s.columns = s.columns[:0]
	s.sql.Reset()
	s.sql.WriteString("INSERT INTO " + c.table(b.Kind()) + " (")
	for i := range columns {
		if columns[i].Empty() && (i < schema.KTopic || i > schema.KOff) {
			continue // the server fills in the type's default
		}
		if len(s.columns) > 0 {
			s.sql.WriteString(", ")
		}
		s.sql.WriteString(schema.QuoteName(b.Kind().Fields[i].Name))
		s.columns = append(s.columns, i)
	}
	s.sql.WriteString(")")
	return s.sql.String()
}

// fill appends all columns. Every string handed to the driver is a view of the
// block, which the driver copies at once.
func (s *scratch) fill(native []column.Interface, b *block.Block, columns []block.Column) error {
	defer func() { // no view outlives the insert
		clear(s.strings[:cap(s.strings)])
		clear(s.keys[:cap(s.keys)])
		clear(s.values[:cap(s.values)])
		s.pairs = pairs{}
	}()
	for n, i := range s.columns {
		if err := s.column(native[n], b, i, &columns[i]); err != nil {
			return fmt.Errorf("column %q: %w", b.Kind().Fields[i].Name, err)
		}
	}
	return nil
}

func (s *scratch) column(to column.Interface, b *block.Block, i int, c *block.Column) error {
	var err error
	switch i {
	case schema.KTopic:
		s.strings = repeat(s.strings[:0], b.Place().Topic, b.Rows())
		_, err = to.Append(s.strings)
		return err
	case schema.KEpoch:
		s.u16 = repeat(s.u16[:0], b.Place().Epoch, b.Rows())
		_, err = to.Append(s.u16)
		return err
	case schema.KPart:
		s.u16 = repeat(s.u16[:0], b.Place().Partition, b.Rows())
		_, err = to.Append(s.u16)
		return err
	}
	switch c.Field().Type {
	case schema.UInt8:
		_, err = to.Append(c.Uint8s())
	case schema.UInt16:
		_, err = to.Append(c.Uint16s())
	case schema.UInt64:
		_, err = to.Append(c.Uint64s())
	case schema.Millis, schema.Seconds:
		_, err = to.Append(c.Int64s())
	case schema.IP:
		for j := range c.IPs() {
			if err = to.AppendRow(&c.IPs()[j]); err != nil {
				break
			}
		}
	case schema.Names:
		s.keys, s.values = c.Entries(s.keys[:0], s.values[:0])
		err = s.appendNames(to, c.Ends())
	case schema.Map:
		s.keys, s.values = c.Entries(s.keys[:0], s.values[:0])
		err = s.appendMaps(to, c.Ends())
	default:
		s.strings = c.Strings(s.strings[:0])
		_, err = to.Append(s.strings)
	}
	return err
}

func repeat[T any](dst []T, v T, n int) []T {
	for range n {
		dst = append(dst, v)
	}
	return dst
}

// noNames is boxed once: most rows have no names.
var noNames any = []string(nil)

func (s *scratch) appendNames(to column.Interface, ends []uint32) error {
	start := uint32(0)
	for _, end := range ends {
		row := noNames
		if end > start {
			row = s.values[start:end]
		}
		if err := to.AppendRow(row); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// appendMaps hands every row to the driver as the same ordered map.
func (s *scratch) appendMaps(to column.Interface, ends []uint32) error {
	start := uint32(0)
	for _, end := range ends {
		s.pairs.keys, s.pairs.values, s.pairs.at = s.keys[start:end], s.values[start:end], -1
		if err := to.AppendRow(&s.pairs); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// pairs is a map's entries in the form that the driver takes without making a
// Go map (column.IterableOrderedMap). Pointers are not boxed.
type pairs struct {
	keys, values []string
	at           int
}

var _ column.IterableOrderedMap = (*pairs)(nil)

func (p *pairs) Put(any, any)                 {}
func (p *pairs) Iterator() column.MapIterator { return p }
func (p *pairs) Next() bool                   { p.at++; return p.at < len(p.keys) }
func (p *pairs) Key() any                     { return &p.keys[p.at] }
func (p *pairs) Value() any                   { return &p.values[p.at] }
