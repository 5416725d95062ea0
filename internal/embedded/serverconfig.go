package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// serverConfig is what the two generated XML files are made from.
type serverConfig struct {
	dir          string // DataDir/clickhouse
	native, http hostPort
	withHTTP     bool
	databases    []string
	admin        Credentials
	reader       Credentials
	memory       int64
	kafkaEngine  bool
	cluster      *Cluster // nil: it is alone
}

func (c *serverConfig) mainPath() string  { return filepath.Join(c.dir, "config.xml") }
func (c *serverConfig) usersPath() string { return filepath.Join(c.dir, "users.xml") }
func (c *serverConfig) dataPath() string  { return filepath.Join(c.dir, "data") }
func (c *serverConfig) logDir() string    { return filepath.Join(c.dir, "log") }
func (c *serverConfig) logPath() string   { return filepath.Join(c.logDir(), "clickhouse.log") }

// startQueries are what the process's own session runs. Their number is the
// quota of user default: see usersXML.
func (c *serverConfig) startQueries() []string {
	queries := []string{"SYSTEM START LISTEN TCP"}
	if c.withHTTP {
		queries = append(queries, "SYSTEM START LISTEN HTTP")
	}
	return append(queries, lifeLine)
}

func (c *serverConfig) args() []string {
	return []string{
		"clickhouse",
		"--config-file=" + c.mainPath(),
		"--path=" + c.dataPath(),
		"--log-level=warning", // the level in the file is not honoured
		"--query", strings.Join(c.startQueries(), "; "),
	}
}

// mainXML sizes the server for a small site that it shares with the pipeline.
// The defaults (22 GB of memory, 5 GB of mark cache on a big machine) are those
// of a server that has a machine to itself.
func (c *serverConfig) mainXML() []byte {
	pool := min(max(runtime.NumCPU(), 2), 8)
	markCache := min(max(c.memory/16, 32<<20), 512<<20)
	var b strings.Builder
	b.WriteString("<clickhouse>\n")
	element := func(name string, value any) {
		fmt.Fprintf(&b, "  <%s>%s</%s>\n", name, escape(fmt.Sprint(value)), name)
	}
	element("users_config", c.usersPath())
	element("path", c.dataPath()+"/")
	element("tmp_path", c.dataPath()+"/tmp/")
	element("format_schema_path", c.dataPath()+"/format_schemas/")
	element("user_files_path", c.dataPath()+"/user_files/")
	element("timezone", "UTC")
	element("listen_host", c.native.host)
	element("tcp_port", c.native.port)
	if c.withHTTP {
		element("http_port", c.http.port)
	}
	element("max_connections", 256)
	element("keep_alive_timeout", 3) // seconds that an idle HTTP client may hold up a stop
	element("max_concurrent_queries", 64)
	element("max_server_memory_usage", c.memory)
	element("mark_cache_size", markCache)
	element("uncompressed_cache_size", 0)
	element("index_mark_cache_size", markCache/4)
	element("background_pool_size", pool)
	element("background_merges_mutations_concurrency_ratio", 2)
	element("background_move_pool_size", 1)
	element("background_fetches_pool_size", 1)
	element("background_common_pool_size", 2)
	element("background_schedule_pool_size", 8)
	element("background_distributed_schedule_pool_size", 1)
	element("background_message_broker_schedule_pool_size", 1)
	element("background_buffer_flush_schedule_pool_size", 1)
	// The defaults of these three assume a pool of 32.
	b.WriteString("  <merge_tree>\n" +
		"    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>\n" +
		"    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>\n" +
		"    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>\n" +
		"  </merge_tree>\n")
	b.WriteString("  <logger>\n    <level>warning</level>\n")
	fmt.Fprintf(&b, "    <log>%s</log>\n    <size>10M</size>\n    <count>3</count>\n  </logger>\n", escape(c.logPath()))
	// These two work until a restart, then only after their tables were
	// removed, which happens at every start.
	for _, table := range []string{"query_log", "part_log"} {
		fmt.Fprintf(&b, "  <%s>\n    <database>system</database>\n    <table>%s</table>\n"+
			"    <ttl>event_date + INTERVAL 7 DAY DELETE</ttl>\n"+
			"    <flush_interval_milliseconds>7500</flush_interval_milliseconds>\n  </%s>\n", table, table, table)
	}
	if c.cluster != nil {
		b.WriteString(c.cluster.xml())
	}
	b.WriteString("  <access_control_improvements>\n" +
		"    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>\n" +
		"    <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>\n" +
		"    <table_engines_require_grant>true</table_engines_require_grant>\n" +
		"    <settings_constraints_replace_previous>true</settings_constraints_replace_previous>\n" +
		"  </access_control_improvements>\n</clickhouse>\n")
	return []byte(b.String())
}

// adminEngines are the table engines that stay within the server. The others
// read or write files, URLs and other servers.
var adminEngines = []string{
	"MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "CoalescingMergeTree",
	"CollapsingMergeTree", "VersionedCollapsingMergeTree", "Memory", "Null", "Join", "Set", "Buffer",
}

// readerSystemTables are what a dashboard or a person asks about the data. Rows
// of tables that the reader cannot select from are left out by the server.
var readerSystemTables = []string{
	"parts", "parts_columns", "data_skipping_indices", "disks", "metrics", "events", "merges", "mutations",
	"numbers", "build_options", "settings", "functions",
}

// quotaSeconds is one quota interval. Intervals are counted from 1970: this one
// ends in 2077, so that the quota of default never comes back.
const quotaSeconds = 1_700_000_000

