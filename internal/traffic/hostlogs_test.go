package traffic

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"millrace/ingester/arf"
	"millrace/ingester/mailbox"
	"millrace/ingester/qmail"
	"millrace/schema"
)

// What the logs say is what the decoders read: whole messages and attempts, without a
// flag, and as many as were made.
func TestHostLogs(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Sofia")
	if err != nil {
		t.Fatal(err)
	}
	make := func(seed uint64) (logs HostTexts, lines int) {
		h, err := NewHostLogs(Options{Seed: seed}, zone)
		if err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			lines += h.Next(&logs)
		}
		return logs, lines + h.End(&logs)
	}
	logs, lines := make(1)
	if again, _ := make(1); !bytes.Equal(bytes.Join(again[:], nil), bytes.Join(logs[:], nil)) {
		t.Error("the same seed gives other logs")
	}
	if other, _ := make(2); bytes.Equal(other[SMTPLog], logs[SMTPLog]) {
		t.Error("another seed gives the same logs")
	}
	counted, kinds := 0, map[string]int{}
	for l := SMTPLog; l <= SpamdykeLog; l++ {
		name := map[HostLog]string{SMTPLog: "smtp", SubmissionLog: "smtp", DeliveryLog: "delivery", SpamdykeLog: "spamdyke"}[l]
		d, err := qmail.NewSet([]string{name}, qmail.Options{Zone: zone, Port: 25})
		if err != nil {
			t.Fatal(err)
		}
		emit := func(e *schema.Event) {
			kinds[e.Kind.Name]++
			if flags := e.Flagged() &^ schema.FlagSenderInferred; flags != 0 {
				t.Fatalf("%s: flags %v of %q", l.File(), flags.Words(), e.Text(schema.Raw))
			}
		}
		for line := range bytes.Lines(logs[l]) {
			counted++
			text := bytes.TrimSuffix(line, []byte("\n"))
			if l == SpamdykeLog {
				text = text[bytes.Index(text, []byte("]: "))+3:]
			}
			if reason, detail := d.Line(qmail.Line{Bytes: text, Offset: int64(counted)}, emit); reason != "" {
				t.Fatalf("%s: %q: %s: %s", l.File(), line, reason, detail)
			}
		}
		d.End(emit)
	}
	if counted != lines {
		t.Errorf("%d lines, and Next said %d", counted, lines)
	}
	if kinds["smtp"] != 5000 || kinds["delivery"] < 3000 || kinds["spamdyke"] < 3000 || kinds["line"] < 50 {
		t.Errorf("%v", kinds)
	}
	reports := 0
	for r := mailbox.New(bytes.NewReader(logs[Reports]), "abuse.mbox", 1<<20); ; reports++ {
		m, err := r.Next()
		if err != nil {
			break
		}
		var e schema.Event
		d := arf.Decoder{Options: arf.Options{Limit: 1 << 20}}
		if reason, detail := d.Decode(m.Bytes, time.Now().UnixMilli(), &e); reason != "" {
			t.Fatalf("%s: %s\n%s", reason, detail, m.Bytes)
		}
		if user := string(e.Text(schema.Feedback.Index("auth_user"))); !strings.Contains(user, "@") {
			t.Errorf("auth_user %q", user)
		}
	}
	if reports < 50 {
		t.Errorf("%d reports", reports)
	}
}
