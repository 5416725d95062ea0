package schema_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"millrace/schema"
)

// fill gives every field of the event a value that depends on r.
func fill(e *schema.Event, k *schema.Kind, r *rand.Rand, share float64) {
	e.Reset(k)
	for i, f := range k.Fields {
		if f.Number == 0 || r.Float64() > share {
			continue
		}
		switch f.Type {
		case schema.Text, schema.Word:
			e.SetText(i, []byte(fmt.Sprintf("%s-%d-ü\n\"", f.Name, r.IntN(1000))))
		case schema.Bytes:
			e.SetText(i, []byte{0, 0xff, byte(r.IntN(256))})
		case schema.UInt8:
			e.SetUint(i, r.Uint64N(256))
		case schema.UInt16:
			e.SetUint(i, r.Uint64N(1<<16))
		case schema.UInt64:
			e.SetUint(i, r.Uint64())
		case schema.Millis:
			e.SetMillis(i, schema.MinMillis+r.Int64N(schema.MaxMillis-schema.MinMillis))
		case schema.Seconds:
			e.SetUint(i, r.Uint64N(schema.MaxSeconds))
		case schema.IP:
			if r.IntN(2) == 0 {
				e.SetIP(i, netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + r.IntN(255))}))
			} else {
				e.SetIP(i, netip.MustParseAddr("2001:db8::1"))
			}
		case schema.Names, schema.Texts:
			e.AddName(i, []byte("one"))
			e.AddName(i, []byte("two"))
		case schema.IPs:
			e.AddName(i, []byte{192, 0, 2, byte(r.IntN(256))})
			e.AddName(i, nil)
		case schema.Codes:
			e.AddCode(i, uint16(r.Uint64N(1<<16)))
			e.AddCode(i, 0)
		case schema.Map:
			e.AddPair(i, []byte("key"), []byte("välue"))
			e.AddPair(i, []byte("other"), nil)
		}
	}
}

// dump is a comparable picture of an event's values.
func dump(e *schema.Event) map[string]any {
	m := map[string]any{}
	for i, f := range e.Kind.Fields {
		switch f.Type {
		case schema.Text, schema.Word, schema.Bytes:
			if v := e.Text(i); len(v) > 0 {
				m[f.Name] = string(v)
			}
		case schema.IP:
			if v := e.IP(i); v != [16]byte{} {
				m[f.Name] = v
			}
		case schema.Names, schema.Texts, schema.IPs:
			for _, n := range e.Names() {
				if n.Field == i {
					m[f.Name] = fmt.Sprint(m[f.Name], ",", string(n.Name))
				}
			}
		case schema.Codes:
			for _, c := range e.Codes() {
				if c.Field == i {
					m[f.Name] = fmt.Sprint(m[f.Name], ",", c.Code)
				}
			}
		case schema.Map:
			for _, p := range e.Pairs() {
				if p.Field == i {
					m[f.Name] = fmt.Sprint(m[f.Name], ",", string(p.Key), "=", string(p.Value))
				}
			}
		default:
			if v := e.Uint(i); v != 0 {
				m[f.Name] = v
			}
		}
	}
	return m
}

// firstOf is where the first entry of field i stands among the event's.
func firstOf(e *schema.Event, i int) int {
	return slices.IndexFunc(e.Names(), func(n schema.Name) bool { return n.Field == i })
}

func TestRecordRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var in, out schema.Event
	var reader schema.Reader
	for range 2000 {
		for _, k := range schema.Kinds() {
			fill(&in, k, r, r.Float64())
			record := schema.AppendRecord(nil, &in)
			if err := reader.Read(k, record, &out); err != nil {
				t.Fatalf("cannot read what was written: %v", err)
			}
			if a, b := dump(&in), dump(&out); !reflect.DeepEqual(a, b) {
				t.Fatalf("wrote %v\nread  %v", a, b)
			}
			sameSource(t, record, &out)
		}
	}
}

// sameSource fails unless SourceOf says what Reader has read of the record.
func sameSource(t *testing.T, record []byte, e *schema.Event) {
	t.Helper()
	source, offset, err := schema.SourceOf(record)
	if err != nil || string(source) != string(e.Text(schema.Source)) || offset != e.Uint(schema.SourceOffset) {
		t.Fatalf("the source is %q at %d, %v; want %q at %d", source, offset, err, e.Text(schema.Source), e.Uint(schema.SourceOffset))
	}
}

