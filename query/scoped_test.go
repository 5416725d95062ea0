package query

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

// everyRelation are the names that a scope gives a meaning to.
func everyRelation() (names []string) {
	for _, k := range schema.Kinds() {
		names = append(names, k.Table)
	}
	for _, v := range schema.Views() {
		names = append(names, v.Name)
	}
	return names
}

// What the program ships is what it would accept of others.
func TestCheckScoped_BuiltIn(t *testing.T) {
	t.Parallel()
	c := corpusOf(t)
	for _, r := range Reports() {
		a, err := r.Ask(nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.CheckScoped(t.Context(), reader(t, c.database), everyRelation()); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

// allowedHere are the relations of the tests below.
var allowedHere = []string{"messages", "classes", "smtp_transactions"}

func TestCheckScoped_Success(t *testing.T) {
	t.Parallel()
	o := reader(t, corpusOf(t).database)
	for _, sql := range []string{
		"SELECT 1",
		"SELECT id, `sender`, \"Spam Count\" FROM (SELECT id, sender, 1 AS \"Spam Count\" FROM messages AS m) WHERE id IN (SELECT id FROM messages) ;",
		"WITH few AS (SELECT id FROM messages LIMIT 5) SELECT * FROM few UNION ALL SELECT id FROM messages WHERE id IN few",
		"select count() as messages, sumIf(incoming_size, sender != '') from messages group by all -- rejects\n",
		"SELECT /* FROM rejects */ 'FROM rejects', arrayMap(x -> x + 1, [1]), CASE WHEN 1 THEN 2 END, INTERVAL 1 DAY, {limit:UInt32} FROM messages",
		"SELECT * EXCEPT (sender) FROM messages AS a LEFT JOIN classes AS c ON a.class_norm = c.word",
		"SELECT row_number() OVER (PARTITION BY sender ORDER BY id_time) AS n FROM messages QUALIFY n = 1 EXCEPT SELECT 5",
		"SELECT quantileExactIf(0.5)(incoming_size, has_message), uniqExactOrDefaultIf(id, 1), groupArray(3)(id), exists(SELECT 1 FROM messages) FROM messages HAVING 1",
		"SELECT messages.id, m.sender FROM messages, messages AS m WHERE messages.id = m.id AND (messages.id, 1) IN ((1, 2))",
		"WITH rejects AS (SELECT 1 AS one) SELECT id FROM messages", // its name is a table's, which nothing reads
		"SELECT 'it''s', 'a\\'b FROM rejects' FROM messages ARRAY JOIN [1] AS x",
	} {
		if err := CheckScoped(t.Context(), o, sql, map[string]string{"limit": "5"}, allowedHere); err != nil {
			t.Errorf("%s\n%v", sql, err)
			continue
		}
		// It is then a statement that can be run.
		relations := []Relation{{"messages", "SELECT * FROM " + o.Database + ".messages WHERE domain = 'b.example'"}, {"classes", "SELECT * FROM " + o.Database + ".classes"}}
		var out bytes.Buffer
		if _, err := RunStatement(t.Context(), o, Statement{SQL: Scoped(sql, relations), Parameters: map[string]string{"limit": "5"}}, Output{To: &out, Format: TSV}); err != nil {
			t.Errorf("%s\n%v", sql, err)
		}
	}
}

func TestCheckScoped_Refusal(t *testing.T) {
	t.Parallel()
	o := reader(t, corpusOf(t).database)
	db := o.Database
	for _, f := range []struct{ sql, names string }{
		{"SELECT * FROM rejects", `"rejects" is a table; there are messages, classes, smtp_transactions`},
		{"SELECT * FROM message_events", `"message_events"`},
		{"SELECT * FROM " + db + ".messages", "." + "messages\" names a database"},
		{"SELECT * FROM " + db + "/* */./* */`messages`", "names a database"},
		{"SELECT * FROM `" + db + "`.\"rejects\"", "names a database"},
		{"SELECT * FROM `" + db + ".rejects`", "names a database"},
		{"SELECT * FROM system.tables", `"system.tables"`},
		{"SELECT * FROM INFORMATION_SCHEMA.TABLES", "names a database"},
		{"SELECT * FROM `rejects`", `"rejects"`},
		{"SELECT * FROM/**/rejects", `"rejects"`},
		{"SELECT * FROM--\nrejects", `"rejects"`},
		{"FROM rejects SELECT *", "no SELECT"},
		{"SELECT * FROM messages, rejects", `"rejects"`},
		{"SELECT * FROM messages JOIN rejects USING domain", `"rejects"`},
		{"SELECT * FROM messages AS rejects JOIN (SELECT * FROM rejects) AS x ON 1", `"rejects"`},
		{"SELECT (SELECT count() FROM rejects)", `"rejects"`},
		{"SELECT arrayMap(x -> (SELECT count() FROM rejects) + x, [1])", `"rejects"`},
		{"SELECT * FROM (SELECT * FROM (SELECT * FROM rejects))", `"rejects"`},
		{"SELECT 1 WHERE exists(SELECT * FROM rejects)", `"rejects"`},
		{"SELECT 1 FROM messages WHERE id IN rejects", `"rejects"`},
		{"SELECT 1 FROM messages WHERE id IN (rejects)", `"rejects"`},
		{"SELECT 1 FROM messages WHERE id GLOBAL NOT IN " + db + ".rejects", "names a database"},
		{"SELECT in(id, rejects), notInIgnoreSet(id, rejects) FROM messages", `"rejects"`},
		{"SELECT nullIn(id, rejects) FROM messages", `"rejects"`},
		{"SELECT 1 FROM messages WHERE id NOT IN (SELECT id FROM rejects)", `"rejects"`},
		{"SELECT 1 UNION ALL SELECT reason FROM rejects", `"rejects"`},
		{"SELECT 1 EXCEPT SELECT count() FROM rejects", `"rejects"`},
		{"SELECT 1 INTERSECT (SELECT count() FROM rejects)", `"rejects"`},
		{"WITH rejects AS (SELECT * FROM rejects) SELECT * FROM rejects", `"rejects"`},
		{"SELECT * FROM (WITH rejects AS (SELECT 1) SELECT * FROM rejects), rejects", `"rejects"`},
		{"WITH messages AS (SELECT * FROM messages) SELECT * FROM messages", `gives "messages" another meaning`},
		{"SELECT 1 UNION ALL WITH `messages`/**/AS/**/(SELECT 1) SELECT * FROM messages", `another meaning`},
		{"WITH messages AS MATERIALIZED (SELECT 1) SELECT * FROM messages", `another meaning`},
		{"WITH RECURSIVE rejects AS (SELECT 1 UNION ALL SELECT * FROM rejects) SELECT * FROM rejects", `"rejects"`},
		{"SELECT * FROM merge('rejects')", `"merge" is a table function`},
		{"SELECT * FROM merge(" + db + ", 'rejects')", "merge"},
		{"SELECT * FROM remote('127.0.0.1', " + db + ".rejects)", "remote"},
		{"SELECT * FROM url('http://127.0.0.1/', CSV, 'a String')", "url"},
		{"SELECT * FROM file('/etc/passwd', LineAsString)", "file"},
		{"SELECT * FROM numbers(10)", "numbers"},
		{"SELECT * FROM values('a String', ('x'))", "values"},
		{"SELECT * FROM view(SELECT * FROM rejects)", "view"},
		{"SELECT * FROM viewIfPermitted(SELECT * FROM rejects ELSE null('a String'))", "viewIfPermitted"},
		{"SELECT * FROM cluster('default', " + db + ".rejects)", "cluster"},
		{"SELECT * FROM dictionary('d')", "dictionary"},
		{"SELECT * FROM messages(domain = 'b.example')", `gives "messages" another meaning`},
		{"SELECT * FROM some_view(domain = 'b.example')", `"some_view" is a table function, or a view with parameters`},
		{"SELECT * FROM (EXPLAIN AST SELECT 1)", "viewExplain"},
		{"SELECT dictGet('d', 'a', 1)", `"dictGet"`},
		{"SELECT DICTGET('d', 'a', 1)", "DICTGET"},
		{"SELECT dictGetOrDefault('d', 'a', 1, 2)", "dictGetOrDefault"},
		{"SELECT joinGet('rejects', 'a', 1)", "joinGet"},
		{"SELECT joinGetOrNull('rejects', 'a', 1)", "joinGetOrNull"},
		{"SELECT file('/etc/passwd')", `"file"`},
		{"SELECT hasColumnInTable('system', 'tables', 'name')", "hasColumnInTable"},
		{"SELECT getSetting('max_threads'), 1", "getSetting"},
		{"SELECT currentUser()", "currentUser"},
		{"SELECT sleep(3)", "sleep"},
		{"SELECT aiGenerate('x', 'y')", "aiGenerate"},
		{"SELECT regionToName(1)", "regionToName"},
		{"SELECT x FROM (SELECT 1 AS x) WHERE f_of_somebody(x)", "f_of_somebody"},
		{"WITH x -> dictGet('d', 'a', x) AS f SELECT f(1)", `"dictGet"`},
		{"WITH x -> x + 1 AS f SELECT f(1)", `"f"`},
		{"SELECT * APPLY (x -> dictGet('d', 'a', x)) FROM messages", "APPLY"},
		{"SELECT COLUMNS('id') APPLY(length) FROM messages", "APPLY"},
		{"SELECT * REPLACE (dictGet('d', 'a', id) AS id) FROM messages", "dictGet"},
		{"SELECT 1 ORDER BY dictGet('d', 'a', 1)", "dictGet"},
		{"SELECT sum(1) OVER (PARTITION BY joinGet('a', 'b', 1)) FROM messages", "joinGet"},
		{"SELECT 1 FROM messages ARRAY JOIN [file('x')] AS y", "file"},
		{"SELECT 1 FROM messages LIMIT (SELECT count() FROM rejects)", ""},
		{"SELECT 1 SETTINGS max_execution_time = 0", "SETTINGS"},
		{"SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)", "SETTINGS"},
		{"SELECT 1 INTO OUTFILE '/tmp/x'", "INTO OUTFILE"},
		{"SELECT 1 FORMAT CSV", "FORMAT"},
		{"SELECT * FROM (SELECT 1) FORMAT CSV SETTINGS max_threads = 1", ""},
		{"SELECT 1; SELECT 2", "more than one statement"},
		{"SELECT * FROM {t:Identifier}", "Identifier"},
		{"SELECT * FROM {t:/**/Identifier}", "Identifier"},
		{"SELECT * FROM {t:String}", ""},
		{"INSERT INTO rejects SELECT 1", "no SELECT"},
		{"SHOW TABLES", "no SELECT"},
		{"DESCRIBE TABLE rejects", "no SELECT"},
		{"EXPLAIN SELECT 1", "no SELECT"},
		{"(SELECT * FROM rejects)", "no SELECT"},
		{"graph = 1 SELECT 1", "no SELECT"},
		{"", "no SELECT"},
		{"SELECT $$x$$", "'$' outside of quotes"},
		{"SELECT 1 # x\nFROM rejects", "'#' outside of quotes"},
		{"SELECT \u201crejects\u201d", "outside of quotes"},
		{"SELECT 1 AS `a\n    TableIdentifier messages`", "characters that are not allowed in names"},
		{"SELECT 1 AS `a (children 1)`", "characters that are not allowed in names"},
		{"SELECT 1 AS `a\\n b`", "characters that are not allowed in names"},
		{"SELECT 'a", "does not end"},
		{"SELECT /* /* */ 1 */", "comment"},
		{"SELECT 1 /*", "comment"},
	} {
		err := CheckScoped(t.Context(), o, f.sql, map[string]string{"t": "rejects"}, allowedHere)
		if err == nil || !strings.Contains(err.Error(), f.names) || !strings.HasPrefix(err.Error(), "cannot allow the statement to others than admins: ") {
			t.Errorf("%s\n%v, want %q", f.sql, err, f.names)
		}
	}
}

// In a statement that passed, the relations are what is read, wherever it names them. Run
// without CheckScoped, these would still see b.example's messages alone.
func TestScoped(t *testing.T) {
	t.Parallel()
	o := reader(t, corpusOf(t).database)
	relations := []Relation{{"messages", "SELECT * FROM " + o.Database + ".messages WHERE domain = 'b.example' -- and no others"}}
	for _, sql := range []string{
		"SELECT DISTINCT domain FROM messages",
		"SELECT 'b.example' UNION DISTINCT WITH x AS (SELECT domain FROM messages) SELECT domain FROM x -- behind",
		"SELECT 'b.example' UNION DISTINCT (SELECT 'b.example' UNION DISTINCT WITH x AS (SELECT domain FROM messages) SELECT domain FROM x)",
		"SELECT DISTINCT domain FROM (WITH x AS (SELECT domain, id FROM messages WHERE id IN (SELECT id FROM messages)) SELECT domain FROM x)",
		"SELECT DISTINCT arrayJoin((SELECT groupUniqArray(domain) FROM messages)) AS domain",
		"SELECT 'b.example' INTERSECT (WITH x AS (SELECT domain FROM messages) SELECT domain FROM x)",
		"SELECT DISTINCT a.domain FROM messages AS a JOIN (SELECT 'b.example' AS domain UNION ALL WITH 1 AS one SELECT domain FROM messages WHERE one) AS b USING domain;",
	} {
		if err := CheckScoped(t.Context(), o, sql, nil, allowedHere); err != nil {
			t.Errorf("%s\n%v", sql, err)
		}
		var out bytes.Buffer
		if _, err := RunStatement(t.Context(), o, Statement{SQL: Scoped(sql, relations)}, Output{To: &out, Format: TSV}); err != nil || out.String() != "b.example\n" {
			t.Errorf("%s\n%q %v", sql, out.String(), err)
		}
	}
}

// A report for one domain's user is the report with that domain.
func TestScoped_Reports(t *testing.T) {
	t.Parallel()
	o := reader(t, corpusOf(t).database)
	var relations []Relation
	for _, name := range everyRelation() {
		where := " WHERE domain = 'b.example'"
		if name == "classes" || name == "rejects" || name == "generic_lines" {
			where = ""
		}
		relations = append(relations, Relation{name, "SELECT * FROM " + o.Database + "." + name + where})
	}
	for _, r := range Reports() {
		if slices.Contains(plain, r.Name) || r.Name == "feedback" { // its messages may be of another domain
			continue
		}
		given := map[string]string{"since": "2026-11-20", "until": "2026-11-21"}
		a, err := r.Ask(given, corpusDay)
		if err != nil {
			t.Fatal(err)
		}
		a.Scope = &Scope{Relations: relations}
		given["domain"] = "b.example"
		b, err := r.Ask(given, corpusDay)
		if err != nil {
			t.Fatal(err)
		}
		var scoped, chosen bytes.Buffer
		if _, err := a.Run(t.Context(), o, &scoped, CSV); err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
		if _, err := b.Run(t.Context(), o, &chosen, CSV); err != nil {
			t.Fatal(err)
		}
		if scoped.String() != chosen.String() {
			t.Errorf("%s:\n%s\nwant\n%s", r.Name, scoped.String(), chosen.String())
		}
		if _, err := a.Notes(t.Context(), o); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

// Functions that reach what is not in their arguments: files, dictionaries, tables, the
// network, the server's state, who asks; and what only takes time.
var reaching = regexp.MustCompile(`(?i)^(dict|joinGet|file$|filesystem|region|ai[A-Z]|ai(classify|generate|embed|extract|translate)$|naiveBayes|catboost|eval|__|nested$|validateNestedArraySizes|getM|getS[e]|getClient|showCert|hasColumn|hasThread|sleep|` +
	`current_?(user|role|database|schema|profile|query)|session_user|user$|authUser|authenticatedUser|default(Roles|Profiles)|enabled(Roles|Profiles)|FQDN|full_?host_?name|host_?name|tcpPort|version$|uptime|serverUUID|buildId|revision$|getOS|zookeeper|globalVariable|connection_?id|` +
	`(initial_?)?query_?(id|start_?time)|initial_?query|transaction|generateSerial|chdb|runningConcurrency|shard(Num|Count)|partition_?id|logTrace|fuzz|obfuscate|addressTo|demangle|tid$|flameGraph|mergeTree|isMergeTree|database$|schema$|aggThrow|throwIf|` +
	`timeSeries.*(Tags?|Group|Id|Key)|timeSeriesStore|getMaxTable|structureTo|formatRow|generateRandomStructure|getSubcolumn|__actionName|icebergHash|server_?time_?zone|errorCodeToName|blockNumber|rowNumberIn|neighbor|executable|wasm|remote|url$)`)

// functions.txt is what this server has, without those.
func TestHarmlessFunctions(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if _, err := Run(t.Context(), reader(t, "default"), "SELECT name FROM system.functions WHERE origin = 'System' ORDER BY lower(name), name", &out, TSV); err != nil {
		t.Fatal(err)
	}
	var want []string
	var refused []string
	for name := range strings.Lines(out.String()) {
		name = strings.TrimSpace(name)
		if reaching.MatchString(name) && name != "_CAST" {
			refused = append(refused, name)
		} else {
			want = append(want, name)
		}
	}
	if *update {
		if err := os.WriteFile("functions.txt", []byte(strings.Join(want, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have := strings.Fields(functionList)
	for _, name := range want {
		if !slices.Contains(have, name) {
			t.Errorf("%s is new: does it compute from its arguments alone? Then functions.txt has it with -update, else the expression above", name)
		}
	}
	for _, name := range refused {
		if harmlessFunction(name) || harmlessFunction(strings.ToUpper(name)) {
			t.Errorf("%s passes", name)
		}
	}
	if len(refused) < 100 || len(have) < 1000 {
		t.Errorf("%d refused, %d allowed", len(refused), len(have))
	}
}
