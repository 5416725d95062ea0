package insert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/certtest"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/transformer/block"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// makeTables makes the tables of kinds, or of all, in a database of the test's own.
func makeTables(t testing.TB, conn clickhouse.Conn, kinds ...*schema.Kind) (database string) {
	t.Helper()
	database = embeddedtest.Database(t)
	if kinds == nil {
		kinds = schema.Kinds()
	}
	for _, k := range kinds {
		if err := conn.Exec(context.Background(), k.CreateTable(schema.Layout{Database: database})); err != nil {
			t.Fatal(err)
		}
	}
	return database
}

func options(t testing.TB, compression clickhouse.CompressionMethod) *clickhouse.Options {
	server := embeddedtest.ClickHouse(t)
	return &clickhouse.Options{
		Addr: []string{server.NativeAddr}, Auth: clickhouse.Auth{Username: server.Admin.User, Password: server.Admin.Password},
		Compression: &clickhouse.Compression{Method: compression},
	}
}

func open(t testing.TB, o *clickhouse.Options, database string) *ClickHouse {
	t.Helper()
	c, err := Open(Options{ClickHouse: o, Database: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// extremes are events of the kind that hold, one type after the other, what its column
// can just hold; others that hold everything, or nothing; and so many distinct words
// that their numbers need two bytes.
func extremes(k *schema.Kind) []*schema.Event {
	// So long that the blocks of the wide kinds are more than one frame, and one vector, has.
	long := []byte(strings.Repeat("0123456789", 20_000))
	values := func(f *schema.Field) []func(e *schema.Event, i int) {
		var fs []func(*schema.Event, int)
		text := func(vs ...[]byte) {
			for _, v := range vs {
				fs = append(fs, func(e *schema.Event, i int) { e.SetText(i, v) })
			}
		}
		number := func(vs ...int64) {
			for _, v := range vs {
				fs = append(fs, func(e *schema.Event, i int) { e.SetUint(i, uint64(v)) })
			}
		}
		switch f.Type {
		case schema.Text, schema.Word:
			text([]byte("x"), []byte("grüße, 世界 🎈"), []byte(strings.Repeat("7", 127)), []byte(strings.Repeat("8", 128)), []byte(strings.Repeat("ü", 8200)), []byte("tab\tquote'back\\slash"))
		case schema.Bytes:
			text([]byte{0}, []byte("\xff\xfe\x00\x80"), long)
		case schema.UInt8:
			number(1, math.MaxUint8)
		case schema.UInt16:
			number(1, 256, math.MaxUint16)
		case schema.UInt64:
			number(1, math.MaxInt64, -1)
		case schema.Seconds:
			number(1, schema.MaxSeconds)
		case schema.Millis:
			number(1, -1, 999, schema.MinMillis, schema.MaxMillis)
		case schema.IP:
			for _, a := range []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "::1", "2001:db8::ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
				fs = append(fs, func(e *schema.Event, i int) { e.SetIP(i, netip.MustParseAddr(a)) })
			}
		case schema.Names:
			fs = append(fs, func(e *schema.Event, i int) { e.AddName(i, []byte("one")) },
				func(e *schema.Event, i int) {
					e.AddName(i, []byte("one"))
					e.AddName(i, nil)
					e.AddName(i, []byte("ü"))
				})
		case schema.Texts:
			fs = append(fs, func(e *schema.Event, i int) { e.AddName(i, nil) },
				func(e *schema.Event, i int) {
					e.AddName(i, []byte("one"))
					e.AddName(i, nil)
					e.AddName(i, long)
				})
		case schema.Codes:
			fs = append(fs, func(e *schema.Event, i int) { e.AddCode(i, 0) },
				func(e *schema.Event, i int) {
					e.AddCode(i, 250)
					e.AddCode(i, 0)
					e.AddCode(i, math.MaxUint16)
				})
		case schema.IPs:
			fs = append(fs, func(e *schema.Event, i int) { e.AddName(i, nil) },
				func(e *schema.Event, i int) {
					e.AddName(i, []byte{192, 0, 2, 1})
					e.AddName(i, nil)
					e.AddName(i, netip.MustParseAddr("2001:db8::1").AsSlice())
				})
		case schema.Map:
			fs = append(fs, func(e *schema.Event, i int) { e.AddPair(i, []byte("key"), nil) },
				func(e *schema.Event, i int) {
					e.AddPair(i, nil, long)
					e.AddPair(i, []byte("é"), []byte("v"))
					e.AddPair(i, []byte("zz"), []byte(strings.Repeat("v", 200)))
				})
		}
		return fs
	}
	var events []*schema.Event
	add := func() *schema.Event {
		e := new(schema.Event)
		e.Reset(k)
		events = append(events, e)
		return e
	}
	add()
	for i := range k.Fields {
		if k.Fields[i].Number == 0 {
			continue
		}
		for _, set := range values(&k.Fields[i]) {
			set(add(), i)
		}
	}
	for n := range 6 {
		e := add()
		for i := range k.Fields {
			if vs := values(&k.Fields[i]); k.Fields[i].Number != 0 {
				vs[n%len(vs)](e, i)
			}
		}
		add()
	}
	for n := range 800 {
		e := add()
		e.SetText(schema.SyslogHost, fmt.Appendf(nil, "host-%d", n))
		e.AddName(schema.Flags, fmt.Appendf(nil, "flag-%d", n%700))
	}
	return events
}

// viaDriver inserts the rows through clickhouse-go alone, value by value: the plain way.
func viaDriver(t testing.TB, conn clickhouse.Conn, database string, k *schema.Kind, events []*schema.Event, p block.Place) {
	t.Helper()
	batch, err := conn.PrepareBatch(context.Background(), "INSERT INTO "+database+"."+k.Table)
	if err != nil {
		t.Fatal(err)
	}
	for offset, e := range events {
		var row []any
		for i := range k.Fields {
			row = append(row, value(e, i, p, offset))
		}
		if err := batch.Append(row...); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
}

func value(e *schema.Event, i int, p block.Place, offset int) any {
	switch i {
	case schema.KTopic:
		return p.Topic
	case schema.KEpoch:
		return p.Epoch
	case schema.KPart:
		return p.Partition
	case schema.KOff:
		return uint64(offset)
	}
	switch e.Kind.Fields[i].Type {
	case schema.UInt8:
		return uint8(e.Uint(i))
	case schema.UInt16:
		return uint16(e.Uint(i))
	case schema.UInt64:
		return e.Uint(i)
	case schema.Seconds:
		return time.Unix(int64(e.Uint(i)), 0)
	case schema.Millis:
		return e.Millis(i)
	case schema.IP:
		return netip.AddrFrom16(e.IP(i))
	case schema.Codes:
		codes := []uint16{}
		for _, c := range e.Codes() {
			if c.Field == i {
				codes = append(codes, c.Code)
			}
		}
		return codes
	case schema.IPs:
		addrs := []netip.Addr{}
		for _, n := range e.Names() {
			if n.Field == i {
				a, ok := netip.AddrFromSlice(n.Name)
				if !ok {
					a = netip.IPv6Unspecified()
				}
				addrs = append(addrs, netip.AddrFrom16(a.As16()))
			}
		}
		return addrs
	case schema.Names, schema.Texts:
		names := []string{}
		for _, n := range e.Names() {
			if n.Field == i {
				names = append(names, string(n.Name))
			}
		}
		return names
	case schema.Map:
		pairs := map[string]string{}
		for _, p := range e.Pairs() {
			if p.Field == i {
				pairs[string(p.Key)] = string(p.Value)
			}
		}
		return pairs
	default:
		return string(e.Text(i))
	}
}

// Every type at its limits, over every way to the server: the rows are those that the
// driver inserts value by value.
func TestInsert_RowsAreTheDrivers(t *testing.T) {
	t.Parallel()
	conn := embeddedtest.Connect(t, "")
	place := block.Place{Topic: "message", Epoch: 65535, Partition: 258}
	ways := map[string]*clickhouse.Options{
		"none": options(t, clickhouse.CompressionNone), "lz4": options(t, clickhouse.CompressionLZ4), "zstd": options(t, clickhouse.CompressionZSTD),
	}
	tlsOptions := options(t, clickhouse.CompressionNone)
	tlsOptions.Addr, tlsOptions.TLS = []string{"127.0.0.1:1", secured(t, tlsOptions.Addr[0])}, certificates(t).Client()
	ways["tls, first address dead"] = tlsOptions
	for _, k := range schema.Kinds() {
		events := extremes(k)
		plain := makeTables(t, conn, k)
		viaDriver(t, conn, plain, k, events, place)
		want := lines(t, conn, plain, k)
		for name, o := range ways {
			database := makeTables(t, conn, k)
			c := open(t, o, database)
			for _, fast := range []bool{true, false} {
				b := block.New(k)
				b.Reset(place)
				for offset, e := range events {
					var read schema.Event
					record := schema.AppendRecord(nil, e)
					if fast && b.AppendRecord(record, int64(offset)) {
						continue
					}
					if err := (schema.Reader{}).Read(k, record, &read); err != nil {
						t.Fatal(err)
					}
					b.Append(&read, int64(offset))
				}
				for range 2 { // again under the same token: nothing comes in addition
					if err := c.Insert(context.Background(), b, fmt.Sprint(k.Name, fast)); err != nil {
						t.Fatalf("%s, %s: %v", k.Name, name, err)
					}
				}
				got := lines(t, conn, database, k)
				if len(got) != len(want) {
					t.Fatalf("%s, %s: %d rows, want %d", k.Name, name, len(got), len(want))
				}
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("%s, %s, row %d:\n%.1500s\nwant\n%.1500s", k.Name, name, i, got[i], want[i])
					}
				}
				if err := conn.Exec(context.Background(), "TRUNCATE TABLE "+database+"."+k.Table); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// lines are all rows of the kind's table as text.
func lines(t testing.TB, conn clickhouse.Conn, database string, k *schema.Kind) []string {
	t.Helper()
	var names []string
	for i := range k.Fields {
		name := schema.QuoteName(k.Fields[i].Name)
		if k.Fields[i].Type == schema.Map {
			name = "arraySort(mapKeys(" + name + ")), arraySort(mapValues(" + name + "))"
		}
		names = append(names, name)
	}
	rows, err := conn.Query(context.Background(), "SELECT formatRow('TSV', "+strings.Join(names, ", ")+") FROM "+database+"."+k.Table+" ORDER BY k_off")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	err = each(rows, func() error {
		all = append(all, "")
		return rows.Scan(&all[len(all)-1])
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var authorities = map[string]*certtest.Authority{}

func certificates(t *testing.T) *certtest.Authority {
	a := authorities[t.Name()]
	if a == nil {
		a = certtest.New(t)
		authorities[t.Name()] = a
	}
	return a
}

// secured is the address of a TLS listener in front of address.
func secured(t *testing.T, address string) string {
	l, err := tls.Listen("tcp", "127.0.0.1:0", certificates(t).Issue(t, certtest.Subject{}).Server())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				_ = c.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
			go func() { _, _ = io.Copy(c, to); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// A table that was altered: what the server converts is inserted, what it would misread
// is not.
func TestInsert_AlteredTable(t *testing.T) {
	t.Parallel()
	conn := embeddedtest.Connect(t, "")
	database := makeTables(t, conn)
	c := open(t, options(t, clickhouse.CompressionNone), database)
	b := block.New(schema.Message)
	fill := func() {
		b.Reset(block.Place{Topic: "message"})
		e := new(schema.Event)
		e.Reset(schema.Message)
		e.SetText(schema.Listener, []byte("filter"))
		e.SetText(schema.SyslogPID, []byte("42"))
		e.SetMillis(schema.EventTime, 5)
		e.AddName(schema.Flags, []byte("flag"))
		b.Append(e, 0)
	}
	alter := func(sql string) {
		t.Helper()
		if err := conn.Exec(context.Background(), "ALTER TABLE "+database+".message_events "+sql); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	for i, sql := range []string{
		"MODIFY COLUMN listener String", "MODIFY COLUMN syslog_pid LowCardinality(String)", "MODIFY COLUMN flags Array(String)",
		"MODIFY COLUMN event_time DateTime64(3, 'Asia/Tokyo')",
	} {
		alter(sql)
		if err := c.Insert(context.Background(), b, fmt.Sprint("a", i)); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	var n uint64
	row := conn.QueryRow(context.Background(), "SELECT count() FROM "+database+".message_events WHERE listener = 'filter' AND syslog_pid = '42' AND flags = ['flag'] AND toUnixTimestamp64Milli(event_time) = 5")
	if err := row.Scan(&n); err != nil || n != 4 {
		t.Errorf("%d rows of 4, %v", n, err)
	}
	alter("MODIFY COLUMN severity UInt16")
	if err := c.Insert(context.Background(), b, "b0"); err != nil {
		t.Errorf("a column that no row has a value for: %v", err)
	}
	alter("MODIFY COLUMN syslog_pid Nullable(String)")
	for i, sql := range []string{"MODIFY COLUMN k_part UInt32", "DROP COLUMN listener"} {
		err := c.Insert(context.Background(), b, fmt.Sprint("c", i))
		if err == nil || !Refused(err) || !errors.Is(err, ErrUnfit) {
			t.Errorf("before %s: %v", sql, err)
		}
		alter(sql)
	}
	if err := c.Insert(context.Background(), b, "d"); err == nil || !Refused(err) {
		t.Errorf("without the column: %v", err)
	}
}