// TestRecordStockProtobuf decodes our bytes with the stock protobuf runtime from
// the rendered description, encodes them there, and reads them back with ours.
func TestRecordStockProtobuf(t *testing.T) {
	source, err := os.ReadFile("../docs/events.proto")
	if err != nil {
		t.Fatal(err)
	}
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"events.proto": string(source)}),
	}}
	files, err := compiler.Compile(context.Background(), "events.proto")
	if err != nil {
		t.Fatal(err)
	}
	messages := files[0].Messages()
	r := rand.New(rand.NewPCG(3, 4))
	var reader schema.Reader
	for i, k := range schema.Kinds() {
		var in, out schema.Event
		fill(&in, k, r, 1)
		desc := messages.Get(i)
		msg := dynamicpb.NewMessage(desc)
		if err := proto.Unmarshal(schema.AppendRecord(nil, &in), msg); err != nil {
			t.Fatalf("%s: stock protobuf cannot decode our record: %v", k.Name, err)
		}
		if len(msg.GetUnknown()) != 0 {
			t.Errorf("%s: %d bytes unknown to the rendered description", k.Name, len(msg.GetUnknown()))
		}
		for pos, f := range k.Fields {
			if f.Number == 0 {
				continue
			}
			fd := desc.Fields().ByName(protoreflect.Name(f.Name))
			got := msg.Get(fd)
			var same bool
			switch f.Type {
			case schema.Text, schema.Word:
				same = got.String() == string(in.Text(pos))
			case schema.Bytes:
				same = bytes.Equal(got.Bytes(), in.Text(pos))
			case schema.Millis:
				same = got.Int() == in.Millis(pos)
			case schema.IP:
				a, _ := netip.AddrFromSlice(got.Bytes())
				same = a.As16() == in.IP(pos)
			case schema.Names, schema.Texts:
				same = got.List().Len() == 2 && got.List().Get(1).String() == "two"
			case schema.IPs:
				same = got.List().Len() == 2 && bytes.Equal(got.List().Get(0).Bytes(), in.Names()[firstOf(&in, pos)].Name) && len(got.List().Get(1).Bytes()) == 0
			case schema.Codes:
				same = got.List().Len() == 2 && got.List().Get(1).Uint() == 0
				for _, c := range in.Codes() {
					same = same && (c.Field != pos || c.Code == 0 || got.List().Get(0).Uint() == uint64(c.Code))
				}
			case schema.Map:
				same = got.Map().Len() == 2 && got.Map().Get(protoreflect.ValueOfString("key").MapKey()).String() == "välue"
			default:
				same = got.Uint() == in.Uint(pos)
			}
			if !same {
				t.Errorf("%s.%s: stock protobuf reads %v", k.Name, f.Name, got)
			}
		}
		theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Read(k, theirs, &out); err != nil {
			t.Fatalf("%s: cannot read the stock encoding: %v", k.Name, err)
		}
		if a, b := dump(&in), dump(&out); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: stock encoding reads as\n%v, want\n%v", k.Name, b, a)
		}
	}
}

// TestRecordBytes holds the encoding byte for byte.
func TestRecordBytes(t *testing.T) {
	var e schema.Event
	e.Reset(schema.Status)
	e.SetMillis(schema.ReceivedAt, 300)
	e.SetIP(schema.PeerIP, netip.MustParseAddr("192.0.2.1"))
	e.SetText(schema.Status.Index("id"), []byte("x"))
	e.SetUint(schema.Status.Index("delivery_port"), 25)
	e.AddPair(schema.Extra, []byte("k"), []byte("v"))
	e.Flag(schema.FlagAmbiguous)
	e.MarkBad(schema.Status.Index("delivery_ip"), schema.FlagBadIP)
	got := hex.EncodeToString(schema.AppendRecord(nil, &e))
	want := "08ac02" + // 1: 300
		"3a04c0000201" + // 7: 192.0.2.1
		"82020178" + // 32: "x"
		"c00219" + // 40: 25
		"9a01060a016b120176" + // 19: k=v
		"820109616d626967756f7573" + // 16: ambiguous
		"8201066261645f6970" + // 16: bad_ip
		"8a010b64656c69766572795f6970" // 17: delivery_ip
	if got != want {
		t.Errorf("record is\n%s, want\n%s", got, want)
	}
}

