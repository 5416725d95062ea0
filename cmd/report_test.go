package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/embedded/embeddedtest"
	"millrace/query/querytest"
)

func TestReport(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	database := querytest.Tables(t, `INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, auth_user, status_norm, class_norm, direction) VALUES
		('2026-11-20 22:30:00', '2026-11-20 22:30:00', now64(3), 'a', 'a.example', 's@a.example', 'r@far.example', 'bob', 'rejected', 'spam', 'outgoing'),
		('2026-11-20 11:00:00', '2026-11-20 11:00:00', now64(3), 'b', 'b.example', 's@b.example', 'r@far.example', 'al', 'delivered', 'not-spam', 'outgoing'),
		(now64(3) - 3600, now() - 3600, now64(3), 'c', 'b.example', 'late@b.example', 'r@far.example', 'al', 'delivered', 'not-spam', 'outgoing')`)
	path := configured(t, database, ch.Reader.Password)
	ask := func(args ...string) result {
		return execute(t, "", append([]string{"report", "--config", path}, args...)...)
	}

	ask("outgoing", "--since", "2026-11-20", "--until", "2026-11-21", "--group-by", "auth_user", "--class", "blacklisted,spam", "--format", "tsv").
		want(t, 0, "bob\t1\t0\t1\t0\t0\t1\t0\t0\t1\t0\t2026-11-20 22:30:00.000\t2026-11-20 22:30:00.000\t\t[('a.example','bob','')]\n", "")
	// The zone is that of the times given, of those printed, and of the days.
	r := ask("volume", "--since", "2026-11-20", "--until", "2026-11-22", "--param", "group_by=day", "--tz", "Europe/Sofia")
	r.contains(t, 0, "2026-11-20 00:00:00", "2026-11-21 00:00:00", "volume, 2026-11-20 00:00:00 Europe/Sofia to 2026-11-22 00:00:00 Europe/Sofia: 2 rows in ")
	if strings.Contains(r.out, "rows in") {
		t.Errorf("the footer is in the output: %s", r.out)
	}
	ask("outgoing", "--since", "2026-11-20", "--until", "2026-11-21").contains(t, 0, "note: column identity of message_events is empty in every row of this time: template variable %(identity)s fills it")
	ask("outgoing", "--last", "2h", "--group-by", "sender", "--format", "csv").contains(t, 0, "who,messages,", "\r\nlate@b.example,1,")
	ask("outgoing", "--last", "2h", "--since", "3h").contains(t, 2, "either --since or --last")
	ask("outgoing", "--last", "soon").contains(t, 2, `"since"`, `"soon"`, "how long ago")
	ask("outgoing", "--group-by", "colour").contains(t, 2, `"colour"`, "identity, sender")
	ask("outgoing", "--param", "colour").contains(t, 2, "want NAME=VALUE")
	ask("outgoing", "--format", "xml").contains(t, 2, "xml")
	ask("nothing").contains(t, 2, `cannot find the report "nothing"`)
	ask("spam_runs", "--help-report").contains(t, 0, "Who sends far more than usual", "factor=5", "times the usual", "what a row is: identity, sender")

	dir := t.TempDir()
	for name, text := range map[string]string{
		"mine.sql":   "-- title: My own\n-- param: domain String = | which\nSELECT count() AS n FROM messages WHERE domain = {domain:String}",
		"broken.sql": "-- title: Broken\n\nSELECT {x:String}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ask("--dir", dir).contains(t, 0, "mine                 My own ("+filepath.Join(dir, "mine.sql")+")", "outgoing             Outgoing mail", "millrace: warning: cannot read report "+filepath.Join(dir, "broken.sql")+", line 3")
	ask("mine", "--dir", dir, "--domain", "B.example", "--format", "tsv").contains(t, 0, "2\n")
	configuredDir := file(t, "dir.yaml", "reports: {dir: '"+dir+"'}\n")
	execute(t, "", "report", "--config", configuredDir).contains(t, 0, "My own")
	execute(t, "", "report", "--config", configuredDir, "--dir", filepath.Join(dir, "absent")).contains(t, 0, "outgoing", "reports.dir")
}
