package embedded_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
)

// attacks are ways to a file, a URL, another program or another server.
// PASSWD, SECRET, ADMIN and URL are replaced by what must not be reached.
var attacks = []string{
	"SELECT file('PASSWD')",
	"SELECT file('SECRET')",
	"SELECT file('ADMIN')",
	"SELECT file('PARENT')",
	"SELECT * FROM file('PASSWD', 'LineAsString', 'l String')",
	"SELECT * FROM file('SECRET', 'LineAsString', 'l String')",
	"SELECT * FROM `PASSWD`",
	"SELECT * FROM default.`PASSWD`",
	"DESCRIBE file('PASSWD')",
	"SELECT * FROM fileCluster('default', 'PASSWD', 'LineAsString', 'l String')",
	"SELECT * FROM url('URL', 'LineAsString', 'l String')",
	"SELECT * FROM s3('URL/bucket/x', 'LineAsString', 'l String')",
	"SELECT * FROM remote('HOST', system.one)",
	"SELECT * FROM mysql('HOST', 'a', 'b', 'c', 'd')",
	"SELECT * FROM postgresql('HOST', 'a', 'b', 'c', 'd')",
	"SELECT * FROM sqlite('PASSWD', 't')",
	"SELECT * FROM executable('id', 'LineAsString', 'l String')",
	"SELECT * FROM icebergLocal('DIR')",
	"SELECT 1 FORMAT Template SETTINGS format_template_resultset = 'PASSWD'",
	"SELECT * FROM format(Template, 'x') SETTINGS format_template_row = 'PASSWD', format_template_resultset = 'PASSWD'",
	"SELECT * FROM format(AvroConfluent, 'x') SETTINGS format_avro_schema_registry_url = 'URL'",
	"INSERT INTO FUNCTION file('DIR/written', 'LineAsString', 'l String') VALUES ('x')",
	"INSERT INTO FUNCTION url('URL', 'LineAsString', 'l String') VALUES ('x')",
	"CREATE TEMPORARY TABLE x (l String) ENGINE = File(LineAsString, 'PASSWD')",
	"CREATE TEMPORARY TABLE x (l String) ENGINE = URL('URL', LineAsString)",
	"BACKUP TABLE millrace_lockdown.t TO File('DIR/backup')",
	"CREATE FUNCTION f AS (a) -> a",
	"CREATE USER u",
	"SYSTEM STOP LISTEN TCP",
	"SYSTEM SHUTDOWN",
}

// attacksOnData are refused to all but the admin.
var attacksOnData = []string{
	"INSERT INTO millrace_lockdown.t VALUES (1)",
	"CREATE TABLE millrace_lockdown.u (a UInt64) ENGINE = Memory",
	"DROP TABLE millrace_lockdown.t",
	"ALTER TABLE millrace_lockdown.t DELETE WHERE 1",
	"KILL QUERY WHERE 1 SYNC",
	"SELECT * FROM system.processes",
	"SELECT * FROM system.users",
	"SELECT * FROM system.query_log",
	"SELECT 1 SETTINGS readonly = 0",
	"SELECT 1 SETTINGS max_memory_usage = 0",
}

// attacksByNobody are refused to whoever has no password: there is not even a
// session.
var attacksByNobody = []string{
	"SELECT 1",
	"SELECT * FROM millrace_lockdown.t",
	"SELECT count() FROM numbers(10)",
	"SELECT name FROM system.tables",
	"SHOW DATABASES",
	"SET max_sessions_for_user = 0",
	"SELECT 1 SETTINGS max_sessions_for_user = 0",
}

