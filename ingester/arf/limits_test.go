package arf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"millrace/schema"
)

const reportHead = "From: a@example.org\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"

// TestBombs: messages made to cost more than they are. Each is a reject, or an event
// within its limit, and what is allocated on the way stays near the message's size.
func TestBombs(t *testing.T) {
	const size = 4 << 20
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	nested := func(levels int) string {
		var b strings.Builder
		b.WriteString("Content-Type: multipart/mixed; boundary=x0\n\n")
		for i := range levels {
			fmt.Fprintf(&b, "--x%d\nContent-Type: multipart/mixed; boundary=x%d\n\n", i, i+1)
		}
		return b.String()
	}
	abuse := "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: a\nVersion: 1\n"
	for name, c := range map[string]struct {
		message string
		reason  schema.Reason
		flag    schema.Flag
	}{
		"fields of the header":      {message: repeat("a:\n") + "\nbody", reason: schema.ReasonMIMELimit},
		"one long header line":      {message: "Subject: " + repeat("x") + "\n\nbody", reason: schema.ReasonMIMELimit},
		"fields of a part":          {message: reportHead + "--b\n" + repeat("a:\n") + "\nx\n--b--\n", reason: schema.ReasonMIMELimit},
		"a part's header unended":   {message: reportHead + "--b\n" + repeat("a:"), reason: schema.ReasonMIMELimit},
		"parts":                     {message: reportHead + repeat("--b\n\n\n"), reason: schema.ReasonMIMELimit},
		"nesting":                   {message: nested(100_000), reason: schema.ReasonMIMELimit},
		"nesting in one":            {message: reportHead + "--b\n" + nested(50), reason: schema.ReasonMIMELimit},
		"fields of the report":      {message: reportHead + abuse + repeat("x:\n") + "--b--\n", flag: schema.FlagCut},
		"other fields":              {message: reportHead + abuse + manyFields(size) + "--b--\n", flag: schema.FlagCut},
		"recipients":                {message: reportHead + abuse + repeat("Original-Rcpt-To: <a@example.com>\n") + "--b--\n", flag: schema.FlagCut},
		"one long field":            {message: reportHead + abuse + "Reported-URI: " + repeat("u") + "\n--b--\n", flag: schema.FlagCut},
		"a long user":               {message: reportHead + abuse + "Authentication-Results: smtp.auth=" + repeat("u") + "@example.com\n--b--\n", flag: schema.FlagCut},
		"an original of fields":     {message: reportHead + abuse + "--b\nContent-Type: message/rfc822\n\n" + repeat("a:\n") + "--b--\n", flag: schema.FlagCut},
		"an original of bytes":      {message: reportHead + abuse + "--b\nContent-Type: message/rfc822\n\nSubject: x\n\n" + repeat("\xff \x00") + "\n--b--\n", flag: schema.FlagCut},
		"a description":             {message: reportHead + "--b\n\n" + repeat("text\n") + abuse + "--b--\n", flag: schema.FlagCut},
		"a long preamble line":      {message: reportHead + repeat("p") + "\n" + abuse + "--b--\n", reason: schema.ReasonNotAReport},
		"a long boundary":           {message: "Content-Type: multipart/report; boundary=\"" + strings.Repeat("b", 200_000) + "\"\n\n--b\n", reason: schema.ReasonNotAReport},
		"encoded words":             {message: "Subject: " + strings.Repeat("=?utf-8?q?x?= ", 15_000) + "\n" + reportHead + abuse + "--b--\n", flag: schema.FlagCut},
		"carriage returns":          {message: repeat("\r"), reason: schema.ReasonNotAReport},
		"nothing":                   {message: "", reason: schema.ReasonNotAReport},
		"a Received of ids":         {message: reportHead + abuse + "--b\nContent-Type: message/rfc822\n\nReceived: " + strings.Repeat(" id x", 50_000) + "\n\n--b--\n"},
		"continued to the last":     {message: reportHead + abuse + repeat(" x\n") + "--b--\n", flag: schema.FlagCut},
		"an unended encoded report": {message: reportHead + "--b\nContent-Type: message/feedback-report\nContent-Transfer-Encoding: base64\n\n" + repeat("QUFB\n"), flag: schema.FlagMissingField},
	} {
		t.Run(name, func(t *testing.T) {
			for _, limit := range []int{DefaultLimit, 8 << 10} {
				d := &Decoder{Options: Options{Body: true, Limit: limit}}
				var e schema.Event
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				reason, detail := d.Decode([]byte(c.message), received, &e)
				runtime.ReadMemStats(&after)
				if spent := after.TotalAlloc - before.TotalAlloc; spent > 16<<20 {
					t.Errorf("%d KiB were allocated for a message of %d KiB", spent>>10, len(c.message)>>10)
				}
				if reason != c.reason {
					t.Fatalf("%q (%.200s), want %q", reason, detail, c.reason)
				}
				if reason != "" {
					if len(detail) > 1000 || detail == "" {
						t.Errorf("a detail of %d bytes", len(detail))
					}
					continue
				}
				if !e.HasFlag(c.flag) && c.flag != 0 {
					t.Errorf("flags %q", e.Flagged().Words())
				}
				if n := len(schema.AppendRecord(nil, &e)); n > limit+2<<10 {
					t.Errorf("a record of %d bytes with a limit of %d", n, limit)
				}
			}
		})
	}
}

