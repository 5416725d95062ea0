package format

import (
	"runtime"
	"strings"
	"testing"

	"millrace/schema"
)

// TestDecode_Allocs: a clean frame allocates nothing, nor does one of which much
// has to be forgiven.
func TestDecode_Allocs(t *testing.T) {
	s := newSet(t, Options{TimeZone: testZone})
	frames := map[string][]byte{
		"surplus":      frame(t, "m1", "helo", `x","y`, "to_header", `"a@x","b@y"`, "subject_header", `a","b`),
		"values":       frame(t, "m1", "id", "x", "sender_ip", "x", "incoming_size", "x", "timestamp", "x", "domain", "A B"),
		"local time":   frame(t, "m1", "timestamp", "2023-03-30 02:11:01"),
		"words":        frame(t, "m3", "status", "Queued Frozen", "main_class", "New Class", "subject_header", "caf\xe9\x00"),
		"blanks first": append([]byte("  "), frame(t, "s3")...),
	}
	for _, f := range Builtin() {
		frames[f.Name] = frame(t, f.Name)
	}
	var d Decoder
	var e schema.Event
	for name, body := range frames {
		if n := testing.AllocsPerRun(200, func() { d.Decode(s, body, &e, Context{Received: testReceived}) }); n != 0 {
			t.Errorf("%s: %v allocations; want 0", name, n)
		}
	}
	custom := customSet(t, Options{}, &Format{Name: "x", Kind: schema.Message, CSVQuoting: true, Template: compiled(t, `"%(id)s","%(archive_id)s","%(helo)20s","%(subject_header)r"`)})
	body := []byte(`"1phfsb-0004M4-O4","a1","           say ""x""","'caf\xc3\xa9'"`)
	if n := testing.AllocsPerRun(200, func() { d.Decode(custom, body, &e, Context{Received: testReceived}) }); n != 0 {
		t.Errorf("custom: %v allocations; want 0", n)
	}
	decode(t, custom, body).wantEvent(t, "x", "", "helo", `say "x"`, "subject_header", "café")
}

// TestDecode_HostileMemory: what a frame makes a decoder allocate is bounded,
// however many separators it has, and a decoder keeps little of it.
func TestDecode_HostileMemory(t *testing.T) {
	s := newSet(t, Options{})
	csv := *builtin(t, "s1")
	csv.CSVQuoting = true
	quoting := customSet(t, Options{}, &csv)
	for _, h := range hostileFrames(t) {
		for _, s := range []*Set{s, quoting} {
			var d Decoder
			var e schema.Event
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			const times = 10
			for range times {
				d.Decode(s, h.body, &e, Context{Received: testReceived})
			}
			runtime.ReadMemStats(&after)
			// Steady state: what the first decode made is used again.
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(2*len(h.body)*times) {
				t.Errorf("%s: %d bytes a frame of %d", h.name, n/times, len(h.body))
			}
			d.Decode(s, []byte("x"), &e, Context{})
			if cap(d.spans) > 2*maxPieces || cap(d.joined) > 2*maxVariables || cap(d.scratch) > keepScratch {
				t.Errorf("%s: the decoder keeps %d, %d pieces and %d bytes", h.name, cap(d.spans), cap(d.joined), cap(d.scratch))
			}
		}
	}
}

// TestDecode_HostileWork counts pieces, which is what work goes with, and checks
// that a frame of separators loses nothing but their places.
func TestDecode_HostileWork(t *testing.T) {
	t.Parallel()
	s := newSet(t, Options{})
	many := strings.Repeat(`","`, 20_000)
	f := func(name, field string, pins ...string) {
		t.Helper()
		o := decode(t, s, frame(t, name, field, "550 x"+many))
		o.wantEvent(t, name, "ambiguous", field, "550 x"+many)
		o.wantEvent(t, name, "ambiguous", pins...)
	}
	f("m1", "subject_header", pinnedM1...)
	f("m3", "subject_header", "id", testID, "bandwidth", "47073", "cc_header", "c@example.com")
	f("s1", "delivery_data", "delivery_ip", "192.0.2.9", "delivery_port", "25")
	// Typed columns behind the text stay where the frame ends.
	end := customSet(t, Options{}, &Format{Name: "x", Kind: schema.Message, Template: compiled(t, `[%(id)s|%(subject_header)s|%(incoming_size)s|%(status)s]`)})
	bars := strings.Repeat("|", 60_000)
	decode(t, end, []byte(`[`+testID+`|a`+bars+`b|25|sent]`)).wantEvent(t, "x", "ambiguous", "id", testID, "subject_header", "a"+bars+"b", "incoming_size", "25", "status", "sent")
	decode(t, s, []byte(`"`+strings.Repeat(`x","`, 16_000)+`x"`)).wantReject(t, schema.ReasonColumnCount, "1024 values or more")

	var d Decoder
	for _, h := range hostileFrames(t) {
		var e schema.Event
		d.Decode(s, h.body, &e, Context{Received: testReceived})
		if len(d.spans) > maxPieces+maxVariables {
			t.Errorf("%s: %d pieces", h.name, len(d.spans))
		}
	}
}

// TestDecode_ScratchGrows: values stay as they are while the memory that others
// of the same event are in grows.
func TestDecode_ScratchGrows(t *testing.T) {
	t.Parallel()
	s := customSet(t, Options{}, &Format{Name: "x", Kind: schema.Message, Template: compiled(t, `%(domain)s|%(helo)r|%(from_header)r|%(subject_header)r|%(status)s|%(main_class)s`)})
	long := strings.Repeat(`\t`, 5000)
	for range 3 {
		decode(t, s, []byte("EXAMPLE.com|'a"+long+"'|'b"+long+"'|'c"+long+"'|Queued Frozen|New Class")).wantEvent(t, "x", "",
			"domain", "example.com", "helo", "a"+strings.Repeat("\t", 5000), "from_header", "b"+strings.Repeat("\t", 5000), "subject_header", "c"+strings.Repeat("\t", 5000),
			"status_norm", "queue-frozen", "class_norm", "new-class")
	}
}
