package migrate

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/config"
)

var update = flag.Bool("update", false, "write the rendered files anew")

// What a cluster is given, as text: the test's server is none.
func TestShow_Cluster(t *testing.T) {
	t.Parallel()
	for _, replication := range []string{config.ReplicationNone, config.ReplicationTables, config.ReplicationDatabase} {
		got, err := Show(Settings{Cluster: "main", Replication: replication})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "cluster_"+replication+".sql")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not what is rendered: go test ./internal/migrate -update", path)
		}
		if strings.Contains(got, "{{") {
			t.Error("a placeholder is left")
		}
	}
	if _, err := Show(Settings{Replication: config.ReplicationTables}); err == nil || !strings.Contains(err.Error(), "clickhouse.cluster") {
		t.Error(err)
	}
}

// The server reads what the cluster would be given. It stops where it would need a Keeper
// or the cluster, not before.
func TestShow_ClusterIsRead(t *testing.T) {
	t.Parallel()
	conn, s := fresh(t)
	for _, replication := range []string{config.ReplicationNone, config.ReplicationTables, config.ReplicationDatabase} {
		s.Cluster, s.Replication = "main", replication
		show, err := Show(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range strings.Split(show, ";\n") {
			if strings.TrimSpace(q) == "" {
				continue
			}
			var plan string
			if err := conn.QueryRow(t.Context(), "EXPLAIN AST "+q).Scan(&plan); err != nil {
				t.Errorf("%s: %v\n%s", replication, err, q)
			}
		}
	}
}
