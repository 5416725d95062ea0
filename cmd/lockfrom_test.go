package cmd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/query/querytest"
)

// From a message, from a row of a report or of a search, to the lock of who has sent it.
func TestLock_Found(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	database := querytest.Tables(t, `INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, status, status_norm, class_norm, auth_user, identity, direction) VALUES
		('2026-11-20 10:00:00', '2026-11-20 10:00:00', now64(3), '1xULPU-000001-O4', 'a.example', 'Sales@a.example', 'r1@far.example', 'rejected', 'rejected', 'spam', 'smtp@a.example', 'Bob@a.example', 'outgoing'),
		('2026-11-20 10:00:00', '2026-11-20 10:00:00', now64(3), '1xULPU-000001-O4', 'a.example', 'Sales@a.example', 'r2@far.example', 'rejected', 'rejected', 'spam', 'smtp@a.example', 'Bob@a.example', 'outgoing'),
		('2026-11-20 11:00:00', '2026-11-20 11:00:00', now64(3), '1xUMLY-000002-O4', 'b.example', 'x@far.example', 'me@b.example', 'queued', 'queued', 'spam', '', '', 'incoming'),
		('2026-11-20 12:00:00', '2026-11-20 12:00:00', now64(3), '1xUNHc-000003-O4', 'c.example', 's@c.example', 'r@far.example', 'rejected', 'rejected', 'spam', '', '', 'outgoing'),
		('2026-11-20 12:00:00', '2026-11-20 12:00:00', now64(3), '1xUNHc-000004-O4', 'd.example', '', 'r@far.example', 'rejected', 'rejected', 'spam', '', '', 'outgoing')`)
	b, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	path := file(t, "m.yaml", fmt.Sprintf("kafka: {brokers: ['%s'], replication: 1}\nclickhouse: {addresses: ['%s'], database: %s, reader: {username: %s, password: '%s'}}\n",
		b.Addr, ch.NativeAddr, database, ch.Reader.User, ch.Reader.Password))
	run := func(stdin string, args ...string) result {
		t.Helper()
		return execute(t, stdin, append(args, "--config", path)...)
	}
	report := func(by string) string {
		t.Helper()
		r := run("", "report", "top_spammers", "--group-by", by, "--since", "2026-11-20", "--until", "2026-11-21", "--format", "ndjson")
		if r.code != 0 {
			t.Fatal(r.errs)
		}
		return r.out
	}

	run("", "lock", "--message", "1xULPU-000001-O4", "--reason", "spam run").contains(t, 1, `cannot lock identity "bob@a.example" of a.example/smtp: the outgoing user has no identification method`, "millrace outgoing-user set a.example/smtp --identification")
	run("", "outgoing-user", "set", "a.example/smtp", "--identification", "header:X-Sender-Id").want(t, 0, "1 set\n", "")
	run("", "outgoing-user", "set", "c.example/*", "d.example/*", "--identification", "sender").want(t, 0, "2 set\n", "")
	run("", "lock", "--message", "1xULPU-000001-O4", "--dry-run").want(t, 0, "domain a.example, user smtp, identity bob@a.example (message 1xULPU-000001-O4 from Sales@a.example to r1@far.example)\n", "")
	run("", "lock", "--message", "1xULPU-000001-O4", "--outgoing-user", "--dry-run").contains(t, 0, "domain a.example, user smtp, all its identities (message")
	run("", "lock", "--message", "1xULPU-000001-O4", "--recipient", "R2@far.example", "--reason", "spam run").want(t, 0, "1 locked\n", "")
	run("", "lock", "--message", "1xULPU-000001-O4", "--reason", "spam run").want(t, 0, "0 locked\n", "millrace: a.example/smtp/bob@a.example is locked already, for the same reason\n")
	for id, want := range map[string]string{
		"1xULPU-000001-O4": `it has no recipient "nobody@far.example"`, "1xUMLY-000002-O4": "its direction is incoming", "1xUP9k-000009-O4": "there is none",
		"1xUNHc-000004-O4": "it names no identity: those of d.example/* are told by sender; lock the outgoing user",
	} {
		args := []string{"lock", "--message", id, "--reason", "x"}
		if id == "1xULPU-000001-O4" {
			args = append(args, "--recipient", "nobody@far.example")
		}
		run("", args...).contains(t, 1, fmt.Sprintf("cannot lock for message %q: ", id), want)
	}

	// The authenticated user of a row is the outgoing user of the settings.
	rows := report("identity")
	run(rows, "lock", "--from", "-", "--reason", "spam run").contains(t, 1, `cannot lock by these rows: row 1 has no targets (who is ""): it is neither`, "nothing was locked; --skip leaves such rows out")
	run(rows, "lock", "--from", "-", "--reason", "spam run", "--skip").want(t, 0, "0 locked\n",
		"millrace: left out: row 1 has no targets (who is \"\"): it is neither an identity, nor an outgoing user, nor a domain of outgoing mail\nmillrace: a.example/smtp/bob@a.example is locked already, for the same reason\n")
	run(report("auth_user"), "lock", "--from", "-", "--reason", "hacked", "--skip").contains(t, 0, "1 locked\n")
	// Rows of a search are looked up by their id.
	found := run("", "search", "sender is s@c.example", "--since", "2026-11-20", "--format", "json")
	run(found.out, "lock", "--from", "-", "--reason", "its sender").want(t, 0, "1 locked\n", "")
	run(`{"domain":"a.example","auth_user":"smtp","identity":"Joe"}`+"\n"+`{"domain":"c.example","user":"hook","identity":"joe"}`, "lock", "--from", "-", "--reason", "mine", "--until", "24h").want(t, 0, "2 locked\n", "")
	run("", "locks", "--format", "csv").contains(t, 0, "a.example,smtp,bob@a.example,yes,", "a.example,smtp,,yes,", "c.example,*,s@c.example,yes,", "a.example,smtp,Joe,yes,", "c.example,hook,joe,yes,")

	for stdin, want := range map[string]string{
		`{"domain":"a.example","sender":"x"}`:       "row 1 names no user and no identity",
		`[{"sender":"x"}]`:                          "row 1 names no domain",
		`{"targets":[{"domain":"a/b","user":"x"}]}`: `row 1: cannot use domain "a/b"`,
		"who,messages\n":                            "want JSON, as --format ndjson or json writes it",
		`{"domain":7}`:                              "cannot read row 1",
		strings.Repeat("{}\n", 9):                   "and 4 more",
	} {
		run(stdin, "lock", "--from", "-", "--reason", "x").contains(t, 1, want)
	}
	run("", "lock", "--from", "-", "--reason", "x").want(t, 0, "0 locked\n", "millrace: there are no rows\n")
	run("", "lock", "--from", "no-such-file", "--reason", "x").contains(t, 1, "cannot read rows: ")
}

func TestLock_FoundUsage(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		execute(t, "", append([]string{"lock"}, args...)...).contains(t, 2, want)
	}
	f("--reason is missing", "--message", "x")
	f("--reason: of whom?", "--reason", "x")
	f("--recipient is for --message", "--from", "-", "--recipient", "a@b.example", "--reason", "x")
	f("--skip is for --from", "--message", "x", "--skip", "--reason", "x")
	f("want a time", "--message", "x", "--reason", "x", "--until", "soon")
	f(`"bob" is no command of millrace lock`, "bob")
	execute(t, "", "lock").contains(t, 0, "millrace lock --message")
}

// Nothing but y and yes is yes.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{"y\n": true, " YES \n": true, "yes": true, "n\n": false, "\n": false, "": false, "yesterday\n": false} {
		c := &cobra.Command{}
		var said strings.Builder
		c.SetIn(strings.NewReader(answer))
		c.SetErr(&said)
		got, err := confirm(c, "Lock it?")
		if err != nil || got != want || strings.HasPrefix(said.String(), "Lock it? [y/N] ") != true || strings.Contains(said.String(), "nothing was locked") == want {
			t.Errorf("%q: %v, %v, %q", answer, got, err, said.String())
		}
	}
}
