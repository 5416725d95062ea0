package arf

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// received is 2026-11-20 15:30:53.250 UTC.
const received = 1795188653250

// render is an event as lines of text, a field each, after a journey through a record.
func render(t testing.TB, e *schema.Event) string {
	t.Helper()
	var back schema.Event
	if err := (schema.Reader{}).Read(e.Kind, schema.AppendRecord(nil, e), &back); err != nil {
		t.Fatalf("cannot read the record back: %v", err)
	}
	e = &back
	var b strings.Builder
	for i, f := range e.Kind.Fields {
		var v []string
		switch f.Type {
		case schema.Names, schema.Texts:
			for _, n := range e.Names() {
				if n.Field == i {
					v = append(v, fmt.Sprintf("%q", n.Name))
				}
			}
		case schema.Map:
			for _, p := range e.Pairs() {
				if p.Field == i {
					v = append(v, fmt.Sprintf("%s=%q", p.Key, p.Value))
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
				v = append(v, netip.AddrFrom16(e.IP(i)).Unmap().String())
			case schema.Text, schema.Word, schema.Bytes:
				v = append(v, fmt.Sprintf("%q", e.Text(i)))
			default:
				v = append(v, fmt.Sprint(e.Uint(i)))
			}
		}
		if len(v) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", f.Name, strings.Join(v, ", "))
		}
	}
	return b.String()
}

func decode(t testing.TB, d *Decoder, message []byte) string {
	t.Helper()
	var e schema.Event
	if reason, detail := d.Decode(message, received, &e); reason != "" {
		return fmt.Sprintf("reject %s: %s\n", reason, detail)
	}
	return render(t, &e)
}

// TestReports decodes every report of the corpus, with the original's body and without,
// and compares with what is known to be right.
func TestReports(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/reports/*.eml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d reports: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".eml"), func(t *testing.T) {
			t.Parallel()
			message, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			before := bytes.Clone(message)
			d := &Decoder{Options: Options{Body: true, Zone: time.FixedZone("+02:00", 7200)}}
			have := decode(t, d, message)
			if !bytes.Equal(before, message) {
				t.Error("the message was changed")
			}
			if d.Body = false; !strings.HasPrefix(have, "reject") {
				var without []string
				for line := range strings.Lines(have) {
					if !strings.HasPrefix(line, "body: ") {
						without = append(without, line)
					}
				}
				if got := decode(t, d, message); dropFlags(got) != dropFlags(strings.Join(without, "")) {
					t.Errorf("without its body it is\n%s", got)
				}
			}
			golden := strings.TrimSuffix(file, ".eml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(have), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if have != string(want) {
				t.Errorf("have\n%s\nwant\n%s", have, want)
			}
		})
	}
}

// dropFlags leaves flags out, which the body may have of its own.
func dropFlags(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, "flags: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
