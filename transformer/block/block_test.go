package block

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

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
		c := b.Columns()
		check := func(what string, got, want any) {
			t.Helper()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("round %d: %s = %v, want %v", round, what, got, want)
			}
		}
		check("id", c[k.Index("id")].Strings(nil), []string{"", "abc", ""})
		check("severity", c[schema.Severity].Uint8s(), []uint8{0, 5, 0})
		check("received_at", c[schema.ReceivedAt].Int64s(), []int64{0, schema.MaxMillis, 0})
		check("k_off", c[schema.KOff].Uint64s(), []uint64{10, 12, 13})
		check("flags' ends", c[schema.Flags].Ends(), []uint32{0, 2, 2})
		_, names := c[schema.Flags].Entries(nil, nil)
		check("flags", names, []string{"x", "y"})
		keys, values := c[schema.Extra].Entries(nil, nil)
		check("extra", append(keys, values...), []string{"k", "v"})
		for _, i := range []int{schema.KTopic, schema.KEpoch, schema.KPart, schema.Raw, k.Index("sender_ip")} {
			if !c[i].Empty() {
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
	c := b.Columns()
	if got := c[schema.Raw].Strings(nil); got[0] != "\x00\x01\x02" || got[1] != "" {
		t.Errorf("raw = %q", got)
	}
	if got := c[schema.ReceivedAt].Int64s(); !reflect.DeepEqual(got, []int64{5000, 0}) {
		t.Errorf("received_at = %v", got)
	}
	if got := c[rejectReason].Strings(nil); got[0] != "bad_record" || got[1] != "bad_record" {
		t.Errorf("reason = %q", got)
	}
}

func TestBlock_AppendAllocatesNothing(t *testing.T) {
	k := schema.Message
	e := message(1)
	e.AddName(schema.Flags, []byte("tz_guess"))
	e.AddPair(schema.Extra, []byte("key"), []byte("value"))
	record := schema.AppendRecord(nil, e)
	b := New(k)
	var read schema.Event
	var r schema.Reader
	fill := func() {
		b.Reset(Place{"message", 1, 0})
		for i := range int64(1000) {
			if err := r.Read(k, record, &read); err != nil {
				t.Fatal(err)
			}
			b.Append(&read, i)
		}
		b.Columns()
	}
	fill()
	if n := testing.AllocsPerRun(10, fill); n != 0 {
		t.Errorf("%v allocations for 1000 rows, want 0", n)
	}
}

// Records of one batch to columns: what decoding costs for each row.
func BenchmarkBlock_Append(b *testing.B) {
	k := schema.Message
	record := schema.AppendRecord(nil, message(1))
	block := New(k)
	var e schema.Event
	var r schema.Reader
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	block.Reset(Place{"message", 1, 0})
	for i := 0; b.Loop(); i++ {
		if i%100_000 == 0 {
			block.Reset(Place{"message", 1, 0})
		}
		if err := r.Read(k, record, &e); err != nil {
			b.Fatal(err)
		}
		block.Append(&e, int64(i))
	}
}
