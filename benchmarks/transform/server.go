package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/benchmarks/process"
	"millrace/internal/embedded"
	"millrace/schema"
)

// server is the ClickHouse of all measurements but that of `millrace up`.
type server struct {
	*embedded.ClickHouse
	dir     string
	version string
	conn    driver.Conn
	made    int // databases
}

func startServer(ctx context.Context) (s *server, err error) {
	s = &server{}
	if s.dir, err = os.MkdirTemp("", "bench-transform-"); err != nil {
		return nil, err
	}
	s.ClickHouse, err = embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{DataDir: s.dir, Databases: []string{"bench*"}, KafkaEngine: true})
	if err == nil {
		s.conn, err = clickhouse.Open(s.options(clickhouse.CompressionNone))
	}
	if err == nil {
		err = s.conn.QueryRow(ctx, "SELECT version()").Scan(&s.version)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) stop() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.ClickHouse != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.Stop(ctx)
	}
	os.RemoveAll(s.dir)
}

func (s *server) options(method clickhouse.CompressionMethod) *clickhouse.Options {
	return &clickhouse.Options{
		Addr: []string{s.NativeAddr}, Auth: clickhouse.Auth{Username: s.Admin.User, Password: s.Admin.Password},
		Compression: &clickhouse.Compression{Method: method}, ReadTimeout: 5 * time.Minute,
	}
}

// database makes a new one with the tables of all kinds; drop removes it.
func (s *server) database(ctx context.Context) (name string, drop func(), err error) {
	s.made++
	name = fmt.Sprintf("bench%d", s.made)
	if err := s.conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	drop = func() { _ = s.conn.Exec(context.Background(), "DROP DATABASE "+name+" SYNC") }
	for _, k := range schema.Kinds() {
		if err := s.conn.Exec(ctx, k.CreateTable(schema.Layout{Database: name})); err != nil {
			drop()
			return "", nil, err
		}
	}
	return name, drop, nil
}

// awaitRows returns when so many messages are in a database.
func (s *server) awaitRows(ctx context.Context, database string, want uint64) error {
	return awaitCount(ctx, s.conn, "SELECT count() FROM "+database+"."+schema.Message.Table, want)
}

// awaitCount returns when a query counts so many, and fails when it counts more, or
// nothing came for patience.
func awaitCount(ctx context.Context, conn driver.Conn, query string, want uint64) error {
	const patience = time.Minute
	for last, since := uint64(0), time.Now(); ; time.Sleep(20 * time.Millisecond) {
		var n uint64
		err := conn.QueryRow(ctx, query).Scan(&n)
		switch {
		case err != nil:
			return err
		case n == want:
			return nil
		case n > want:
			return fmt.Errorf("%d rows of %d records", n, want)
		case n > last:
			last, since = n, time.Now()
		case time.Since(since) > patience:
			return fmt.Errorf("%d of %d rows are missing, and none has come for %v", want-n, want, patience)
		}
	}
}

// settle returns when ClickHouse has merged what it wants to merge now.
func (s *server) settle(ctx context.Context, database string) error {
	quiet := 0
	for end := time.Now().Add(2 * time.Minute); quiet < 5; time.Sleep(200 * time.Millisecond) {
		var merges uint64
		if err := s.conn.QueryRow(ctx, "SELECT count() FROM system.merges WHERE database = ?", database).Scan(&merges); err != nil {
			return err
		}
		if quiet++; merges > 0 {
			quiet = 0
		}
		if time.Now().After(end) {
			return fmt.Errorf("ClickHouse still merges after two minutes")
		}
	}
	return nil
}

// rowsPerInsert is how large the parts were that were inserted into a database.
func (s *server) rowsPerInsert(ctx context.Context, database string) (mean float64, err error) {
	if err := s.conn.Exec(ctx, "SYSTEM FLUSH LOGS"); err != nil {
		return 0, err
	}
	return mean, s.conn.QueryRow(ctx, "SELECT avg(rows) FROM system.part_log WHERE event_type = 'NewPart' AND database = ? AND table = ?", database, schema.Message.Table).Scan(&mean)
}

// process is the server's.
func (s *server) process() process.ID { return process.ID(s.PID()) }
