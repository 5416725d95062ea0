package tap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"testing"
	"unicode/utf8"

	"millrace/ingester/format"
	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/schema"
)

// sample is an item of each sort, and the stream that they make.
func sample() (items []Item, stream []byte) {
	var e schema.Event
	add := func(h header.Header, f framing.Frame, peer string, drop schema.Reason, events bool) {
		e.SetMillis(schema.ReceivedAt, 1680135061123)
		e.SetText(schema.Listener, []byte("filter"))
		e.SetText(schema.Transport, []byte("tcp"))
		it := Item{
			Received: 1680135061123, Listener: "filter", Transport: "tcp", Kind: e.Kind, Format: string(e.Text(schema.Format)), Drop: drop,
			PRI: h.PRI, Facility: h.Facility, Severity: h.Severity, BOM: h.BOM, Style: h.Style,
			Ended: f.Ended, Trailer: f.Trailer, Lead: f.Lead, Size: f.Size, Frame: f.Bytes, Record: []byte{},
		}
		if e.Kind == schema.Reject {
			it.Reason = string(e.Text(reasonOf))
		}
		addr := netip.AddrPort{}
		if peer != "" {
			addr = netip.MustParseAddrPort(peer)
		}
		it.Peer = addr
		if events {
			it.Record = schema.AppendRecord(nil, &e)
		}
		items = append(items, it)
		stream = appendFrame(stream, &e, &h, &f, addr, drop, events)
	}
	e.Reset(schema.Message)
	e.SetText(schema.Format, []byte("m1"))
	add(header.Header{Facility: 2, Severity: 6, Style: header.RFC5424, BOM: true}, framing.Whole([]byte("<22>1 a\r\n\x00")), "192.0.2.1:40000", "", true)
	e.Reset(schema.Status)
	add(header.Header{PRI: header.PRIMissing}, framing.Whole([]byte("\xff\x00\n")), "[2001:db8::1]:1", schema.DropBackpressure, false)
	e.Reset(schema.Reject)
	e.SetText(reasonOf, []byte("oversize"))
	add(header.Header{}, framing.Frame{Reject: schema.ReasonOversize, Bytes: bytes.Repeat([]byte("x"), 1024), Size: 70000}, "", "", false)
	return items, Counts{1, 2, 3, 4}.appendItem(stream, "count")
}

func TestReader(t *testing.T) {
	t.Parallel()
	items, stream := sample()
	r := NewReader(bytes.NewReader(stream))
	for i, want := range items {
		var it Item
		if err := r.Next(&it); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(it, want) {
			t.Errorf("item %d\n got %+v\nwant %+v", i, it, want)
		}
	}
	if err := r.Next(new(Item)); !errors.Is(err, io.EOF) || r.End != "count" || r.Counts != (Counts{1, 2, 3, 4}) {
		t.Errorf("the end: %v, %q, %v", err, r.End, r.Counts)
	}
	// A stream that is cut anywhere has not ended.
	for n := range stream {
		r := NewReader(bytes.NewReader(stream[:n]))
		var err error
		for err == nil {
			err = r.Next(new(Item))
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || r.End != "" {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

// FuzzReader: no stream makes the reader of a capture fail other than with an error,
// nor believe lengths that are not there.
func FuzzReader(f *testing.F) {
	_, stream := sample()
	f.Add(stream)
	f.Add([]byte{0, 0, 0, 2, tagFrame, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, tagFrame})
	f.Add([]byte{0, 0, 0, 6, tagCounts, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(bytes.NewReader(stream))
		var s Summary
		for {
			var it Item
			if err := r.Next(&it); err != nil {
				break
			}
			if len(it.Frame)+len(it.Record) > len(stream) {
				t.Fatalf("%d bytes out of %d", len(it.Frame)+len(it.Record), len(stream))
			}
			s.Add(&it)
			var l line
			b := l.append(nil, &it)
			if !json.Valid(b) || !utf8.Valid(b) {
				t.Fatalf("not JSON: %q", b)
			}
		}
		s.Write(io.Discard, nil, format.Options{})
	})
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var e schema.Event
	e.Reset(schema.Message)
	e.SetMillis(schema.ReceivedAt, 1680135061123)
	e.SetUint(schema.IDTime, 1680135061)
	e.SetText(schema.Listener, []byte("filter"))
	e.SetText(schema.Raw, []byte("the frame is there anyhow"))
	e.SetText(schema.Message.Index("subject_header"), []byte("<b> \"q\" \\ é \x01"))
	e.SetUint(schema.Message.Index("incoming_size"), 1<<63)
	e.SetIP(schema.Message.Index("sender_ip"), netip.MustParseAddr("2001:db8::1"))
	e.AddPair(schema.Extra, []byte("weather"), []byte("rain"))
	e.AddPair(schema.StructuredData, []byte("x.a"), []byte("1"))
	e.AddPair(schema.Extra, []byte("wind"), []byte(""))
	e.Flag(schema.FlagAmbiguous)
	e.MarkBad(schema.Message.Index("bandwidth"), schema.FlagBadInt)
	frame := framing.Whole([]byte("<22>a\x00"))
	var it Item
	if err := it.read(appendFrame(nil, &e, new(header.Header), &frame, netip.MustParseAddrPort("[::ffff:192.0.2.1]:9"), "", true)[5:]); err != nil {
		t.Fatal(err)
	}
	var l line
	got := string(l.append(nil, &it))
	want := `{"kind":"message","peer":"192.0.2.1:9","received_at":"2023-03-30T00:11:01.123Z","id_time":"2023-03-30T00:11:01Z","listener":"filter",` +
		`"sender_ip":"2001:db8::1","incoming_size":9223372036854775808,"subject_header":"<b> \"q\" \\ é \u0001","flags":["ambiguous","bad_int"],` +
		`"bad_fields":["bandwidth"],"structured_data":{"x.a":"1"},"extra":{"weather":"rain","wind":""},"ended":"transport","trailer":"\u0000","frame":"<22>a"}` + "\n"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, want := string(appendCounts(nil, Counts{1, 2, 3, 4}, "for")), `{"tap":{"shown":1,"over_rate":2,"missed":3,"not_matched":4,"end":"for"}}`+"\n"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1680135061":                    `"9999999999" (epoch)`,
		"1680135061.25":                 `"9999999999.99" (epoch)`,
		"2023-03-30 00:11:01":           `"9999-99-99 99:99:99" (without a zone)`,
		"2023-03-30T00:11:01.123+02:00": `"9999-99-99T99:99:99.999+99:99" (with a zone)`,
		"2023-03-30T00:11:01Z":          `"9999-99-99T99:99:99Z" (with a zone)`,
		"yesterday":                     `"yesterday"`,
	} {
		if got := layout(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// A stop that ends the tap and then its request still tells the reader why.
func TestStreamTellsTheEnd(t *testing.T) {
	t.Parallel()
	var hub Hub
	opened, err := hub.Open(Options{Buffer: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	ctx, cancel := context.WithCancel(t.Context())
	hub.Close()
	cancel()
	var out []byte
	stream(ctx, opened, func(b []byte) error { out = append(out, b...); return nil }, func(dst, items []byte) []byte { return append(dst, items...) }, appendCounts)
	if want := `{"tap":{"shown":0,"over_rate":0,"missed":0,"not_matched":0,"end":"the ingester has stopped"}}` + "\n"; string(out) != want {
		t.Errorf("got %s", out)
	}
}
