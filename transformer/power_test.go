package transformer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded"
	"millrace/internal/porttest"
	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// ownServer is a ClickHouse that a test may stop and start again.
type ownServer struct {
	*embedded.ClickHouse
	t   *testing.T
	dir string
}

func startOwnServer(t *testing.T) *ownServer {
	t.Helper()
	s := &ownServer{t: t, dir: t.TempDir()}
	s.start(porttest.TCP(t)) // where it will start again
	t.Cleanup(s.stop)
	return s
}

func (s *ownServer) start(address string) {
	s.t.Helper()
	server, err := embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{
		DataDir: s.dir, Native: address, HTTP: embedded.Off, Databases: []string{"millrace"}, MemoryBytes: 1 << 30,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.ClickHouse = server
}

func (s *ownServer) stop() {
	if s.ClickHouse == nil {
		return
	}
	if err := s.Stop(context.Background()); err != nil {
		s.t.Error(err)
	}
}

// again starts the server at the address that it had.
func (s *ownServer) again() {
	s.t.Helper()
	address := s.NativeAddr
	s.ClickHouse = nil
	s.start(address)
}

// world is a database on it.
func (s *ownServer) world() *world {
	s.t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{s.NativeAddr}, Auth: clickhouse.Auth{Username: s.Admin.User, Password: s.Admin.Password},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.Exec(context.Background(), "CREATE DATABASE IF NOT EXISTS millrace"); err != nil {
		s.t.Fatal(err)
	}
	return newWorldOn(s.t, s.ClickHouse, "millrace", conn, 1)
}

// loseTokens takes away, while the server is stopped, what it remembers of tokens: it is
// not synced with the rows, so that a power failure may keep these and lose those.
func (s *ownServer) loseTokens() {
	s.t.Helper()
	lost := 0
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(filepath.Dir(path)) == "deduplication_logs" {
			lost++
			err = os.Remove(path)
		}
		return err
	})
	if err != nil || lost == 0 {
		s.t.Fatalf("%d logs of tokens are lost: %v", lost, err)
	}
}

// cutOff loses the answer to the first block of messages, and then reaches the server no
// more until it is told to.
type cutOff struct {
	insert.Inserter
	lost, back atomic.Bool
}

func (c *cutOff) Insert(ctx context.Context, b *block.Block, token string) error {
	if c.back.Load() {
		return c.Inserter.Insert(ctx, b, token)
	}
	if !c.lost.Load() && b.Kind() == schema.Message {
		err := c.Inserter.Insert(ctx, b, token)
		if err == nil && c.lost.CompareAndSwap(false, true) {
			return errors.New("connection lost")
		}
		return err
	}
	return errors.New("no route to the server")
}

// ClickHouse loses its power between an INSERT and its repetition, and with it the tokens
// but not the rows. A member that tries again, and one that takes over, ask what is there.
func TestFault_TokensLostWithPower(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"the same member", "another member"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startOwnServer(t)
			w := server.world()
			w.load()
			c := new(cutOff)
			patient := func(o *Options) { o.ReconcileAfter = 1000 * o.Lease } // not for its age is the token distrusted
			m := w.startWith(patient, nil, func(t *Transformer) { c.Inserter, t.shards[0].inserter = t.shards[0].inserter, c })
			w.eventually("an answer is lost", c.lost.Load)
			if name == "another member" {
				m.kill()
				m.wait()
			}
			server.stop()
			server.loseTokens()
			server.again()
			c.back.Store(true)
			if name == "another member" {
				m = w.start(patient, nil)
			}
			w.load()
			w.exactlyOnce()
			if n := m.Stats().FoundRows.Load(); n == 0 {
				t.Error("no row was found that had been inserted without an answer")
			}
			m.stop()
			w.exactlyOnce()
		})
	}
}
