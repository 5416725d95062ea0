package embeddedtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded"
	"millrace/internal/porttest"
)

// ClusterName is what Cluster's servers call it in remote_servers.
const ClusterName = "main"

// cluster is the test binary's, started by the first test that asks.
var cluster struct {
	once    sync.Once
	servers []*embedded.ClickHouse
	dirs    []string
	err     error
}

// Cluster returns two servers that know each other as the two shards of one cluster. Admin
// and Reader are the same on both.
func Cluster(t testing.TB) []*embedded.ClickHouse {
	t.Helper()
	cluster.once.Do(func() { cluster.err = startCluster() })
	if cluster.err != nil {
		t.Fatal(cluster.err)
	}
	return cluster.servers
}

func startCluster() error {
	c := &embedded.Cluster{Name: ClusterName, Secret: "of a test"}
	for range 2 {
		port, release, err := porttest.TCPPort()
		if err != nil {
			return err
		}
		defer release() // each has been taken by then
		c.Shards = append(c.Shards, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i, address := range c.Shards {
		dir, err := os.MkdirTemp("", "millrace-test-")
		if err != nil {
			return err
		}
		cluster.dirs = append(cluster.dirs, dir)
		if i > 0 { // users are those of the cluster, with one password
			if err := copyCredentials(cluster.dirs[0], dir); err != nil {
				return err
			}
		}
		s, err := embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{
			DataDir: dir, Databases: []string{DatabasePrefix + "*"}, MemoryBytes: 1 << 30, Native: address, HTTP: embedded.Off, Cluster: c,
		})
		if err != nil {
			return err
		}
		cluster.servers = append(cluster.servers, s)
	}
	return nil
}

func copyCredentials(from, to string) error {
	if err := os.MkdirAll(filepath.Join(to, "clickhouse"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{"clickhouse-reader", filepath.Join("clickhouse", "admin")} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func stopCluster() {
	for _, s := range cluster.servers {
		(&server{ClickHouse: s}).stop()
	}
	for _, dir := range cluster.dirs {
		os.RemoveAll(dir)
	}
	cluster.servers, cluster.dirs = nil, nil
}

// OnCluster is a connection to the cluster's first server that passes each ON CLUSTER
// statement on to all servers, one after the other. In this form ClickHouse has nothing that
// takes such statements up: a server of a real cluster puts them into a queue in Keeper, and
// each runs them without the clause.
func OnCluster(t testing.TB) clickhouse.Conn {
	t.Helper()
	var c onCluster
	for _, s := range Cluster(t) {
		c.all = append(c.all, ConnectTo(t, s, ""))
	}
	c.Conn = c.all[0]
	return c
}

type onCluster struct {
	clickhouse.Conn
	all []clickhouse.Conn
}

func (c onCluster) Exec(ctx context.Context, query string, args ...any) error {
	const clause = " ON CLUSTER `" + ClusterName + "`"
	if !strings.Contains(query, clause) {
		return c.Conn.Exec(ctx, query, args...)
	}
	query = strings.Replace(query, clause, "", 1)
	for i, conn := range c.all {
		if err := conn.Exec(ctx, query, args...); err != nil {
			return fmt.Errorf("server %d: %w", i, err)
		}
	}
	return nil
}
