package e2e

import (
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMail_Report is the worked example of the README: a report that a filter sends by
// SMTP is a row that SQL finds, beside the status of the message that it is about.
func TestMail_Report(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "millrace.yaml")
	if err := os.WriteFile(file, []byte("listeners:\n  - {name: abuse, address: 'smtp://127.0.0.1:0'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := up(t, t.TempDir(), "--config", file, "--syslog-udp", "off")
	report, err := os.ReadFile("../ingester/arf/testdata/reports/spamexperts.eml")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 { // and once more: the sender has not heard of the first 250
		message := strings.Replace(string(report), "arf-9@", fmt.Sprintf("arf-%d@", max(n, 1)), 1)
		if err := smtp.SendMail(p.addr["smtp"], nil, "noreply@spamlogin.example", []string{"abuse@hosting.example"}, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	if err := smtp.SendMail(p.addr["smtp"], nil, "someone@example.org", []string{"abuse@hosting.example"}, []byte("Subject: hello\r\n\r\nno report\r\n")); err != nil {
		t.Fatal(err)
	}
	p.eventually("3", "SELECT count() FROM feedback_reports")
	p.eventually("1", "SELECT count() FROM rejects WHERE reason = 'not_a_report' AND listener = 'abuse'")
	got := p.query("SELECT auth_user, uniq(report_id) AS reports, any(id), any(subject_header), any(filter_class), any(toString(source_ip)) FROM feedback_reports WHERE feedback_type = 'abuse' GROUP BY auth_user")
	want := "bob@customer.example.com 2 1wWh6f-004mve-0F Chère cliente spam ::ffff:192.0.2.80"
	if len(got) != 1 || strings.Join(got[0], " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if n := p.metric("millrace_frames_published_total", `listener="abuse"`); n != 3 {
		t.Errorf("%v published", n)
	}
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
