package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/porttest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// configured is a file that names the test server, as its admin, and a database.
func configured(t *testing.T, database, reader string) string {
	t.Helper()
	ch := embeddedtest.ClickHouse(t)
	return file(t, "m.yaml", fmt.Sprintf(
		"clickhouse: {addresses: ['%s'], database: %s, username: %s, password: '%s', reader: {username: %s, password: '%s'}}\n",
		ch.NativeAddr, database, ch.Admin.User, ch.Admin.Password, ch.Reader.User, reader))
}

// Each shard is made. Here both are one server, by two of its names.
func TestSchema_Shards(t *testing.T) {
	t.Parallel()
	const database = "millrace_cmd_shards"
	ch := embeddedtest.ClickHouse(t)
	_, port, _ := strings.Cut(ch.NativeAddr, ":")
	path := file(t, "m.yaml", fmt.Sprintf("clickhouse: {shards: [{name: one, addresses: ['127.0.0.1:%s']}, {name: two, addresses: ['localhost:%[1]s']}], database: %s, username: %s, password: '%s'}\n",
		port, database, ch.Admin.User, ch.Admin.Password))
	conn := embeddedtest.Connect(t, "")
	t.Cleanup(func() {
		if err := conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+database+" SYNC"); err != nil {
			t.Error(err)
		}
	})
	execute(t, "", "schema", "check", "--config", path).contains(t, 1, "shard one: cannot ", "shard two: cannot ")
	execute(t, "", "schema", "apply", "--config", path).contains(t, 0, "-- shard one\n", "CREATE DATABASE", "-- shard two\n", "nothing to do")
	execute(t, "", "schema", "check", "--config", path).want(t, 0, "-- shard one\nthe tables are as this version expects\n-- shard two\nthe tables are as this version expects\n", "")
	execute(t, "", "check", "--config", path).contains(t, 0, "shard one", "127.0.0.1:"+port, "shard two", "localhost:"+port)
}

// show, plan, apply, check: each says what it should before and after.
func TestSchema(t *testing.T) {
	t.Parallel()
	const database = "millrace_cmd_schema"
	path := configured(t, database, "x")
	conn := embeddedtest.Connect(t, "")
	t.Cleanup(func() {
		if err := conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+database+" SYNC"); err != nil {
			t.Error(err)
		}
	})
	tables := []string{"message_events", "status_events", "rejects"}
	execute(t, "", "schema", "show").contains(t, 0, tables...)
	execute(t, "", "schema", "check", "--config", path).contains(t, 1, "millrace: cannot ")
	execute(t, "", "schema", "plan", "--config", path).contains(t, 0, append(tables, "CREATE DATABASE")...)
	execute(t, "", "schema", "apply", "--config", path).contains(t, 0, tables...)
	execute(t, "", "schema", "check", "--config", path).want(t, 0, "the tables are as this version expects\n", "")
	if r := execute(t, "", "schema", "plan", "--config", path); strings.Contains(r.out, "CREATE") || r.code != 0 {
		t.Errorf("a plan after apply: %+v", r)
	}
	if err := conn.Exec(context.Background(), "ALTER TABLE "+database+".status_events DROP COLUMN delivery_interface"); err != nil {
		t.Fatal(err)
	}
	execute(t, "", "schema", "check", "--config", path).contains(t, 1, "delivery_interface", "ADD COLUMN", "millrace: cannot call the tables good: 1 difference\n")
}

func TestQuery(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	database := embeddedtest.Database(t)
	path := configured(t, database, ch.Reader.Password)
	const sql = "SELECT number AS n, 'a, \"b\"' AS text FROM numbers(2)"
	for format, want := range map[string]string{
		"tsv":  "0\ta, \"b\"\n1\ta, \"b\"\n",
		"csv":  "n,text\r\n0,\"a, \"\"b\"\"\"\r\n1,\"a, \"\"b\"\"\"\r\n",
		"json": "{\"n\":0,\"text\":\"a, \\\"b\\\"\"}\n{\"n\":1,\"text\":\"a, \\\"b\\\"\"}\n",
	} {
		execute(t, "", "query", "--config", path, "--format", format, sql).want(t, 0, want, "")
	}
	r := execute(t, "", "query", "--config", path, sql)
	r.contains(t, 0, "n", "text", "a, \"b\"", "2 rows in ")
	if strings.Contains(r.out, "rows in") {
		t.Errorf("the footer is in the output: %s", r.out)
	}
	execute(t, "", "query", "--config", path, "CREATE TABLE "+database+".t (a UInt8) ENGINE=Memory").contains(t, 1, "millrace: ", "ClickHouse refused the query")
	execute(t, "", "query", "--config", path, "--format", "xml", sql).contains(t, 2, "xml")
	execute(t, "", "query", "--reports").contains(t, 0, "top_senders: ", "--param ")
	execute(t, "", "query", "--report", "nothing").contains(t, 2, "nothing")
}

// Without a password in the configuration, the file that `millrace up` wrote.
func TestQueryReaderFile(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	data := t.TempDir()
	secret := filepath.Join(data, "clickhouse-reader")
	path := configured(t, embeddedtest.Database(t), "")
	args := []string{"query", "--config", path, "--data", data, "--format", "tsv", "SELECT currentUser()"}
	execute(t, "", args...).contains(t, 1, "millrace: cannot read the reader's password: open "+secret+": no such file or directory")
	if err := os.WriteFile(secret, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	execute(t, "", args...).contains(t, 1, "has no line user:password")
	if err := os.WriteFile(secret, []byte(ch.Reader.User+":"+ch.Reader.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	execute(t, "", args...).want(t, 0, ch.Reader.User+"\n", "")
}

func TestQueryUnreachable(t *testing.T) {
	t.Parallel()
	nobody := porttest.TCP(t)
	path := file(t, "m.yaml", "clickhouse: {addresses: ['"+nobody+"'], reader: {password: x}}\n")
	execute(t, "", "query", "--config", path, "SELECT 1").contains(t, 1, "millrace: cannot ", nobody, "connection refused")
	execute(t, "", "query", "--server", nobody, "SELECT 1").contains(t, 1, "millrace: cannot ", nobody, "connection refused", "--server HOST:PORT")
	execute(t, "", "schema", "plan", "--config", path).contains(t, 1, "millrace: cannot ", nobody, "connection refused")
}
