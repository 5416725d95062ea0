package cmd

import (
	"fmt"
	"testing"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/migrate"
)

func TestRulesAndIdentities(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	database := embeddedtest.Database(t)
	conn := embeddedtest.Connect(t, database)
	m, err := migrate.New(conn, migrate.Settings{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(t.Context(), `INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, auth_user, status_norm, class_norm, direction, k_off)
		SELECT now64(3) - number, now() - number, now64(3), toString(number), 'example.com', 'bob@example.com', 'r@far.example', 'web', 'rejected', 'spam', 'outgoing', number FROM numbers(3)`); err != nil {
		t.Fatal(err)
	}
	b, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	path := file(t, "rules.yaml", fmt.Sprintf("kafka: {brokers: ['%s'], replication: 1}\nclickhouse: {addresses: ['%s'], database: %s, reader: {username: %s, password: '%s'}}\n"+
		"rules: [{name: burst, count: 3}, {name: high, count: 30}]\n", b.Addr, ch.NativeAddr, database, ch.Reader.User, ch.Reader.Password))
	run := func(args ...string) result { t.Helper(); return execute(t, "", append(args, "--config", path)...) }

	// Nothing is locked automatically, as long as nobody says so.
	run("rules", "--format", "csv").want(t, 0, "rule,subject,count,last,does,why\n", "")
	run("outgoing-user", "set", "example.com/web", "--identification", "sender", "--lock-automatically=true").want(t, 0, "1 set\n", "")
	run("rules", "--format", "csv").contains(t, 0, "burst,example.com/web/bob@example.com,3,", `,lock,"rule burst: 3 within 10m (spam, phish, virus, abuse reports)"`)
	run("rules", "--dry-run").contains(t, 0, "dry run", "example.com/web/bob@example.com")
	run("identities", "--format", "csv").contains(t, 0, "example.com,web,bob@example.com,0,3,0,0,0,", "Z,no,,\n")
	run("lock", "identity", "example.com/web/bob@example.com", "--reason", "spam run").want(t, 0, "1 locked\n", "")
	run("identities", "--last", "1h", "--domain", "EXAMPLE.com", "--format", "json").contains(t, 0, `"identity":"bob@example.com"`, `"locked":"yes"`, `"reason":"spam run"`)
	run("rules").contains(t, 0, "held", "locked already by cli:")
	run("lists", "identities", "--format", "exim").want(t, 0, "bob@example.com: 550\n", "")
	run("lists", "users").want(t, 0, "", "")
	run("lists", "locks").contains(t, 2, "want identities, users, domains or senders")
	run("lists", "users", "--format", "csv").contains(t, 2, "want text, json, exim, postfix or rspamd")
	run("identities", "--domain", "example.org").contains(t, 0, "domain  user")
	run("identities", "--since", "1h", "--last", "2h").contains(t, 2, "either --since or --last")
	run("identities", "--last", "soon").contains(t, 2, `"soon"`)
}
