package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"millrace/internal/config"
	"millrace/schema"
)

// How tables are made that have copies: shard and replica are macros of each server.
const (
	replicatedTable    = "ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')"
	replicatedDatabase = "Replicated('/clickhouse/databases/%s', '{shard}', '{replica}')"
)

// engine is that of all tables with rows.
func (s Settings) engine() string {
	switch s.Replication {
	case config.ReplicationTables:
		return replicatedTable
	case config.ReplicationDatabase:
		return "ReplicatedMergeTree" // the database gives each its path
	}
	return "MergeTree"
}

// everywhere makes a statement one for all servers of the cluster.
func (s Settings) everywhere() string {
	if s.Cluster == "" {
		return ""
	}
	return " ON CLUSTER " + schema.QuoteName(s.Cluster)
}

// onCluster is that for what is in the database. A Replicated one passes its statements
// on by itself, and refuses those that are passed on already.
func (s Settings) onCluster() string {
	if s.Replication == config.ReplicationDatabase {
		return ""
	}
	return s.everywhere()
}

func (s Settings) layout() schema.Layout {
	l := schema.Layout{Database: s.Database, Engine: s.engine()}
	if s.onCluster() != "" {
		l.OnCluster = s.Cluster
	}
	return l
}

// readDatabase has tables of the same names that read from all shards.
func (s Settings) readDatabase() string { return s.Database + "_all" }

func (s Settings) createDatabase() string {
	q := "CREATE DATABASE IF NOT EXISTS " + schema.QuoteName(s.Database) + s.everywhere()
	if s.Replication == config.ReplicationDatabase {
		q += " ENGINE = " + fmt.Sprintf(replicatedDatabase, s.Database)
	}
	return q
}

func (s Settings) createReadDatabase() string {
	return "CREATE DATABASE IF NOT EXISTS " + schema.QuoteName(s.readDatabase()) + s.everywhere()
}

// readTables are the tables that are read from all shards: those of the kinds, and the
// audit trail, which a view reads.
func readTables() []string {
	var all []string
	for _, k := range schema.Kinds() {
		all = append(all, k.Table)
	}
	return append(all, stateChanges)
}

// createReadTable replaces a table that holds nothing itself. It has no sharding key, so
// that no row can be inserted through it, whose shard Kafka's partition decides.
func (s Settings) createReadTable(name string) string {
	table := schema.QuoteName(name)
	return fmt.Sprintf("CREATE OR REPLACE TABLE %s.%s%s AS %s.%s ENGINE = Distributed(%s, %s, %s)",
		schema.QuoteName(s.readDatabase()), table, s.everywhere(), schema.QuoteName(s.Database), table,
		schema.QuoteName(s.Cluster), schema.QuoteName(s.Database), table)
}

// system is a system table of all servers that are migrated.
func (s Settings) system(table string) string {
	if s.Cluster == "" {
		return "system." + table
	}
	return fmt.Sprintf("clusterAllReplicas(%s, system, %s)", schema.QuoteName(s.Cluster), table)
}

// wholeLedger is the ledger of all servers: each shard has its own.
func (s Settings) wholeLedger() string {
	if s.Cluster == "" {
		return s.ledger()
	}
	return fmt.Sprintf("clusterAllReplicas(%s, %s, schema_migrations)", schema.QuoteName(s.Cluster), schema.QuoteName(s.Database))
}

// servers is how many are migrated.
func (m *Migrator) servers(ctx context.Context) (uint64, error) {
	if m.settings.Cluster == "" {
		return 1, nil
	}
	n, err := m.count(ctx, "SELECT count() FROM system.clusters WHERE cluster = {table:String}", m.settings.Cluster)
	if err == nil && n == 0 {
		err = fmt.Errorf("cannot migrate: the server knows no cluster %q; SELECT cluster FROM system.clusters lists them (clickhouse.cluster)", m.settings.Cluster)
	}
	return n, err
}

// lacks tells whether one of the servers has no such table.
func (m *Migrator) lacks(ctx context.Context, servers uint64, table string) (bool, error) {
	n, err := m.count(ctx, "SELECT count() FROM "+m.settings.system("tables")+" WHERE database = {database:String} AND name = {table:String}", table)
	return n < servers, err
}

// planReading makes what reads from all shards, and makes it anew when the tables have
// other columns by now, or are about to: a migration is pending.
func (m *Migrator) planReading(ctx context.Context, servers uint64, migrated bool) ([]Step, error) {
	s := m.settings
	if s.Cluster == "" {
		return nil, nil
	}
	var steps []Step
	n, err := m.count(ctx, "SELECT count() FROM "+s.system("databases")+" WHERE name = {table:String}", s.readDatabase())
	if err != nil {
		return nil, err
	}
	if n < servers {
		steps = append(steps, Step{Kind: StepDatabase, Name: s.readDatabase(), Reason: "does not exist on all servers", Statements: []string{s.createReadDatabase()}})
	}
	for _, name := range readTables() {
		step := Step{Kind: StepReading, Name: name, Reason: "a migration is pending", Statements: []string{s.createReadTable(name)}}
		if !migrated {
			have, err := m.columnsOf(ctx, s.readDatabase(), name)
			if err != nil {
				return nil, err
			}
			want, err := m.columnsOf(ctx, s.Database, name)
			if err != nil {
				return nil, err
			}
			// In each server's list the same columns.
			if uint64(len(have)) == servers && len(want) > 0 && !slices.ContainsFunc(have, func(c string) bool { return c != want[0] }) {
				continue
			}
			step.Reason = "has not the columns of the tables that it reads"
		}
		steps = append(steps, step)
	}
	views, err := m.commentsOf(ctx, s.readDatabase())
	if err != nil {
		return nil, err
	}
	for _, v := range schema.Views() {
		step := Step{Kind: StepReading, Name: v.Name, Reason: "a migration is pending", Statements: []string{s.createReadView(v)}}
		if !migrated {
			step.Reason = views.differs(servers, v.Name, v.Comment(s.Views))
		}
		if step.Reason != "" {
			steps = append(steps, step)
		}
	}
	return steps, nil
}

// columnsOf is one text of all columns for each server that has the table. Servers can have
// one name, where each is in a container or several are on one machine.
func (m *Migrator) columnsOf(ctx context.Context, database, table string) (all []string, err error) {
	s := m.settings
	s.Database = database
	ctx = (&Migrator{settings: s}).params(ctx, table)
	rows, err := m.conn.Query(ctx, "SELECT arrayStringConcat(groupArray(c), ', ') FROM (SELECT (hostName(), tcpPort()) AS host, concat(name, ' ', type) AS c FROM "+
		s.system("columns")+" WHERE database = {database:String} AND table = {table:String} ORDER BY host, position) GROUP BY host")
	if err != nil {
		return nil, fmt.Errorf("cannot read the columns of %s.%s: %w", database, table, err)
	}
	defer rows.Close()
	for rows.Next() {
		var c string
		if err := rows.Scan(&c); err != nil {
			return nil, fmt.Errorf("cannot read the columns of %s.%s: %w", database, table, err)
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// engineOf is what Check compares: the engine without its arguments, and without what a
// server puts in front of it on its own, Shared (a managed service) or Replicated (a
// replicated database), unless tables with copies are wanted.
func (s Settings) engineOf(engine string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(engine), "(")
	name = strings.TrimSpace(name)
	bare := strings.TrimPrefix(strings.TrimPrefix(name, "Shared"), "Replicated")
	if bare != name && s.Replication != config.ReplicationNone {
		return "Replicated" + bare
	}
	return bare
}
