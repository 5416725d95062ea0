package block

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"testing"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"millrace/schema"
)

func message(n int) *schema.Event {
	e := new(schema.Event)
	k := schema.Message
	e.Reset(k)
	e.SetMillis(schema.ReceivedAt, 1_762_257_600_000+int64(n))
	e.SetMillis(schema.EventTime, 1_762_257_600_000)
	e.SetText(schema.EventTimeSource, []byte("event"))
	e.SetUint(schema.IDTime, 1_762_257_600)
	e.SetText(schema.Listener, []byte("filter"))
	e.SetText(schema.Transport, []byte("tcp"))
	e.SetIP(schema.PeerIP, netip.MustParseAddr("192.0.2.1"))
	e.SetUint(schema.Facility, 2)
	e.SetUint(schema.Severity, 6)
	e.SetText(schema.Format, []byte("m3"))
	e.SetText(schema.Direction, []byte("incoming"))
	for name, value := range map[string]string{
		"id": fmt.Sprintf("1phfsb-%06d-O4", n), "filtering_host": "mx243.antispamcloud.com", "domain": "example.com",
		"sender": "bounces+1@example.org", "recipient": "r@example.com", "sender_host": "mail.example.net", "sender_location": "NL",
		"helo": "[192.0.2.1]", "from_header": `"Doe, J" <j@x.org>`, "to_header": "r@example.com", "subject_header": "Re: your order 1234567",
		"status": "quarantined", "main_class": "spam", "sub_class": "dnsbl", "extra_class": "10 / 1m / recipient",
	} {
		if i := k.Index(name); i >= 0 {
			e.SetText(i, []byte(value))
		} else {
			panic(name)
		}
	}
	e.SetIP(k.Index("sender_ip"), netip.MustParseAddr("2001:db8::1"))
	e.SetUint(k.Index("incoming_size"), 23533)
	return e
}

func TestBlock_Append(t *testing.T) {
	t.Parallel()
	k := schema.Message
	b := New(k)
	for round := range 2 { // the second in the memory of the first
		b.Reset(Place{"message", 3, 7})
		var e schema.Event
		e.Reset(k)
		b.Append(&e, 10)
		e.SetText(k.Index("id"), []byte("abc"))
		e.SetUint(schema.Severity, 5)
		e.SetMillis(schema.ReceivedAt, schema.MaxMillis)
		e.SetUint(schema.KOff, 99) // not the record's to say
		e.AddName(schema.Flags, []byte("x"))
		e.AddName(schema.Flags, []byte("y"))
		e.AddPair(schema.Extra, []byte("k"), []byte("v"))
		b.Append(&e, 12)
		e.Reset(k)
		b.Append(&e, 13)

		if b.Rows() != 3 || b.Place() != (Place{"message", 3, 7}) || b.Bytes() == 0 {
			t.Fatalf("round %d: %d rows, %d bytes, %v", round, b.Rows(), b.Bytes(), b.Place())
		}
		rows := decoded(t, b)
		check := func(what string, want ...any) {
			t.Helper()
			if got := rows[what]; !reflect.DeepEqual(got, want) {
				t.Errorf("round %d: %s = %v, want %v", round, what, got, want)
			}
		}
		check("id", "", "abc", "")
		check("severity", uint8(0), uint8(5), uint8(0))
		check("received_at", time.UnixMilli(0).UTC(), time.UnixMilli(schema.MaxMillis).UTC(), time.UnixMilli(0).UTC())
		check("k_topic", "message", "message", "message")
		check("k_epoch", uint16(3), uint16(3), uint16(3))
		check("k_part", uint16(7), uint16(7), uint16(7))
		check("k_off", uint64(10), uint64(12), uint64(13))
		check("flags", []string{}, []string{"x", "y"}, []string{})
		check("extra", map[string]string{}, map[string]string{"k": "v"}, map[string]string{})
		for _, i := range []int{schema.Raw, schema.Listener, k.Index("sender_ip")} {
			if !b.Columns()[i].Empty() {
				t.Errorf("column %q has values", k.Fields[i].Name)
			}
		}
	}
}