func TestClickHouse_LocksOutOtherLocalUsers(t *testing.T) {
	t.Parallel()
	server := embeddedtest.ClickHouse(t)
	admin := embeddedtest.Connect(t, "")
	t.Cleanup(func() { exec1(t, admin, "DROP DATABASE millrace_lockdown SYNC") })
	exec1(t, admin, "CREATE DATABASE millrace_lockdown", "CREATE TABLE millrace_lockdown.t (a UInt64) ENGINE = MergeTree ORDER BY a", "INSERT INTO millrace_lockdown.t VALUES (42)")

	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of this user"), 0o600); err != nil {
		t.Fatal(err)
	}
	var fetched atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		fmt.Fprintln(w, "a secret of this web server")
	}))
	t.Cleanup(web.Close)
	host := strings.TrimPrefix(web.URL, "http://")
	fill := strings.NewReplacer("PASSWD", "/etc/passwd", "SECRET", secret,
		"ADMIN", filepath.Join(filepath.Dir(server.ReaderFile), "clickhouse", "admin"),
		"PARENT", fmt.Sprintf("/proc/%d/environ", os.Getpid()),
		"URL", web.URL, "HOST", host, "DIR", filepath.Dir(secret))

	refused := func(t *testing.T, how, query, answer string, err error) {
		t.Helper()
		text := answer
		if err != nil {
			text = err.Error()
		}
		if err == nil && !strings.Contains(answer, "DB::") && !strings.Contains(answer, "Exception") {
			t.Errorf("%s: %s gave %q", how, query, answer)
		}
		for _, leak := range []string{"root:", "a secret", server.Admin.Password, server.Reader.Password, "PATH="} {
			if strings.Contains(text, leak) {
				t.Errorf("%s: %s leaks %q: %s", how, query, leak, text)
			}
		}
	}
	overNative := func(c embedded.Credentials, query string) error {
		conn := connect(t, server.NativeAddr, c)
		defer conn.Close()
		rows, err := conn.Query(context.Background(), query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return rows.Err()
	}

	nobody := []string{}
	nobody = append(append(append(nobody, attacks...), attacksOnData...), attacksByNobody...)
	withReader := append(append([]string{}, attacks...), attacksOnData...)
	for _, user := range []struct {
		name    string
		http    *embedded.Credentials // nil: no credentials in the request
		native  embedded.Credentials
		attacks []string
	}{
		{"no user", nil, embedded.Credentials{}, nobody},
		{"default", &embedded.Credentials{User: "default"}, embedded.Credentials{User: "default"}, nobody},
		{"default with a password", &embedded.Credentials{User: "default", Password: "x"}, embedded.Credentials{User: "default", Password: "x"}, nobody},
		{"reader without password", &embedded.Credentials{User: "reader"}, embedded.Credentials{User: "reader"}, nobody},
		{"reader", &server.Reader, server.Reader, withReader},
		{"admin", &server.Admin, server.Admin, attacks},
	} {
		for _, attack := range user.attacks {
			if !server.Confined && user.native.Password != "" && strings.HasPrefix(attack, "SELECT file(") {
				t.Logf("%s: %s is not refused: this kernel has no Landlock", user.name, attack)
				continue
			}
			query := fill.Replace(attack)
			refused(t, user.name+" over HTTP", attack, overHTTP(t, server.HTTPAddr, user.http, query), nil)
			err := overNative(user.native, query)
			if err == nil {
				t.Errorf("%s over native: %s was allowed", user.name, attack)
				continue
			}
			refused(t, user.name+" over native", attack, "", err)
		}
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("ClickHouse fetched the URL %d times", n)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(secret), "written")); err == nil {
		t.Error("ClickHouse wrote a file")
	}
	// All of it left the server and the data as they were.
	if got := count(t, admin, "SELECT sum(a) FROM millrace_lockdown.t"); got != 42 {
		t.Errorf("sum is %d, want 42", got)
	}
	reader := connect(t, server.NativeAddr, server.Reader)
	if got := count(t, reader, "SELECT sum(a) FROM millrace_lockdown.t SETTINGS max_execution_time = 10"); got != 42 {
		t.Errorf("the reader sees %d, want 42", got)
	}
	if got := count(t, reader, "SELECT count() FROM system.parts WHERE database = 'millrace_lockdown' AND active"); got != 1 {
		t.Errorf("the reader sees %d parts, want 1", got)
	}
}

func TestClickHouse_KeepsItsFilesPrivate(t *testing.T) {
	t.Parallel()
	server := embeddedtest.ClickHouse(t)
	root := filepath.Dir(server.ReaderFile)
	for path, want := range map[string]os.FileMode{
		"clickhouse-reader": 0o600, "clickhouse": 0o700, "clickhouse/admin": 0o600, "clickhouse/users.xml": 0o600,
		"clickhouse/config.xml": 0o600, "clickhouse/data": 0o700, "clickhouse/log": 0o700,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Error(err)
			continue
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	text, err := os.ReadFile(server.ReaderFile)
	if err != nil {
		t.Fatal(err)
	}
	if want := server.Reader.User + ":" + server.Reader.Password + "\n"; string(text) != want {
		t.Errorf("%s has %q, want %q", server.ReaderFile, text, want)
	}
	if text := fmt.Sprintf("%v %+v", server.Admin, server.Reader); strings.Contains(text, server.Admin.Password) || strings.Contains(text, server.Reader.Password) {
		t.Errorf("printing credentials shows the password: %s", text)
	}
	host, _, err := net.SplitHostPort(server.NativeAddr)
	if err != nil || host != "127.0.0.1" {
		t.Errorf("serves on %s", server.NativeAddr)
	}
}
