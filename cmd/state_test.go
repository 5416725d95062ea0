package cmd

import (
	"regexp"
	"strings"
	"testing"

	"millrace/internal/embedded"
)

// operatorOf gives a test's commands a Kafka of their own.
func operatorOf(t *testing.T) func(stdin string, args ...string) result {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	config := file(t, "millrace.yaml", "kafka: {brokers: ["+b.Addr+"], replication: 1}\nclickhouse: {addresses: [127.0.0.1:1], dial_timeout: 1s}\n")
	return func(stdin string, args ...string) result {
		t.Helper()
		return execute(t, stdin, append(args, "--config", config)...)
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	run := operatorOf(t)
	run("", "lock", "identity", "example.com/192.0.2.1/bob@example.com", "--reason", "spam run").contains(t, 1,
		"cannot lock identity \"bob@example.com\" of example.com/192.0.2.1", "millrace outgoing-user set example.com/192.0.2.1 --identification sender|auth-user|header:NAME")
	run("", "outgoing-user", "set", "Example.com/192.0.2.1", "--identification", "header:X-AuthUser").want(t, 0, "1 set\n", "")
	run("", "outgoing-user", "set", "example.com/192.0.2.1", "--lock-automatically=true").want(t, 0, "1 set\n", "")
	run("", "outgoing-user", "list", "--format", "csv").contains(t, 0, "example.com,192.0.2.1,header:X-AuthUser,yes,,cli:")
	run("example.com/192.0.2.1/bob@example.com\n# a comment\n\nexample.com/192.0.2.1/bea@example.com\n", "lock", "identity", "-", "--reason", "spam run", "--code", "blackhole").
		want(t, 0, "2 locked\n", "")
	run("", "lock", "user", "example.org/*", "--reason", "hacked", "--until", "2200-01-01").want(t, 0, "1 locked\n", "")
	run("", "lock", "user", "example.org/*", "--reason", "hacked", "--until", "2200-01-01").want(t, 0, "0 locked\n",
		"millrace: example.org/* is locked already, for the same reason\n")
	r := run("", "locks")
	r.contains(t, 0, "domain ", "bea@example.com  yes", "2200-01-01T00:00:00Z", "blackhole", "spam run")
	if n := strings.Count(r.out, "\n"); n != 4 {
		t.Errorf("%d lines: %s", n, r.out)
	}
	run("", "unlock", "identity", "example.com/192.0.2.1/bob@example.com", "example.com/192.0.2.1/joe@example.com").
		want(t, 0, "1 unlocked\n", "millrace: example.com/192.0.2.1/joe@example.com was not locked\n")
	run("", "locks", "--all", "--domain", "EXAMPLE.com", "--format", "json").contains(t, 0, `"identity":"bob@example.com","locked":"no"`, `"identity":"bea@example.com","locked":"yes"`)
	// ClickHouse is not there: Kafka knows it still.
	r = run("", "locks", "--history", "--domain", "example.com", "--format", "csv")
	r.contains(t, 0, "lock,example.com,192.0.2.1,bob@example.com,cli:", "unlock,example.com,192.0.2.1,bob@example.com,cli:", "these are the changes that Kafka still has")
	if strings.Contains(r.out, "example.org") {
		t.Error(r.out)
	}
	run("", "block", "sender", "example.com/*/Bob@Example.com", "--reason", "2000 messages").want(t, 0, "1 blocked\n", "")
	run("", "blocks", "--format", "csv").contains(t, 0, "example.com,*,bob@example.com,yes,", ",2000 messages")
	run("", "unblock", "sender", "example.com/*/bob@example.com").want(t, 0, "1 unblocked\n", "")
	run("", "blocks", "--format", "csv").want(t, 0, "domain,user,sender,blocked,since,by,reason\n", "")
}

func TestLocks_Usage(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		execute(t, "", args...).contains(t, 2, "cannot understand the command line: ", want)
	}
	f("--reason is missing", "lock", "identity", "example.com/a/b")
	f("want DOMAIN/USER/IDENTITY", "lock", "identity", "example.com/a", "--reason", "x")
	f("want DOMAIN/USER", "lock", "user", "example.com", "--reason", "x")
	f("want a time", "lock", "user", "example.com/a", "--reason", "x", "--until", "soon")
	f("want NAME@DOMAIN", "block", "sender", "example.com/a/bob", "--reason", "x")
	f("nothing to set", "outgoing-user", "set", "example.com/a")
	f("want sender, auth-user, header:NAME or none", "outgoing-user", "set", "example.com/a", "--identification", "ip")
	f("requires at least 1 arg", "lock", "user")
}

func TestUsersAndTokens(t *testing.T) {
	t.Parallel()
	run := operatorOf(t)
	run("", "user", "list", "--format", "csv").want(t, 0, "name,role,sees,disabled,changed,by\n", "")
	run("correct horse\n", "user", "add", "Joe", "--domain", "Example.com", "--domain", "bücher.example", "--password-file", "-").want(t, 0, "user joe added\n", "")
	run("correct horse\n", "user", "add", "joe", "--domain", "example.com", "--password-file", "-").contains(t, 1, "there is one of that name")
	run("", "user", "add", "exporter", "--role", "admin", "--no-password").want(t, 0, "user exporter added\n", "")
	run("", "user", "add", "bob", "--role", "email", "--no-password").contains(t, 1, "it has no address (--address)")
	run("", "user", "add", "bob", "--role", "admin").contains(t, 2, "--password-file is missing")
	run("short\n", "user", "password", "joe", "--password-file", "-").contains(t, 1, "want at least 10")
	run("another password\n", "user", "password", "joe", "--password-file", "-").want(t, 0, "password of joe set\n", "")
	run("", "user", "set", "joe", "--disabled=true").want(t, 0, "user joe set\n", "")
	run("", "user", "set", "nobody", "--disabled=true").contains(t, 1, "there is no such user")
	run("", "user", "list", "--format", "csv").contains(t, 0, "joe,domain,example.com xn--bcher-kva.example,yes,", "exporter,admin,,no,")

	r := run("", "token", "add", "joe", "--label", "backup", "--expires", "90d")
	id := regexp.MustCompile(`its id is (\S+)\n`).FindStringSubmatch(r.errs)
	if r.code != 0 || !regexp.MustCompile(`^mr_[2-9a-z]{50}\n$`).MatchString(r.out) || id == nil {
		t.Fatalf("%+v", r)
	}
	listed := run("", "token", "list")
	listed.contains(t, 0, id[1], "joe", "backup", strings.TrimSpace(r.out)[49:])
	if strings.Contains(listed.out, strings.TrimSpace(r.out)[13:]) {
		t.Error("the token's text is listed")
	}
	run("", "token", "revoke", id[1], "--reason", "left").want(t, 0, "token "+id[1]+" revoked\n", "")
	run("", "token", "revoke", id[1]).contains(t, 1, "there is no token of that id")
	run("", "user", "remove", "joe").want(t, 0, "user joe removed\n", "")
	run("", "token", "add", "joe").contains(t, 1, "there is no such user")
}
