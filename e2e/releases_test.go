package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReleases starts today's `millrace up` on the data directory that each release has
// left behind: its rows are there to the last value, the audit finds them all, and new
// events go on from there. scripts/release-archive.sh makes the directories.
func TestReleases(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("../internal/migrate/testdata/releases/*/data.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatal("no release", err)
	}
	for _, archive := range archives {
		t.Run(filepath.Base(filepath.Dir(archive)), func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			if out, err := exec.Command("tar", "-xzf", archive, "-C", data).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			// As it was made: nothing expires.
			config := filepath.Join(t.TempDir(), "forever.yaml")
			if err := os.WriteFile(config, []byte("retention: {events: 20000d, raw: 20000d}\nup: {kafka_retention: 3650d}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p := up(t, data, "--config", config)
			listed, err := os.ReadFile(filepath.Join(filepath.Dir(archive), "rows.tsv"))
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for line := range strings.Lines(string(listed)) {
				f := strings.Split(strings.TrimSpace(line), "\t")
				table, columns, want := f[0], f[1], f[2]+" "+f[3]
				got := p.value(fmt.Sprintf("SELECT concat(toString(count()), ' ', toString(sum(cityHash64(%s)))) FROM %s", columns, table))
				if got != want {
					t.Errorf("%s has rows and sum %s, the release left %s", table, got, want)
				}
				total += p.count("SELECT count() FROM " + table)
			}
			if got, want := p.audit(), (audited{OK: true, Rows: total}); got != want {
				t.Errorf("the audit finds %+v, want %+v", got, want)
			}
			if out, errs, code := run(t, "generate", "--to", "tcp://"+p.addr["syslog_tcp"], "--count", "200", "--seed", "8", "--wait-published", "http://"+p.addr["http"]); code != 0 {
				t.Fatalf("generate: %d\n%s%s", code, out, errs)
			}
			p.eventually(fmt.Sprint(total+200), "SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events) + (SELECT count() FROM rejects)")
			if code := p.signal(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
			p = up(t, data, "--config", config) // and once more
			if got, want := p.audit(), (audited{OK: true, Rows: total + 200}); got != want {
				t.Errorf("after new events the audit finds %+v, want %+v", got, want)
			}
		})
	}
}
