package schema

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"strings"
	"time"
)

// View is a question over several tables that has a name of its own in ClickHouse.
type View struct {
	Name    string
	Doc     string
	Columns []Column
	text    string // {{database}} stands for where the events are, {{home}} for where the rollups are
}

// Column is a column of a view, or of a table that holds no events.
type Column struct {
	Name string
	Type Type
	Of   string // ClickHouse's type, where it is none that a record has
	Doc  string
}

// ClickHouse is the column's type.
func (c Column) ClickHouse() string {
	if c.Of != "" {
		return c.Of
	}
	return c.Type.ClickHouse()
}

//go:embed views/*.sql
var viewFiles embed.FS

// Trail is every event of every kind that a message leaves, in the same columns.
var Trail = View{
	Name: "message_trail",
	Doc: "Every event of a message, of all kinds: what Spamdyke said, the SMTP session, delivery attempts, the filter's message and its statuses, reports, the quarantine. " +
		"`millrace trail` asks it, and says what belongs together by a shared key and what by addresses and time alone.",
	text: mustReadView("message_trail"),
	Columns: []Column{
		{Name: "event_time", Type: Millis, Doc: "the event's own time"},
		{Name: "kind", Type: Text, Doc: "message, status, spamdyke, smtp, delivery, feedback or quarantine"},
		{Name: "host", Type: Text, Doc: "host that it happened on: the filtering host, that of the syslog header, the quarantine's server"},
		{Name: "id", Type: Text, Doc: "Exim's id, which message, status, feedback and quarantine share"},
		{Name: "qmail_time", Type: Seconds, Doc: "EPOCH of `250 ok EPOCH qp PID`, which smtp and spamdyke share"},
		{Name: "qp", Type: UInt64, Doc: "its PID, which qmail-send's own lines in delivery have too"},
		{Name: "domain", Type: Text, Doc: "as in the kind's table"},
		{Name: "sender", Type: Text, Doc: "envelope sender; empty where the kind has none"},
		{Name: "recipients", Type: Texts, Doc: "envelope recipients"},
		{Name: "client", Type: IP, Doc: "the other side: who sent, or where it was delivered"},
		{Name: "what", Type: Text, Doc: "what happened, in a line"},
		{Name: "listener", Type: Word, Doc: "where it came from"},
		{Name: "received_at", Type: Millis, Doc: "when the ingester took it"},
	},
}

// Classes is the table of class words.
var Classes = View{
	Name: "classes",
	Doc:  "Every word for a class that is known, from this version and the configuration (`classes`); `millrace classes` prints the same.",
	text: "SELECT c.1 AS word, c.2 AS class, c.3 AS `group`, c.4 AS meaning, c.5 AS advice, c.6 AS own\nFROM\n(\n    SELECT arrayJoin([{{classes}}]) AS c\n)",
	Columns: []Column{
		{Name: "word", Type: Text, Doc: "spelling, in lower case with hyphens"},
		{Name: "class", Type: Text, Doc: "the class that it means: a value of `class_norm`"},
		{Name: "group", Type: Text, Doc: "accepted, rejected, temporarily-rejected, quarantined; empty: the status alone says"},
		{Name: "meaning", Type: Text, Doc: "of the class, in a line"},
		{Name: "advice", Type: Text, Doc: "what to do about it"},
		{Name: "own", Type: UInt8, Doc: "1: from the configuration"},
	},
}

// Messages is what has become of each message.
var Messages = View{
	Name: "messages",
	Doc: "The present state of each message, for each recipient: what its message events say, its latest status and when. Statuses may come before the message, late, twice and in any order. " +
		"The latest event is the greatest (event_time, rank of the status, received_at, topic, epoch, partition, offset). An event without an id is a message of its own. " +
		"An id that is not Exim's says no time, so that `id_time` is the event's own: a message with such an id and its statuses are rows of their own, except where their times are the same second.",
	text:    mustReadView("messages"),
	Columns: messagesColumns(),
}

func messagesColumns() []Column {
	all := []Column{
		{Name: "domain", Type: Text, Doc: "filtered or authenticated domain"},
		{Name: "id_time", Type: Seconds, Doc: "the Exim id's own time: with domain the quickest way to messages of a time"},
		{Name: "id", Type: Text, Doc: "Exim message id"},
		{Name: "recipient", Type: Text, Doc: "envelope recipient"},
		{Name: "filtering_host", Type: Word, Doc: "node of the filter that handled it"},
		{Name: "event_key", Type: Text, Doc: "of an event without an id, which is a message of its own: its place in Kafka; else empty"},
		{Name: "first_time", Type: Millis, Doc: "of its first event"},
		{Name: "last_time", Type: Millis, Doc: "of its latest event"},
		{Name: "status", Type: Text, Doc: "latest status, as the filter wrote it"},
		{Name: "status_norm", Type: Text, Doc: "latest status in one spelling"},
		{Name: "has_message", Type: UInt8, Doc: "0: there are statuses alone"},
		{Name: "attempts", Type: UInt64, Doc: "different statuses that name a destination or its reply"},
	}
	for _, f := range messageFields {
		switch f.Name {
		case "id", "filtering_host", "domain", "recipient", "timestamp", "status", "status_norm":
			continue
		}
		if f.Type == Word {
			f.Type = Text
		}
		all = append(all, Column{Name: f.Name, Type: f.Type, Doc: f.Doc})
		if f.Name == "class_norm" {
			all = append(all, Column{Name: "class_group", Type: Text, Doc: "accepted, rejected, temporarily-rejected, quarantined or empty: what the latest status says, else the class, see `classes`"})
		}
	}
	all = append(all, Column{Name: "extra", Type: Map, Doc: "template variables that have no column of their own"},
		Column{Name: "listener", Type: Text, Doc: "where the message came from"},
		Column{Name: "direction", Type: Text, Doc: "outgoing where there is a user or an identity, else what the listener is for: incoming, outgoing or unknown"})
	for _, f := range statusFields {
		if strings.HasPrefix(f.Name, "delivery_") {
			all = append(all, Column{Name: f.Name, Type: f.Type, Doc: f.Doc})
		}
	}
	return append(all,
		Column{Name: "delivery_code", Type: UInt16, Doc: "SMTP reply code in delivery_data"},
		Column{Name: "delivery_enhanced", Type: Text, Doc: "enhanced status code in it (RFC 3463)"},
		Column{Name: "delivery_phase", Type: Text, Doc: "after what the server said so: rcpt to, end of data, ..."})
}