// manyFields are fields of different names.
func manyFields(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "X-%d: %s\n", i, strings.Repeat("v", 100))
	}
	return b.String()
}

// corpus are the reports of the tests.
func corpus(t testing.TB) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/reports/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no reports: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// TestCut: a report that is cut anywhere is an event or a reject, and never less of one
// than before.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, message := range corpus(t) {
		if len(message) > 10_000 {
			continue
		}
		d := new(Decoder)
		was := false
		for n := range message {
			var e schema.Event
			reason, _ := d.Decode(message[:n], received, &e)
			if was && reason == schema.ReasonNotAReport && bytes.Contains(message, []byte("message/feedback-report")) {
				t.Fatalf("%.60q is no report with %d of its %d bytes, and was with fewer: ends %q", message, n, len(message), message[max(0, n-60):n])
			}
			was = was || reason == "" && e.Has(feedbackType)
		}
	}
}

// FuzzDecode: no message makes the decoder panic, or its event longer than the limit, or
// of text that is no UTF-8; and it says the same of a message each time.
func FuzzDecode(f *testing.F) {
	for _, message := range corpus(f) {
		f.Add(message, true)
	}
	f.Add([]byte("Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\nfeedback-type:x\n"), false)
	f.Fuzz(func(t *testing.T, message []byte, body bool) {
		d := &Decoder{Options: Options{Body: body, Limit: 20 << 10}}
		var e schema.Event
		if reason, detail := d.Decode(message, received, &e); reason != "" {
			if detail == "" || len(detail) > 1000 {
				t.Fatalf("%s: %q", reason, detail)
			}
			return
		}
		if n := len(schema.AppendRecord(nil, &e)); n > 22<<10 {
			t.Fatalf("a record of %d bytes", n)
		}
		have := render(t, &e) // reads the record: its text is UTF-8
		if strings.ContainsRune(have, 0) {
			t.Fatal("a NUL")
		}
		if again := decode(t, d, message); again != have {
			t.Fatalf("the second time it is\n%s\nwas\n%s", again, have)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"minimal", "full", "spamexperts"} {
		message, err := os.ReadFile("testdata/reports/" + name + ".eml")
		if err != nil {
			b.Fatal(err)
		}
		b.Run("report="+name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			d := new(Decoder)
			var e schema.Event
			for b.Loop() {
				if reason, _ := d.Decode(message, received, &e); reason != "" {
					b.Fatal(reason)
				}
			}
		})
	}
}
