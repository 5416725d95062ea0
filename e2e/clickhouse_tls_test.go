package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"millrace/internal/certtest"
)

// TestClickHouseTLS: the transformer, the schema's commands and the audit towards a
// ClickHouse behind TLS, with a password, and with a certificate of ours where the server
// asks for one. What is wrong with either is said in words.
func TestClickHouseTLS(t *testing.T) {
	t.Parallel()
	authority, another := certtest.New(t), certtest.New(t)
	server := authority.Issue(t, certtest.Subject{Names: []string{"clickhouse.example.net"}})
	own := authority.Issue(t, certtest.Subject{CommonName: "millrace"})
	keys := func(ca, name string) string {
		return fmt.Sprintf("tls: {enabled: true, ca: %s, cert: %s, key: %s, server_name: %s}", ca, own.Cert, own.Key, name)
	}
	right := keys(authority.File, "clickhouse.example.net")
	s := siteOptions{kafka: memberTimes + startKafka(t), clickHouse: "insert_timeout: 5s, " + right, front: func(address string) string {
		// The embedded server has no TLS of its own.
		listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{server.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool,
		})
		if err != nil {
			t.Fatal(err)
		}
		return front(t, listener, func(c net.Conn) { carry(c, address) })
	}}.start(t)
	p := s.underLoad(s.transformer(), s.transformer())
	p.end()

	config, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, from, to string, says ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(string(config), from) != 1 {
				t.Fatalf("%q is not once in the configuration", from)
			}
			file := write(t, t.TempDir()+"/wrong.yaml", strings.Replace(string(config), from, to, 1))
			stdout, stderr, code := run(t, "schema", "check", "--config", file)
			// Its words are those of the transformer's log, where waiting may mend it.
			daemon := start(t, "transform", "--config", file)
			for _, word := range says {
				if !strings.Contains(stderr, word) || code == 0 {
					t.Errorf("schema check says nothing of %q, exit code %d\n%s\n%s", word, code, stdout, stderr)
				}
				until(t, "transform says so", func() bool { return strings.Contains(daemon.text(), word) }, daemon.text)
			}
			if code := daemon.signal(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
	f("another authority", right, keys(another.File, "clickhouse.example.net"), "certificate signed by unknown authority")
	f("another name", right, keys(authority.File, "another.example.net"), "not another.example.net")
	f("no TLS", right, "tls: {enabled: false}", "cannot")
	f("another password", s.server.Admin.Password, "another", "code: 516", "Authentication failed")
}

// carry copies both ways until one side ends.
func carry(c net.Conn, to string) {
	defer c.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{up, c}, {c, up}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
}
