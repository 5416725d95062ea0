package embedded_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded"
)

// Any of these once ended the whole server: see errorhandler_linux.go.
func TestClickHouse_SurvivesBadClients(t *testing.T) {
	t.Parallel()
	server := startClickHouse(t, embedded.ClickHouseOptions{DataDir: t.TempDir()})
	admin := connect(t, server.NativeAddr, server.Admin)
	exec1(t, admin, "CREATE DATABASE millrace", "CREATE TABLE millrace.t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")

	// client is a connection of clickhouse-go and the socket under it.
	client := func(t *testing.T) (clickhouse.Conn, *net.TCPConn) {
		var socket net.Conn
		conn, err := clickhouse.Open(&clickhouse.Options{
			Addr: []string{server.NativeAddr}, Auth: clickhouse.Auth{Username: server.Admin.User, Password: server.Admin.Password},
			DialContext: func(ctx context.Context, addr string) (net.Conn, error) {
				var err error
				socket, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				return socket, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.Ping(context.Background()); err != nil {
			t.Fatal(err)
		}
		return conn, socket.(*net.TCPConn)
	}
	reset := func(t *testing.T, socket *net.TCPConn) {
		if err := socket.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		socket.Close()
	}
	send := func(t *testing.T, socket net.Conn, text string) {
		if _, err := socket.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	batch := func(t *testing.T, conn clickhouse.Conn) {
		b, err := conn.PrepareBatch(context.Background(), "INSERT INTO millrace.t")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10_000 {
			if err := b.Append(uint64(i), "text"); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
	}

	f := func(name string, misbehave func(t *testing.T)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second one met a dead server
				misbehave(t)
			}
			// The server ends some time after the cause.
			select {
			case err := <-server.Exited():
				t.Fatal(err)
			case <-time.After(100 * time.Millisecond):
			}
			if err := connect(t, server.NativeAddr, server.Reader).Ping(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	}
	f("wrong password", func(t *testing.T) {
		for _, c := range []embedded.Credentials{{User: "reader", Password: "wrong"}, {User: "nobody"}, {User: "default"}} {
			if err := connect(t, server.NativeAddr, c).Ping(context.Background()); err == nil {
				t.Fatalf("user %q logged in", c.User)
			}
		}
	})
	for name, text := range map[string]string{
		"nothing": "", "half a hello": "\x00\x03", "HTTP": "GET / HTTP/1.0\r\n\r\n", "TLS": "\x16\x03\x01\x01\x01",
		"bad length": "\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "unknown packet": "\x63\x63\x63",
	} {
		f(name, func(t *testing.T) {
			socket, err := net.Dial("tcp", server.NativeAddr)
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			send(t, socket, text)
		})
	}
	f("reset when idle", func(t *testing.T) {
		_, socket := client(t)
		reset(t, socket)
	})
	f("reset in mid insert", func(t *testing.T) {
		conn, socket := client(t)
		batch(t, conn)
		send(t, socket, "\x02\x00\x01\x00\x02\xff\xff\xff\xff\x00\x02\xff\x03") // the head of a block
		reset(t, socket)
	})
	f("closed in mid insert", func(t *testing.T) {
		conn, socket := client(t)
		batch(t, conn)
		socket.Close()
	})
	f("garbage in mid insert", func(t *testing.T) {
		conn, socket := client(t)
		batch(t, conn)
		send(t, socket, "cccc")
	})
	f("reset in mid select", func(t *testing.T) {
		conn, socket := client(t)
		rows, err := conn.Query(context.Background(), "SELECT number, repeat('x', 1000) FROM numbers(1000000)")
		if err != nil {
			t.Fatal(err)
		}
		rows.Next()
		reset(t, socket)
	})
	f("deadline", func(t *testing.T) {
		conn, _ := client(t)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := conn.Exec(ctx, "SELECT sleepEachRow(0.1) FROM numbers(100) SETTINGS max_block_size = 1"); err == nil {
			t.Fatal("no error")
		}
	})
	if got := count(t, admin, "SELECT toUInt64(count() % 10000) FROM millrace.t"); got != 0 {
		t.Fatalf("part of a block was inserted: %d rows", got)
	}
}
