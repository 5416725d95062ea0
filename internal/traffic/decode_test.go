package traffic_test

import (
	"testing"

	"millrace/ingester/format"
	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/internal/traffic"
	"millrace/schema"
)

// TestFramesDecode has the ingester's own parts read the traffic: each frame is
// one event, of the kind that the generator said, with nothing to forgive.
func TestFramesDecode(t *testing.T) {
	t.Parallel()
	set, err := format.NewSet(format.Builtin(), format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(o traffic.Options, mode framing.Mode, formats ...string) {
		t.Helper()
		g, err := traffic.New(o)
		if err != nil {
			t.Fatal(err)
		}
		const frames = 5_000
		var stream []byte
		var sent []traffic.Kind
		for range frames {
			var kind traffic.Kind
			stream, kind = g.Next(stream)
			sent = append(sent, kind)
		}
		used := make(map[string]bool)
		framer := framing.New(mode, framing.DefaultMax)
		var decoder format.Decoder
		var e schema.Event
		got := 0
		for len(stream) > 0 {
			frame, n, ok := framer.Next(stream, framing.EOF)
			stream = stream[n:]
			if !ok {
				break
			}
			if frame.Reject != "" || frame.Drop != "" || got == frames {
				t.Fatalf("%+v: frame %d: %+v", o, got, frame)
			}
			var h header.Header
			body := header.ParsePRI(header.StripTrailer(frame.Bytes), &h)
			if !set.Matches(body) {
				if body, ok = header.ParseRest(body, &h, 1_767_600_000_000, nil); !ok {
					t.Fatalf("%+v: no header in %q", o, frame.Bytes)
				}
			}
			v := decoder.Decode(set, body, &e, format.Context{Received: 1_767_600_000_000})
			if v.Reason != "" || e.Flagged() != 0 || v.Format.Kind.Name != sent[got].String() {
				t.Fatalf("%+v: verdict %+v, flags %b, sent as %s: %q", o, v, e.Flagged(), sent[got], frame.Bytes)
			}
			used[v.Format.Name] = true
			for _, name := range []string{"status_norm", "class_norm"} {
				word := map[string]string{"status_norm": "status", "class_norm": "main_class"}[name]
				i, from := e.Kind.Index(name), e.Kind.Index(word)
				if i >= 0 && len(e.Text(from)) > 0 && len(e.Text(i)) == 0 {
					t.Errorf("%s %q has no normal form", word, e.Text(from))
				}
			}
			got++
		}
		if got != frames || len(used) != len(formats) {
			t.Errorf("%+v: %d frames of %d, formats %v", o, got, frames, used)
		}
		for _, name := range formats {
			if !used[name] {
				t.Errorf("%+v: no frame of format %s", o, name)
			}
		}
	}
	f(traffic.Options{Seed: 1}, framing.Auto, "m1", "s1")
	f(traffic.Options{Seed: 2, Format: "m2", Framing: "lf"}, framing.LF, "m2", "s2")
	f(traffic.Options{Seed: 3, Format: "m3", Framing: "octet"}, framing.Octet, "m3", "s3")
	f(traffic.Options{Seed: 4, Format: "mixed", Framing: "octet", Header: "rfc5424"}, framing.Auto, "m1", "s1", "m2", "s2", "m3", "s3")
	f(traffic.Options{Seed: 5, Format: "mixed", Framing: "lf", Header: "rfc3164"}, framing.Auto, "m1", "s1", "m2", "s2", "m3", "s3")
	f(traffic.Options{Seed: 6, Format: "mixed", Framing: "nul"}, framing.NUL, "m1", "s1", "m2", "s2", "m3", "s3")
}

// TestSeparatorShare: a subject that holds the separator is still one event,
// flagged as ambiguous.
func TestSeparatorShare(t *testing.T) {
	t.Parallel()
	set, err := format.NewSet(format.Builtin(), format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := traffic.New(traffic.Options{Seed: 9, Format: "m3", Framing: "none", SeparatorShare: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	var decoder format.Decoder
	var e schema.Event
	ambiguous := 0
	for range 20_000 {
		frame, kind := g.Next(nil)
		var h header.Header
		v := decoder.Decode(set, header.ParsePRI(frame, &h), &e, format.Context{})
		if v.Reason != "" || v.Format.Kind.Name != kind.String() || e.Flagged()&^schema.FlagAmbiguous != 0 {
			t.Fatalf("verdict %+v, flags %b: %q", v, e.Flagged(), frame)
		}
		if e.HasFlag(schema.FlagAmbiguous) {
			ambiguous++
		}
	}
	if ambiguous == 0 {
		t.Error("no ambiguous frame among 20,000")
	}
}