func TestRecordRepairsText(t *testing.T) {
	subject := schema.Message.Index("subject_header")
	f := func(value, want string, flags ...string) {
		t.Helper()
		var e, out schema.Event
		e.Reset(schema.Message)
		e.SetText(subject, []byte(value))
		e.SetText(schema.Raw, []byte(value))
		if err := (schema.Reader{}).Read(schema.Message, schema.AppendRecord(nil, &e), &out); err != nil {
			t.Fatal(err)
		}
		if got := string(out.Text(subject)); got != want {
			t.Errorf("%q was written as %q, want %q", value, got, want)
		}
		if got := string(out.Text(schema.Raw)); got != value {
			t.Errorf("raw is %q, want %q", got, value)
		}
		var words []string
		for _, n := range out.Names() {
			words = append(words, string(n.Name))
		}
		if !slices.Equal(words, flags) {
			t.Errorf("%q has flags %q, want %q", value, words, flags)
		}
	}
	f("plain", "plain")
	f("caf\xe9", "caf\uFFFD", "bad_utf8")
	f("a\x00b", "a\uFFFDb", "nul_byte")
	f("a\x00\xff", "a\uFFFD\uFFFD", "bad_utf8", "nul_byte")
}

func TestReaderRefuses(t *testing.T) {
	f := func(name string, record ...byte) {
		t.Helper()
		var e schema.Event
		if err := (schema.Reader{}).Read(schema.Status, record, &e); !errors.Is(err, schema.ErrRecord) {
			t.Errorf("%s: error is %v, want ErrRecord", name, err)
		}
	}
	f("cut tag", 0x80)
	f("field number 0", 0x00, 0x01)
	f("wrong wire type", 0x0a, 0x01, 'x')
	f("cut text", 0x82, 0x02, 0x05, 'x')
	f("text not UTF-8", 0x82, 0x02, 0x01, 0xff)
	f("port over 65535", 0xc0, 0x02, 0x80, 0x80, 0x04)
	f("facility over 255", 0x40, 0x80, 0x02)
	f("address of 3 bytes", 0x3a, 0x03, 1, 2, 3)
	f("time beyond 2299", 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03)
	f("map entry cut", 0x9a, 0x01, 0x02, 0x0a, 0x05)
	f("overlong varint", 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)
	f("unknown field cut", 0xfa, 0x3f, 0x09, 'x')
	f("unknown wire type", 0xfb, 0x3f)
	f("not a record", []byte("<14>\"id\"")...)
}

// TestReaderSkipsUnknown: a record of a newer ingester reads as what is known of it.
func TestReaderSkipsUnknown(t *testing.T) {
	var in, out schema.Event
	in.Reset(schema.Status)
	in.SetText(schema.Status.Index("id"), []byte("x"))
	record := schema.AppendRecord([]byte{
		0xf8, 0x3f, 0x96, 0x01, // 1023: varint
		0xfa, 0x3f, 0x02, 'n', 'w', // 1023: bytes
		0xf9, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, // 255: 64 bit
		0xfd, 0x0f, 1, 2, 3, 4, // 255: 32 bit
	}, &in)
	if err := (schema.Reader{}).Read(schema.Status, record, &out); err != nil {
		t.Fatal(err)
	}
	if a, b := dump(&in), dump(&out); !reflect.DeepEqual(a, b) {
		t.Errorf("read %v, want %v", b, a)
	}
}

