package embeddedtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded"
)

// DatabasePrefix begins the names of all databases that the server's users may
// use in tests; "millrace" itself is one of them.
const DatabasePrefix = "millrace"

// server is one that is started by the first test that asks.
type server struct {
	once sync.Once
	*embedded.ClickHouse
	dir string
	err error
}

var shared, second server

// Main is the whole of a TestMain: it runs the tests, stops what they started
// and returns the exit code.
func Main(m *testing.M) int {
	embedded.RunChildIfAsked()
	defer shared.stop()
	defer second.stop()
	defer stopCluster()
	return m.Run()
}

func (s *server) stop() {
	if s.ClickHouse != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

func (s *server) get(t testing.TB) *embedded.ClickHouse {
	t.Helper()
	s.once.Do(func() {
		s.dir, s.err = os.MkdirTemp("", "millrace-test-")
		if s.err != nil {
			return
		}
		s.ClickHouse, s.err = embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{
			DataDir:     s.dir,
			Databases:   []string{DatabasePrefix + "*"},
			MemoryBytes: 2 << 30,
		})
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.ClickHouse
}

// ClickHouse returns the test binary's server: NativeAddr, HTTPAddr, Admin and
// Reader are what a test needs.
func ClickHouse(t testing.TB) *embedded.ClickHouse {
	t.Helper()
	return shared.get(t)
}

// Second is another server, for what is spread over several.
func Second(t testing.TB) *embedded.ClickHouse {
	t.Helper()
	return second.get(t)
}

// Connect returns a connection to the server as its admin, closed when the test
// ends. database may be empty.
func Connect(t testing.TB, database string) clickhouse.Conn {
	t.Helper()
	return ConnectTo(t, ClickHouse(t), database)
}

// ConnectTo is Connect for a server that the test has.
func ConnectTo(t testing.TB, server *embedded.ClickHouse, database string) clickhouse.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{server.NativeAddr},
		Auth: clickhouse.Auth{Database: database, Username: server.Admin.User, Password: server.Admin.Password},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

var databases atomic.Int64

// Database creates an empty database for one test, dropped when it ends.
func Database(t testing.TB) string {
	t.Helper()
	return DatabaseOn(t, ClickHouse(t))
}

// DatabaseOn is Database on a server that the test has.
func DatabaseOn(t testing.TB, server *embedded.ClickHouse) string {
	t.Helper()
	conn := ConnectTo(t, server, "")
	name := fmt.Sprintf("%s_test_%d", DatabasePrefix, databases.Add(1))
	if err := conn.Exec(context.Background(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" SYNC"); err != nil {
			t.Error(err)
		}
	})
	return name
}

// Partitions is how many partitions Broker gives each topic.
const Partitions = 4

// Broker starts a broker in memory with the given topics, closed when the test
// ends. A test that needs more calls embedded.StartBroker.
func Broker(t testing.TB, topics ...string) *embedded.Broker {
	t.Helper()
	o := embedded.BrokerOptions{Topics: make(map[string]int)}
	for _, topic := range topics {
		o.Topics[topic] = Partitions
	}
	broker, err := embedded.StartBroker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	return broker
}