func (c *serverConfig) usersXML() []byte {
	adminGrants := []string{
		"GRANT SELECT ON system.*",
		"GRANT SELECT ON INFORMATION_SCHEMA.*",
		"GRANT KILL QUERY ON *.*",
		"GRANT SYSTEM FLUSH LOGS ON *.*",
		"GRANT CREATE TEMPORARY TABLE ON *.*",
		"GRANT TABLE ENGINE ON " + strings.Join(adminEngines, ", TABLE ENGINE ON "),
	}
	if c.kafkaEngine {
		adminGrants = append(adminGrants, "GRANT TABLE ENGINE ON Kafka", "GRANT KAFKA ON *.*")
	}
	if c.cluster != nil {
		adminGrants = append(adminGrants, clusterGrants...)
	}
	var readerGrants []string
	for _, t := range readerSystemTables {
		readerGrants = append(readerGrants, "GRANT SELECT ON system."+t)
	}
	for _, db := range c.databases {
		adminGrants = append(adminGrants, "GRANT ALL ON "+db+".*")
		readerGrants = append(readerGrants, "GRANT SELECT ON "+db+".*")
	}

	var b strings.Builder
	b.WriteString("<clickhouse>\n  <profiles>\n")
	// The life line runs under profile default, whatever the profile of the
	// user: no limit of time may stand here. The one session that user default
	// may have is that of the process itself.
	writeProfile(&b, "default", []setting{{"max_execution_time", 0}, {"max_sessions_for_user", 1}}, "")
	writeProfile(&b, "pipeline", []setting{{"max_sessions_for_user", 0}, {"max_memory_usage", c.memory * 6 / 10}}, "")
	readerMemory := c.memory * 4 / 10
	writeProfile(&b, "reader", []setting{
		{"max_sessions_for_user", 0},
		{"readonly", 2}, // not 1: client libraries send settings with every deadline
		{"max_memory_usage", readerMemory},
		{"cancel_http_readonly_queries_on_client_close", 1},
	}, fmt.Sprintf("<max_memory_usage><min>1</min><max>%d</max></max_memory_usage>", readerMemory))
	b.WriteString("  </profiles>\n  <quotas>\n    <unlimited/>\n")
	// A second wall: default has no password, and SYSTEM LISTEN would let anybody
	// on this machine close the listeners. Its quota is exactly what the process
	// itself needs at start.
	fmt.Fprintf(&b, "    <life_line>\n      <interval>\n        <duration>%d</duration>\n        <queries>%d</queries>\n      </interval>\n    </life_line>\n",
		quotaSeconds, len(c.startQueries()))
	b.WriteString("  </quotas>\n  <users>\n")
	writeUser(&b, "default", "<no_password/>", []string{"127.0.0.1"}, "default", "life_line",
		[]string{"GRANT SYSTEM LISTEN ON *.*", "GRANT SELECT ON system.numbers"})
	writeUser(&b, c.admin.User, passwordElement(c.admin), []string{"::/0"}, "pipeline", "unlimited", adminGrants)
	writeUser(&b, c.reader.User, passwordElement(c.reader), []string{"::/0"}, "reader", "unlimited", readerGrants)
	b.WriteString("  </users>\n</clickhouse>\n")
	return []byte(b.String())
}

type setting struct {
	name  string
	value any
}

// settingsOfFiles name a file or a URL that formatting then opens. They stay
// empty for everybody.
var settingsOfFiles = []string{
	"format_schema", "output_format_schema", "format_template_resultset", "format_template_row",
	"input_format_record_errors_file_path", "format_avro_schema_registry_url", "allow_introspection_functions",
	"allow_python_table_function", "allow_experimental_ai_functions",
}

func writeProfile(b *strings.Builder, name string, settings []setting, constraints string) {
	fmt.Fprintf(b, "    <%s>\n", name)
	settings = append(settings, setting{"allow_introspection_functions", 0}, setting{"allow_python_table_function", 0},
		setting{"poll_interval", 1}) // seconds until an idle connection notices that the server stops
	for _, s := range settings {
		fmt.Fprintf(b, "      <%s>%v</%s>\n", s.name, s.value, s.name)
	}
	b.WriteString("      <constraints>\n")
	if constraints != "" {
		b.WriteString("        " + constraints + "\n")
	}
	for _, s := range settingsOfFiles {
		fmt.Fprintf(b, "        <%s><readonly/></%s>\n", s, s)
	}
	fmt.Fprintf(b, "      </constraints>\n    </%s>\n", name)
}

func passwordElement(c Credentials) string {
	sum := sha256.Sum256([]byte(c.Password))
	return "<password_sha256_hex>" + hex.EncodeToString(sum[:]) + "</password_sha256_hex>"
}

func writeUser(b *strings.Builder, name, password string, networks []string, profile, quota string, grants []string) {
	fmt.Fprintf(b, "    <%s>\n      %s\n      <networks>\n", name, password)
	for _, n := range networks {
		fmt.Fprintf(b, "        <ip>%s</ip>\n", n)
	}
	fmt.Fprintf(b, "      </networks>\n      <profile>%s</profile>\n      <quota>%s</quota>\n      <grants>\n", profile, quota)
	for _, g := range grants {
		fmt.Fprintf(b, "        <query>%s</query>\n", escape(g))
	}
	fmt.Fprintf(b, "      </grants>\n    </%s>\n", name)
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

// leadingInt parses the decimal number that text begins with; 0 when there is
// none ("max" in a control group's limit).
func leadingInt(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n
}