func FuzzReader(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for i, k := range schema.Kinds() {
		var e schema.Event
		fill(&e, k, r, 1)
		f.Add(byte(i), schema.AppendRecord(nil, &e))
	}
	f.Fuzz(func(t *testing.T, kind byte, record []byte) {
		k := schema.Kinds()[int(kind)%len(schema.Kinds())]
		var e, again schema.Event
		err := (schema.Reader{}).Read(k, record, &e)
		if err2 := (schema.Reader{}).Read(k, slices.Clone(record), &again); fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("two readings of one record: %v and %v", err, err2)
		}
		if err != nil {
			schema.SourceOf(record) // does not panic
			return
		}
		sameSource(t, record, &e)
		written := schema.AppendRecord(nil, &e)
		if err := (schema.Reader{}).Read(k, written, &again); err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if a, b := dump(&e), dump(&again); !reflect.DeepEqual(a, b) {
			t.Fatalf("read %v, then %v", a, b)
		}
	})
}

func TestRecordAllocations(t *testing.T) {
	var e, out schema.Event
	fill(&e, schema.Message, rand.New(rand.NewPCG(7, 8)), 1)
	var dst []byte
	var reader schema.Reader
	if n := testing.AllocsPerRun(100, func() {
		dst = schema.AppendRecord(dst[:0], &e)
		if err := reader.Read(schema.Message, dst, &out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("writing and reading a record allocates %v times", n)
	}
}

func BenchmarkAppendRecord(b *testing.B) {
	for _, clean := range []bool{false, true} {
		b.Run(fmt.Sprintf("clean=%v", clean), func(b *testing.B) {
			e := benchmarkEvent()
			e.Clean = clean
			dst := schema.AppendRecord(nil, e)
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst = schema.AppendRecord(dst[:0], e)
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	record := schema.AppendRecord(nil, benchmarkEvent())
	var e schema.Event
	var reader schema.Reader
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		if err := reader.Read(schema.Message, record, &e); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkEvent is a message as an m1 frame makes it.
func benchmarkEvent() *schema.Event {
	e := new(schema.Event)
	e.Reset(schema.Message)
	e.SetMillis(schema.ReceivedAt, 1680135062250)
	e.SetMillis(schema.EventTime, 1680135061000)
	e.SetUint(schema.IDTime, 1680135061)
	for field, v := range map[string]string{
		"event_time_source": "event", "listener": "filter", "transport": "tcp", "format": "m1", "direction": "incoming",
		"id": "1phfsb-0004M4-O4", "filtering_host": "mx243.antispamcloud.com", "domain": "example.com",
		"sender": "bounces+1@example.org", "recipient": "recipient@example.com", "sender_host": "mail.example.net",
		"helo": "mail.example.net", "from_header": "\"Doe, J\" <j@example.org>", "to_header": "recipient@example.com",
		"subject_header": "Re: offer, 50% off until Friday", "status": "quarantined", "status_norm": "quarantined",
		"classification": "Combined score", "classification_details": "Combined (0.02)", "class_norm": "spam",
	} {
		e.SetText(schema.Message.Index(field), []byte(v))
	}
	e.SetIP(schema.PeerIP, netip.MustParseAddr("192.0.2.10"))
	e.SetIP(schema.Message.Index("sender_ip"), netip.MustParseAddr("203.0.113.66"))
	e.SetUint(schema.Facility, 1)
	e.SetUint(schema.Severity, 6)
	e.SetUint(schema.Message.Index("incoming_size"), 23533)
	e.SetUint(schema.Message.Index("outgoing_size"), 24100)
	return e
}

// TestAppendRecord_AnyRoom: a record is the same whatever room there is for it, and
// whatever memory lies behind its values.
func TestAppendRecord_AnyRoom(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for _, k := range schema.Kinds() {
		var e schema.Event
		fill(&e, k, r, 0.8)
		long := k.Index("raw")
		for n := range 300 {
			text := bytes.Repeat([]byte{'x'}, n)
			e.SetText(long, slices.Clip(text))
			want := schema.AppendRecord(nil, &e)
			e.SetText(long, append(text, bytes.Repeat([]byte{'y'}, 40)...)[:n])
			for _, room := range []int{0, n, len(want) - 1, len(want), len(want) + 1, len(want) + 31, len(want) + 64, 2*len(want) + n} {
				dst := append(make([]byte, 0, 3+room), "abc"...)
				if have := schema.AppendRecord(dst, &e); string(have) != "abc"+string(want) {
					t.Fatalf("a %s with %d bytes of raw, with room for %d:\n%x\nwant\n%x", k.Name, n, room, have[3:], want)
				}
			}
		}
	}
}