// Locks is the present state of locks, as far as changes of the state are copied.
var Locks = View{
	Name: "locks",
	Doc: "Identities and outgoing users that are locked or have been: of each the last change that had effect, from the audit trail `state_changes` of the present log. " +
		"Who acts copies it there within seconds; `millrace locks` asks the state itself.",
	text: mustReadView("locks"),
	Columns: []Column{
		{Name: "domain", Type: Text, Doc: "of the outgoing user"},
		{Name: "user", Type: Text, Doc: "the outgoing user; * is all of the domain"},
		{Name: "identity", Type: Text, Doc: "empty: the whole outgoing user"},
		{Name: "locked", Type: UInt8, Doc: "1: now"},
		{Name: "until", Type: Millis, Doc: "it ends then by itself; 1970: it does not"},
		{Name: "code", Type: Text, Doc: "the answer to the sender: empty, a code of SMTP, or blackhole"},
		{Name: "rule", Type: Text, Doc: "that has made it; empty: a person"},
		{Name: "reason", Type: Text, Doc: "of the last change"},
		{Name: "actor", Type: Text, Doc: "who made it: cli:NAME, api:NAME, rule:NAME"},
		{Name: "how", Type: Text, Doc: "cli, api, compat, rule, import or system"},
		{Name: "since", Type: Millis, Doc: "when it was made"},
	},
}

// Views are all views that hold nothing themselves.
func Views() []View {
	all := []View{Trail, Classes, Messages, Locks}
	for _, r := range Rollups() {
		all = append(all, r.View)
	}
	return all
}

func mustReadView(name string) string {
	text, err := viewFiles.ReadFile("views/" + name + ".sql")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return strings.TrimSpace(string(text))
}

// ViewSettings are what the views depend on.
type ViewSettings struct {
	Classes           *ClassTable   // nil: the built-in one
	InvalidSenders    []Invalid     // nil: DefaultInvalidSenders
	InvalidRecipients []Invalid     // nil: DefaultInvalidRecipients
	Rollups           time.Duration // how long they are kept; 0: DefaultRetention's
	Home              string        // database of the rollups; empty: that of the view
}

// fill puts the settings into a text.
func (s ViewSettings) fill(text, database, home string) string {
	classes := s.Classes
	if classes == nil {
		classes = BuiltinClasses()
	}
	return strings.NewReplacer(
		"{{database}}", database,
		"{{home}}", home,
		"{{where}}", "",
		"{{order_of_message}}", orderOf(0),
		"{{order_of_status}}", orderOf(1),
		"{{class}}", classes.className("class_norm"),
		"{{class_group}}", classes.groupOf("class_norm", "status_norm"),
		"{{classes}}", classes.rows(),
	).Replace(text)
}

// Where is the view's text for a database, with a condition on the rows of each of the
// tables that it reads: of Messages alone. What the condition leaves out, the view does not
// know of.
func (v View) Where(s ViewSettings, database, condition string) string {
	quoted := QuoteName(database)
	return s.fill(strings.ReplaceAll(v.text, "{{where}}", " WHERE "+condition), quoted, quoted)
}

// Comment is what the server keeps with the view: whether it is the one of this version
// and configuration can be told by it, which the server's own wording of the text cannot.
func (v View) Comment(s ViewSettings) string {
	return definition(s.fill(v.text, "{{database}}", "{{home}}"))
}

func definition(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "made by millrace schema apply, definition " + hex.EncodeToString(sum[:8])
}

// Create is the statement that makes the view in a database, over the tables there; with
// replace also where there is one. onCluster is a clause, or empty.
func (v View) Create(s ViewSettings, database, onCluster string, replace bool) string {
	verb := "CREATE VIEW IF NOT EXISTS "
	if replace {
		verb = "CREATE OR REPLACE VIEW "
	}
	quoted, home := QuoteName(database), s.Home
	if home == "" {
		home = database
	}
	return verb + quoted + "." + QuoteName(v.Name) + onCluster + " AS\n" + s.fill(v.text, quoted, QuoteName(home)) + "\nCOMMENT " + quoteText(v.Comment(s))
}