// The row of a bad record is a function of the record, and no view of it.
func TestBlock_AppendBadRecord(t *testing.T) {
	t.Parallel()
	b := New(schema.Reject)
	b.Reset(Place{"message", 1, 0})
	var e schema.Event
	record := []byte{0, 1, 2}
	b.AppendBadRecord(&e, record, 5000, 42, "no reason")
	b.AppendBadRecord(&e, nil, -1, 43, "")
	record[0] = 9
	rows := decoded(t, b)
	for what, want := range map[string][]any{
		"raw":         {"\x00\x01\x02", ""},
		"received_at": {time.UnixMilli(5000).UTC(), time.UnixMilli(0).UTC()},
		"reason":      {"bad_record", "bad_record"},
		"detail":      {"no reason", ""},
	} {
		if got := rows[what]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %q, want %q", what, got, want)
		}
	}
}

// In the memory of the block before, neither way of a record into the columns, nor that
// of the columns into a packet, allocates.
func TestBlock_AllocatesNothing(t *testing.T) {
	k := schema.Message
	e := message(1)
	e.AddName(schema.Flags, []byte("tz_guess"))
	e.AddPair(schema.Extra, []byte("key"), []byte("value"))
	record := schema.AppendRecord(nil, e)
	b := New(k)
	var read schema.Event
	var r schema.Reader
	var native Native
	var columns []int
	fill := func() {
		b.Reset(Place{"message", 1, 0})
		for i := range int64(1000) {
			if i%2 == 0 {
				if !b.AppendRecord(record, i) {
					t.Fatal("a record of our own was not known")
				}
				continue
			}
			if err := r.Read(k, record, &read); err != nil {
				t.Fatal(err)
			}
			b.Append(&read, i)
		}
		columns = sent(columns[:0], b)
		native.Encode(b, columns, true)
	}
	fill()
	if n := testing.AllocsPerRun(10, fill); n != 0 {
		t.Errorf("%v allocations for 1000 rows, want 0", n)
	}
}

// sent are the columns of an INSERT.
func sent(dst []int, b *Block) []int {
	for i, c := range b.Columns() {
		if !c.Empty() || i >= schema.KTopic && i <= schema.KOff {
			dst = append(dst, i)
		}
	}
	return dst
}

// decoded is the block as clickhouse-go reads it back: the values by column and row.
func decoded(t testing.TB, b *Block) map[string][]any {
	t.Helper()
	var native Native
	packet := bytes.Join(native.Encode(b, sent(nil, b), true), nil)
	in := bytes.NewReader(packet)
	r := chproto.NewReader(in)
	got := proto.Block{ServerContext: &column.ServerContext{Revision: proto.DBMS_TCP_PROTOCOL_VERSION, Timezone: time.UTC}}
	if err := got.Decode(r, proto.DBMS_TCP_PROTOCOL_VERSION); err != nil {
		t.Fatalf("the driver cannot read the block: %v", err)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("something is left after the block: %v", err)
	}
	rows := map[string][]any{}
	for _, c := range got.Columns {
		if c.Rows() != b.Rows() {
			t.Fatalf("column %q has %d rows of %d", c.Name(), c.Rows(), b.Rows())
		}
		values := make([]any, c.Rows())
		for i := range values {
			values[i] = c.Row(i, false)
		}
		rows[c.Name()] = values
	}
	return rows
}

// What a row costs on its way from a record into the columns: as the transformer does
// it, and for a record that it does not know at once.
func BenchmarkBlock(b *testing.B) {
	k := schema.Message
	var records [][]byte
	size := 0
	for i := range 4096 {
		records = append(records, append(schema.AppendRecord(nil, message(i)), make([]byte, 8)...))
		records[i] = records[i][:len(records[i])-8]
		size += len(records[i])
	}
	block := New(k)
	var e schema.Event
	var r schema.Reader
	run := func(name string, f func(record []byte, offset int64) bool) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size / len(records)))
			b.ReportAllocs()
			block.Reset(Place{"message", 1, 0})
			for i := 0; b.Loop(); i++ {
				if i%100_000 == 0 {
					block.Reset(Place{"message", 1, 0})
				}
				if !f(records[i%len(records)], int64(i)) {
					b.Fatal("not an event")
				}
			}
		})
	}
	run("way=record", block.AppendRecord)
	run("way=event", func(record []byte, offset int64) bool {
		err := r.Read(k, record, &e)
		block.Append(&e, offset)
		return err == nil
	})
}
