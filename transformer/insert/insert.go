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
	conn      driver.Conn
	database  string
	addresses int
	extra     clickhouse.Settings

	mutex    sync.Mutex
	settings clickhouse.Settings // nil: not yet known
	copies   map[string]bool     // by table, whether other servers have it too; as far as known

	lanes lanes
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
	return &ClickHouse{conn: conn, database: o.Database, addresses: len(c.Addr), copies: map[string]bool{}, extra: o.Settings, lanes: lanes{options: c}}, nil
}

// closeTimeout is long for what takes milliseconds.
const closeTimeout = 3 * time.Second

// Close ends the connections; those of an INSERT that is under way end with it. It does
// not wait for ever: a pool of the driver whose connections' lifetime is over in this
// very moment waits for itself (clickhouse-go issue 1990), and a stop with it.
func (c *ClickHouse) Close() error {
	closed := make(chan error, 1)
	go func() { closed <- errors.Join(c.conn.Close(), c.lanes.close()) }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeTimeout):
		return fmt.Errorf("cannot close the connections to ClickHouse at %q within %s", strings.Join(c.lanes.options.Addr, ", "), closeTimeout)
	}
}

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
// or a deadline: it read the request and would not do it, or has another table than
// the rows are for.
func Refused(err error) bool {
	var e *clickhouse.Exception
	return errors.As(err, &e) || errors.Is(err, ErrUnfit)
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
		"throw_on_max_partitions_per_insert_block":           0, // received_at of a foreign record must not stop a partition for ever
	}
	if known > 0 {
		s["deduplicate_insert"] = "enable"
	}
	maps.Copy(s, c.extra)
	c.settings = s
	return s, nil
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
	l, err := c.lanes.take()
	if err != nil {
		return fmt.Errorf("cannot begin an INSERT into %s: %w", c.table(b.Kind()), err)
	}
	defer c.lanes.put(l)
	l.columns = columns(l.columns[:0], b)
	batch, err := l.conn.PrepareBatch(ctx, c.statement(b, l.columns))
	if err != nil {
		return fmt.Errorf("cannot begin an INSERT into %s: %w", c.table(b.Kind()), err)
	}
	if err := fits(batch.Columns(), b.Kind(), l.columns); err != nil {
		_ = batch.Abort()
		return fmt.Errorf("cannot insert into %s: %w", c.table(b.Kind()), err)
	}
	deadline, _ := ctx.Deadline()
	if err := l.write(b, deadline); err != nil {
		_ = batch.Abort()
		return fmt.Errorf("cannot send %d rows to %s: %w", b.Rows(), c.table(b.Kind()), err)
	}
	if err := batch.Send(); err != nil { // of no rows of the driver's own: the end of ours
		return fmt.Errorf("cannot insert %d rows into %s: %w", b.Rows(), c.table(b.Kind()), err)
	}
	return nil
}

// columns appends the positions of the columns that have values. The server fills in
// the others with their type's default.
func columns(dst []int, b *block.Block) []int {
	all := b.Columns()
	for i := range all {
		if !all[i].Empty() || i >= schema.KTopic && i <= schema.KOff {
			dst = append(dst, i)
		}
	}
	return dst
}

func (c *ClickHouse) statement(b *block.Block, columns []int) string {
	var s strings.Builder
	s.WriteString("INSERT INTO " + c.table(b.Kind()) + " (")
	for n, i := range columns {
		if n > 0 {
			s.WriteString(", ")
		}
		s.WriteString(schema.QuoteName(b.Kind().Fields[i].Name))
	}
	s.WriteString(")")
	return s.String()
}

// plain is the type without what changes nothing in the bytes or is converted.
func plain(t string) string {
	t = strings.ReplaceAll(t, "LowCardinality(String)", "String")
	if base, _, ok := strings.Cut(t, "'"); ok && strings.HasPrefix(t, "DateTime") {
		t = strings.TrimRight(base, "(, ") // the time zone
	}
	return strings.TrimSuffix(t, ")")
}

// fits tells whether the table has the types that a block is written in: the server
// takes the bytes as they are. It converts LowCardinality from and to plain.
func fits(table []column.Interface, k *schema.Kind, columns []int) error {
	if len(table) != len(columns) {
		return fmt.Errorf("%w: it takes %d columns, not %d", ErrUnfit, len(table), len(columns))
	}
	for n, i := range columns {
		f := &k.Fields[i]
		got, want := string(table[n].Type()), f.Type.ClickHouse()
		if table[n].Name() != f.Name {
			return fmt.Errorf("%w: column %q comes where %q should", ErrUnfit, table[n].Name(), f.Name)
		}
		if got != want && plain(got) != plain(want) {
			return fmt.Errorf("%w: its column %q is of type %s, not %s; `millrace schema check` compares them", ErrUnfit, f.Name, got, want)
		}
	}
	return nil
}
