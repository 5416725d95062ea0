package migrate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/schema"
)

// The tables that each release has made become today's: testdata/releases has what the
// server showed of them (scripts/release-archive.sh). Their rows, and all else that a
// release leaves behind, is looked at in e2e.
func TestReleases(t *testing.T) {
	t.Parallel()
	dumps, err := filepath.Glob("testdata/releases/*/schema.sql")
	if err != nil || len(dumps) == 0 {
		t.Fatal("no release", err)
	}
	for _, path := range dumps {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			t.Parallel()
			conn, s := fresh(t)
			dump, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			exec(t, conn, "CREATE DATABASE "+s.Database)
			for _, q := range strings.Split(strings.ReplaceAll(string(dump), "millrace.", s.Database+"."), ";\n") {
				if strings.TrimSpace(q) != "" {
					exec(t, conn, q)
				}
			}
			// What the server adds to the rows of a table of ours it must not lose.
			exec(t, conn, "INSERT INTO "+s.Database+".message_events (received_at, id, sender) SELECT now64(3), '1a2b3c-000001-AA', 'old@example.com'")
			m := migrator(t, conn, s, embedded)
			before := mustPlan(t, m)
			if before.current() == 0 {
				t.Error("the release's migrations are not known")
			}
			mustApply(t, m)
			if p := mustPlan(t, m); !p.Empty() || p.current() != p.Latest {
				t.Error("after Apply:", p)
			}
			if d, err := m.Check(t.Context()); err != nil || len(d) != 0 {
				t.Error("Check after Apply:", d, err)
			}
			_, today := fresh(t)
			mustApply(t, migrator(t, conn, today, embedded))
			if got, want := description(t, conn, s.Database), description(t, conn, today.Database); got != want {
				t.Errorf("the release's tables become\n%s\ntoday's are\n%s", got, want)
			}
			if got := text(t, conn, "SELECT concat(id, ' ', sender, ' ', toString(count())) FROM "+s.Database+"."+schema.Message.Table+" GROUP BY id, sender"); got != "1a2b3c-000001-AA old@example.com 1" {
				t.Error(got)
			}
		})
	}
}
