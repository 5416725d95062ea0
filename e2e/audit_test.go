package e2e

import (
	"encoding/json"
	"slices"
	"testing"
)

// audited is what the tests want of the report of millrace audit.
type audited struct {
	OK                                   bool
	Rows, Missing, Doubled, Removed, Lag int
}

// audit runs millrace audit on what the process writes to, and wants it good.
func (p *process) audit(more ...string) audited {
	p.t.Helper()
	args := []string{"audit", "--json", "--data", p.data}
	if p.auditAs != "" {
		args = append(args, "--config", p.auditAs)
	} else if i := slices.Index(p.cmd.Args, "--config"); i >= 0 {
		args = append(args, p.cmd.Args[i:i+2]...)
	}
	if addr, ok := p.addr["clickhouse_native"]; ok {
		args = append(args, "--server", addr)
	}
	if addr, ok := p.addr["kafka"]; ok {
		args = append(args, "--kafka", addr)
	}
	stdout, stderr, code := run(p.t, append(args, more...)...)
	var got audited
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || !got.OK {
		p.t.Errorf("millrace audit: exit code %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	return got
}

// TestAudit runs the audit while events come in, and when all are there.
func TestAudit(t *testing.T) {
	t.Parallel()
	p := up(t, t.TempDir())
	if got := p.audit(); got != (audited{OK: true}) {
		t.Errorf("of an empty stack: %+v", got)
	}
	s := startPaced(t, p.addr["syslog_tcp"], 1, 0)
	for range 5 {
		p.grown(2000)
		if got := p.audit(); got.Rows == 0 && got.Lag == 0 {
			t.Errorf("under load: %+v", got)
		}
	}
	s.end()
	p.caughtUp()
	rows := p.checkPlaces()
	if got, want := p.audit(), (audited{OK: true, Rows: rows}); got != want {
		t.Errorf("at rest: %+v, want %+v", got, want)
	}
	if got, want := p.audit("--since", "1h"), (audited{OK: true, Rows: rows}); got != want {
		t.Errorf("of the last hour: %+v, want %+v", got, want)
	}
}
