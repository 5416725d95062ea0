package insert

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/transformer/block"
)

// filled is a block of messages as a filter sends them.
func filled(rows int) *block.Block {
	k := schema.Message
	b := block.New(k)
	b.Reset(block.Place{Topic: "message", Epoch: 1, Partition: 3})
	e := new(schema.Event)
	now := time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC).UnixMilli()
	classes := []string{"spam", "not-spam", "unsure", "phish"}
	for n := range rows {
		e.Reset(k)
		e.SetMillis(schema.ReceivedAt, now+int64(n/100))
		e.SetMillis(schema.EventTime, now+int64(n/100)-900)
		e.SetText(schema.EventTimeSource, []byte("event"))
		e.SetUint(schema.IDTime, uint64(now/1000))
		e.SetText(schema.Listener, []byte("filter"))
		e.SetText(schema.Transport, []byte("tcp"))
		e.SetIP(schema.PeerIP, netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 7)}))
		e.SetUint(schema.Severity, 6)
		e.SetText(schema.Format, []byte("m3"))
		e.SetText(schema.Direction, []byte("incoming"))
		for _, f := range [][2]string{
			{"id", fmt.Sprintf("1phfsb-%06d-O4", n*7919%1000003)}, {"filtering_host", fmt.Sprintf("mx%d.filter.example", n%11)}, {"domain", fmt.Sprintf("d%d.example.com", n*31%997)},
			{"sender", fmt.Sprintf("bounces+%d@example.org", n*7919%100003)}, {"recipient", fmt.Sprintf("r%d@example.com", n*17%5003)},
			{"sender_host", fmt.Sprintf("mail%d.example.net", n%301)}, {"sender_location", "NL"}, {"helo", fmt.Sprintf("mail%d.example.net", n%301)},
			{"from_header", fmt.Sprintf(`"Doe, J" <j%d@x.org>`, n%2003)}, {"to_header", fmt.Sprintf("r%d@example.com", n*17%5003)},
			{"subject_header", fmt.Sprintf("Re: your order %d", n*104729%1000003)}, {"status", "quarantined"}, {"status_norm", "quarantined"},
			{"main_class", classes[n*13%4]}, {"sub_class", "dnsbl"}, {"extra_class", "10 / 1m / recipient"}, {"class_norm", classes[n*13%4]},
		} {
			e.SetText(k.Index(f[0]), []byte(f[1]))
		}
		e.SetIP(k.Index("sender_ip"), netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}))
		e.SetUint(k.Index("incoming_size"), uint64(20000+n%5000))
		b.Append(e, int64(n))
	}
	return b
}

func own(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// Columns to rows in ClickHouse, of which this process's part is counted: its processor
// time, user and kernel. The server is another process.
func BenchmarkInsert(b *testing.B) {
	conn := embeddedtest.Connect(b, "")
	const rows = 250_000
	full := filled(rows)
	for _, compression := range []clickhouse.CompressionMethod{clickhouse.CompressionNone, clickhouse.CompressionLZ4} {
		for _, to := range []string{"clickhouse", "nobody"} {
			b.Run(fmt.Sprintf("compression=%s/to=%s", compression, to), func(b *testing.B) {
				insert := nobody(b, compression, full)
				if to == "clickhouse" {
					c := open(b, options(b, compression), makeTables(b, conn))
					n := 0
					insert = func() error { n++; return c.Insert(context.Background(), full, fmt.Sprint(n)) }
				}
				b.ReportAllocs()
				if err := insert(); err != nil { // dialed, and memory grown
					b.Fatal(err)
				}
				before := own(b)
				for b.Loop() {
					if err := insert(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((own(b)-before).Nanoseconds())/float64(b.N)/rows, "cpu-ns/row")
			})
		}
	}
}

// nobody sends the block to a socket of which somebody reads and forgets.
func nobody(b *testing.B, compression clickhouse.CompressionMethod, full *block.Block) func() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		for p := make([]byte, 1<<20); err == nil; {
			_, err = c.Read(p)
		}
	}()
	var x lane
	x.writer.method = &clickhouse.Compression{Method: compression}
	if x.socket, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = x.socket.Close() })
	x.columns = columns(nil, full)
	return func() error { return x.write(full, time.Now().Add(time.Minute)) }
}

// The same block as a ready-made payload over HTTP, which is the driver's own way for
// such.
func BenchmarkInsertFormat(b *testing.B) {
	conn := embeddedtest.Connect(b, "")
	const rows = 250_000
	full := filled(rows)
	database := makeTables(b, conn)
	server := embeddedtest.ClickHouse(b)
	for _, compression := range []clickhouse.CompressionMethod{clickhouse.CompressionNone} {
		b.Run(fmt.Sprintf("compression=%s", compression), func(b *testing.B) {
			h, err := clickhouse.Open(&clickhouse.Options{
				Protocol: clickhouse.HTTP, Addr: []string{server.HTTPAddr}, Auth: clickhouse.Auth{Username: server.Admin.User, Password: server.Admin.Password},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			c := &ClickHouse{database: database}
			var native block.Native
			n := 0
			insert := func() error {
				n++
				ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": fmt.Sprint("http", n), "async_insert": 0}))
				cs := columns(nil, full)
				pieces := net.Buffers(append([][]byte(nil), native.Encode(full, cs, false)...))
				return h.InsertFormat(ctx, "Native", c.statement(full, cs), &pieces)
			}
			b.ReportAllocs()
			if err := insert(); err != nil {
				b.Fatal(err)
			}
			before := own(b)
			for b.Loop() {
				if err := insert(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((own(b)-before).Nanoseconds())/float64(b.N)/rows, "cpu-ns/row")
		})
	}
}
