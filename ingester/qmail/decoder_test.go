package qmail

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flag"

	"millrace/ingester/header"
	"millrace/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// render is an event as lines of text, a field each.
func render(e *schema.Event) string {
	var back schema.Event
	if err := (schema.Reader{}).Read(e.Kind, schema.AppendRecord(nil, e), &back); err != nil {
		return "cannot read it back: " + err.Error()
	}
	e = &back
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", e.Kind.Name)
	for i, f := range e.Kind.Fields {
		var v []string
		switch f.Type {
		case schema.Names, schema.Texts, schema.IPs:
			for _, n := range e.Names() {
				if n.Field != i {
					continue
				}
				if f.Type == schema.IPs && len(n.Name) > 0 {
					a, _ := netip.AddrFromSlice(n.Name)
					v = append(v, a.Unmap().String())
					continue
				}
				v = append(v, fmt.Sprintf("%q", n.Name))
			}
		case schema.Codes:
			for _, c := range e.Codes() {
				if c.Field == i {
					v = append(v, fmt.Sprint(c.Code))
				}
			}
		default:
			if !e.Has(i) {
				continue
			}
			switch f.Type {
			case schema.Millis:
				v = append(v, time.UnixMilli(e.Millis(i)).UTC().Format("2006-01-02 15:04:05.000"))
			case schema.Seconds:
				v = append(v, time.Unix(int64(e.Uint(i)), 0).UTC().Format(time.DateTime))
			case schema.IP:
				a := netip.AddrFrom16(e.IP(i))
				v = append(v, a.Unmap().String())
			case schema.Text, schema.Word, schema.Bytes:
				v = append(v, fmt.Sprintf("%q", e.Text(i)))
			default:
				v = append(v, fmt.Sprint(e.Uint(i)))
			}
		}
		if len(v) > 0 {
			fmt.Fprintf(&b, "  %s: %s\n", f.Name, strings.Join(v, ", "))
		}
	}
	return b.String()
}

// all decodes lines one after the other, and what is open at their end. stamped is where
// the stamps of the lines' syslog headers are of; nil: there are no headers.
func all(d Decoder, text string, stamped *time.Location) string {
	var b strings.Builder
	emit := func(e *schema.Event) { b.WriteString(render(e)) }
	parser := header.Parser{Stored: true}
	offset := int64(0)
	for line := range strings.Lines(text) {
		if l := strings.TrimRight(line, "\r\n"); l != "" {
			l := Line{Bytes: []byte(l), Offset: offset, Received: 1_900_000_000_000}
			if stamped != nil {
				l.Received = 1_615_400_000_000
				var h header.Header
				l.Bytes, _ = parser.ParseRest(header.ParsePRI(l.Bytes, &h), &h, l.Received, stamped)
				l.Header = h.Millis
				fmt.Fprintf(&b, "header: host %s, program %s, process %s\n", h.Host, h.App, h.PID)
			}
			if reason, detail := d.Line(l, emit); reason != "" {
				fmt.Fprintf(&b, "reject %s at %d: %s\n", reason, offset, detail)
			}
		}
		offset += int64(len(line))
	}
	d.End(emit)
	return b.String()
}

// TestDecoders holds what the logs in testdata are decoded to. NAME.log is decoded by the
// decoder that its name begins with, behind syslog headers where that ends with _syslog,
// and the result is NAME.golden.
func TestDecoders(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Sofia")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) == 0 {
		t.Fatalf("no logs in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var d Decoder
			switch name, _, _ := strings.Cut(filepath.Base(file), "_"); strings.TrimSuffix(name, ".log") {
			case "smtp25":
				d = NewSMTP(Options{Zone: zone, Port: 25})
			case "smtp587":
				d = NewSMTP(Options{Zone: zone, Port: 587})
			case "smtp465":
				d = NewSMTP(Options{Zone: zone, Port: 465})
			case "delivery":
				d = NewDelivery(Options{Zone: zone})
			case "spamdyke":
				d = NewSpamdyke(Options{Zone: zone})
			default:
				t.Fatalf("%s: no decoder of that name", file)
			}
			var stamped *time.Location
			if strings.HasSuffix(file, "_syslog.log") {
				stamped = zone
			}
			got := all(d, string(text), stamped)
			golden := strings.TrimSuffix(file, ".log") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s:\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}
