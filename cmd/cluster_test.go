package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/eximid"
	"millrace/internal/history"
	"millrace/internal/migrate"
	"millrace/schema"
	"millrace/transformer"
)

// clusterWorld is a cluster of two shards, a single server, and the events that both have.
type clusterWorld struct {
	t        *testing.T
	database string
	single   string   // configuration of the server that is alone
	nodes    []string // configurations that ask one of the cluster each
	servers  []*embedded.ClickHouse
	alone    *embedded.ClickHouse
}

func newClusterWorld(t *testing.T, database string) *clusterWorld {
	t.Helper()
	w := &clusterWorld{t: t, database: database, servers: embeddedtest.Cluster(t), alone: embeddedtest.ClickHouse(t)}
	for _, s := range append(w.servers[:len(w.servers):len(w.servers)], w.alone) {
		conn := embeddedtest.ConnectTo(t, s, "")
		t.Cleanup(func() {
			for _, database := range []string{w.database + "_all", w.database} {
				if err := conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+database+" SYNC"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	user := func(s *embedded.ClickHouse) string {
		return fmt.Sprintf("database: %s, username: %s, password: '%s', reader: {username: %s, password: '%s'}", w.database, s.Admin.User, s.Admin.Password, s.Reader.User, s.Reader.Password)
	}
	w.single = file(t, "single.yaml", fmt.Sprintf("clickhouse: {addresses: ['%s'], %s}\n", w.alone.NativeAddr, user(w.alone)))
	for i, s := range w.servers {
		w.nodes = append(w.nodes, file(t, fmt.Sprintf("node%d.yaml", i), fmt.Sprintf(
			"clickhouse: {addresses: ['%s'], cluster: %s, shards: [{name: one, addresses: ['%s']}, {name: two, addresses: ['%s']}], %s}\n",
			s.NativeAddr, embeddedtest.ClusterName, w.servers[0].NativeAddr, w.servers[1].NativeAddr, user(s))))
	}
	return w
}

// apply makes the tables on the cluster.
func (w *clusterWorld) apply() {
	w.t.Helper()
	m, err := migrate.New(embeddedtest.OnCluster(w.t), migrate.Settings{Database: w.database, Cluster: embeddedtest.ClusterName})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := m.Apply(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// complete wants that nothing is left to do, whichever server is asked.
func (w *clusterWorld) complete() {
	w.t.Helper()
	for _, path := range w.nodes {
		if r := execute(w.t, "", "schema", "apply", "--config", path); r.code != 0 || !strings.Contains(r.out, "-- nothing to do\n") {
			w.t.Errorf("schema apply when all is made: %+v", r)
		}
		execute(w.t, "", "schema", "check", "--config", path).want(w.t, 0, "the tables are as this version expects\n", "")
	}
}

// counts are those of tables, over the servers.
func (w *clusterWorld) counts(servers ...*embedded.ClickHouse) (n [2]uint64) {
	w.t.Helper()
	for _, s := range servers {
		conn := embeddedtest.ConnectTo(w.t, s, w.database)
		for i, k := range []*schema.Kind{schema.Message, schema.Status} {
			var rows uint64
			if err := conn.QueryRow(w.t.Context(), "SELECT count() FROM "+k.Table).Scan(&rows); err != nil {
				w.t.Fatal(err)
			}
			n[i] += rows
		}
	}
	return n
}

// ask runs the command with each configuration, and wants the single server's answer of all,
// which has rows.
func (w *clusterWorld) ask(args ...string) {
	w.t.Helper()
	w.compare(true, args...)
}

func (w *clusterWorld) compare(rows bool, args ...string) {
	w.t.Helper()
	run := func(path string) string {
		r := execute(w.t, "", append([]string{args[0], "--config", path}, args[1:]...)...)
		if r.code != 0 {
			w.t.Errorf("%v: %+v", args, r)
		}
		lines := strings.Split(r.out, "\n")
		slices.Sort(lines) // rows that no order tells apart
		return strings.Join(lines, "\n")
	}
	want := run(w.single)
	if rows && strings.TrimSpace(want) == "" {
		w.t.Errorf("%v: no row", args)
	}
	for i, path := range w.nodes {
		if got := run(path); got != want {
			a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
			n := 0
			for n < min(len(a), len(b))-1 && a[n] == b[n] {
				n++
			}
			w.t.Errorf("%v: node %d answers %d lines and the single server %d; the first that differ:\n%s\n%s", args, i, len(a), len(b), a[n], b[n])
		}
	}
}

// refresh lets each server count what has come, as it does each minute.
func (w *clusterWorld) refresh() {
	w.t.Helper()
	for i, s := range append(w.servers[:len(w.servers):len(w.servers)], w.alone) {
		conn := embeddedtest.ConnectTo(w.t, s, w.database)
		for _, r := range schema.Rollups() {
			for _, q := range []string{"SYSTEM REFRESH VIEW ", "SYSTEM WAIT VIEW "} {
				if err := conn.Exec(w.t.Context(), q+r.View.Name+"_refresh"); err != nil {
					w.t.Errorf("server %d: %s: %v", i, r.View.Name, err)
				}
			}
		}
	}
}

const (
	clusterMessages   = 600
	clusterPartitions = 4
)

// clusterEvents are messages, and one or two statuses of most on partitions of the other shard.
func clusterEvents(now time.Time) (records []*kgo.Record) {
	pick := func(n int, of ...string) []byte { return []byte(of[n%len(of)]) }
	for n := range clusterMessages {
		at := now.Add(-time.Duration(n*4) * time.Minute)
		event := func(k *schema.Kind, after time.Duration) *schema.Event {
			e := new(schema.Event)
			e.Reset(k)
			e.SetMillis(schema.ReceivedAt, now.UnixMilli())
			e.SetMillis(schema.EventTime, at.Add(after).UnixMilli())
			e.SetUint(schema.IDTime, uint64(at.Unix()))
			e.SetText(schema.Listener, []byte("filter"))
			e.SetText(schema.Direction, pick(n, "outgoing", "incoming"))
			for name, v := range map[string][]byte{
				"id": eximid.Append(nil, uint64(at.Unix()), uint64(n), 0), "domain": pick(n, "a.example", "b.example", "c.example"), "filtering_host": []byte("mx1"),
				"recipient": fmt.Appendf(nil, "r%d@far.example", n%17),
			} {
				e.SetText(k.Index(name), v)
			}
			return e
		}
		add := func(e *schema.Event, k *schema.Kind, partition int) {
			records = append(records, &kgo.Record{Topic: "millrace." + k.Topic, Partition: int32(partition % clusterPartitions), Value: schema.AppendRecord(nil, e), Timestamp: now})
		}
		e := event(schema.Message, 0)
		for name, v := range map[string][]byte{
			"sender": fmt.Appendf(nil, "S%d@a.example", n%13), "status": []byte("queued"), "status_norm": []byte("queued"), "class_norm": pick(n, "spam", "not-spam", "spam", "virus"),
			"sub_class": pick(n, "dnsbl", "sender-verify", "", "unknown-user"), "subject_header": fmt.Appendf(nil, "subject %d", n),
		} {
			e.SetText(schema.Message.Index(name), v)
		}
		if n%2 == 0 {
			e.SetText(schema.Message.Index("auth_user"), pick(n/2, "al", "bob", "carol"))
			e.SetText(schema.Message.Index("identity"), pick(n/2, "", "laptop"))
		}
		e.SetUint(schema.Message.Index("incoming_size"), uint64(1000+n))
		add(e, schema.Message, n)
		for i, word := range []string{"temporarily-rejected", "delivered", "rejected"}[:n%4%3] {
			e := event(schema.Status, time.Duration(1+i)*time.Second)
			e.SetText(schema.Status.Index("status"), []byte(word))
			e.SetText(schema.Status.Index("status_norm"), []byte(word))
			e.SetText(schema.Status.Index("delivery_data"), []byte("451 4.7.1 later"))
			add(e, schema.Status, n+1+i)
		}
	}
	return records
}

// transform runs a transformer of its own group until the tables have all.
func (w *clusterWorld) transform(broker, group string, want [2]uint64, servers ...*embedded.ClickHouse) {
	w.t.Helper()
	var shards []transformer.Shard
	for i, s := range servers {
		shards = append(shards, transformer.Shard{Name: []string{"one", "two"}[i], ClickHouse: &clickhouse.Options{
			Addr: []string{s.NativeAddr}, Auth: clickhouse.Auth{Username: s.Admin.User, Password: s.Admin.Password},
		}})
	}
	o := transformer.Options{
		Brokers: []string{broker}, TopicPrefix: "millrace.", Group: group, ClickHouse: shards[0].ClickHouse, Database: w.database,
		BlockAge: 100 * time.Millisecond, SessionTimeout: 6 * time.Second, RebalanceTimeout: 4 * time.Second, HeartbeatInterval: 300 * time.Millisecond,
	}
	if len(servers) > 1 {
		o.Shards = shards
	}
	tr, err := transformer.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	soft, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- tr.Run(soft, context.Background()) }()
	for w.counts(servers...) != want {
		select {
		case err := <-done:
			w.t.Fatal("the transformer has ended:", err)
		case <-w.t.Context().Done():
			w.t.Fatalf("%d rows arrived, want %d", w.counts(servers...), want)
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	if err := <-done; err != nil {
		w.t.Error(err)
	}
}

// On a cluster of two shards, where the statuses of messages lie on the other one, each
// server answers all questions as one server would that has all rows.
func TestCluster(t *testing.T) {
	t.Parallel()
	w := newClusterWorld(t, "millrace_cmd_cluster")
	execute(t, "", "schema", "apply", "--config", w.single).contains(t, 0, "CREATE DATABASE")
	execute(t, "", "schema", "check", "--config", w.nodes[0]).contains(t, 1, "millrace: cannot ")
	w.apply()
	execute(t, "", "schema", "plan", "--config", w.nodes[1]).contains(t, 0, "-- nothing to do\n")

	// A server that has lost all, or is new, is told of and given all.
	for _, database := range []string{w.database + "_all", w.database} {
		if err := embeddedtest.ConnectTo(t, w.servers[1], "").Exec(t.Context(), "DROP DATABASE "+database+" SYNC"); err != nil {
			t.Fatal(err)
		}
	}
	execute(t, "", "schema", "check", "--config", w.nodes[0]).contains(t, 1, "status_events on another server of the cluster is missing (want ",
		"messages is another", w.database+"_all.message_events is another: it has not the columns", "rollup_hours TTL is ")
	w.apply()
	w.complete()

	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
	}
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(clusterPartitions, topics...), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	now := time.Now().UTC()
	records := clusterEvents(now)
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	want := [2]uint64{clusterMessages, uint64(len(records)) - clusterMessages}
	w.transform(kafka.ListenAddrs()[0], "single", want, w.alone)
	w.transform(kafka.ListenAddrs()[0], "millrace", want, w.servers...)
	for i, s := range w.servers {
		if n := w.counts(s); n[0] != want[0]/2 || n[1] == 0 || n[1] == want[1] {
			t.Errorf("server %d has %d of %d rows", i, n, want)
		}
	}

	for _, path := range w.nodes {
		execute(t, "", "audit", "--config", path, "--kafka", kafka.ListenAddrs()[0], "--json").contains(t, 0, `"ok":true`)
	}
	w.refresh()
	const counted = "SELECT * EXCEPT (recipients, computed_at), finalizeAggregation(recipients) FROM "
	w.ask("query", "--format", "tsv", counted+"messages_hourly")
	// A message that has another status now is counted elsewhere, wherever the status lies.
	for _, s := range []*embedded.ClickHouse{w.servers[1], w.alone} {
		err := embeddedtest.ConnectTo(t, s, w.database).Exec(t.Context(), fmt.Sprintf("INSERT INTO status_events (received_at, event_time, id_time, id, filtering_host, domain, recipient, direction, listener, status, status_norm) "+
			"SELECT toDateTime(%[1]d), toDateTime(%[1]d), toDateTime(%[1]d - number * 6 * 240), %[2]s, 'mx1', 'a.example', concat('r', toString(number * 6 %% 17), '@far.example'), 'outgoing', 'filter', 'bounced', 'bounced' FROM numbers(40)", now.Unix(), history.EximID(fmt.Sprintf("(%d - number * 6 * 240)", now.Unix()), "(number * 6)", "0")))
		if err != nil {
			t.Fatal(err)
		}
	}
	w.refresh()
	w.ask("query", "--format", "tsv", counted+"messages_hourly WHERE status_norm = 'bounced'")
	execute(t, "", "schema", "count", "--config", w.nodes[1]).contains(t, 0, "messages_hourly: ", "senders_hourly: ")
	for _, q := range []string{
		"SELECT * FROM messages ORDER BY id",
		"SELECT count(), uniqExact(id), countIf(status_norm = 'delivered'), sum(attempts), sum(has_message) FROM messages",
		"SELECT * FROM classes",
		"SELECT count() FROM locks",
		"SELECT * FROM message_trail",
		counted + "messages_hourly",
		counted + "senders_hourly",
		"SELECT count() FROM message_events WHERE id IN (SELECT id FROM status_events WHERE status_norm = 'delivered')",
		"SELECT count() FROM message_events AS m JOIN status_events AS s USING (domain, id)",
	} {
		w.ask("query", "--format", "tsv", q)
	}
	const layout = "2006-01-02 15:04:05"
	since, until := now.Add(-48*time.Hour).Format(layout), now.Add(time.Hour).Format(layout)
	times := []string{"--since", since, "--until", until}
	for _, args := range [][]string{
		{"search", "--limit", "0", "--format", "tsv"}, {"search", "--kind", "status", "status is delivered or domain is a.example", "--format", "csv"},
		{"report", "outgoing", "--group-by", "auth_user", "--format", "tsv"}, {"report", "top_spammers", "--format", "tsv"},
	} {
		w.ask(append(args, times...)...)
	}
	fifth := string(eximid.Append(nil, uint64(now.Add(-5*4*time.Minute).Unix()), 5, 0))
	// Those that ask about one table within a question about another; not all have rows here.
	for _, args := range [][]string{{"feedback"}, {"spam_runs"}, {"trail_of_id", "--param", "id=" + fifth}, {"trail_of_qp", "--param", "qp=1"}} {
		w.compare(false, append([]string{"report", "--format", "tsv"}, args...)...)
	}
	w.ask("message", fifth)
}
