package schema

import (
	"embed"
	"strings"
)

// View is a question over several tables that has a name of its own in ClickHouse.
type View struct {
	Name    string
	Doc     string
	Columns []Field // Number is 0: no record has them
	text    string  // {{database}} stands for where the tables are
}

//go:embed views/*.sql
var viewFiles embed.FS

// Trail is every event of every kind that a message leaves, in the same columns.
var Trail = View{
	Name: "message_trail",
	Doc: "Every event of a message, of all kinds: what Spamdyke said, the SMTP session, delivery attempts, the filter's message and its statuses, reports, the quarantine. " +
		"`millrace trail` asks it, and says what belongs together by a shared key and what by addresses and time alone.",
	text: mustReadView("message_trail"),
	Columns: []Field{
		{Name: "event_time", Type: Millis, Doc: "the event's own time"},
		{Name: "kind", Type: Word, Doc: "message, status, spamdyke, smtp, delivery, feedback or quarantine"},
		{Name: "host", Type: Text, Doc: "host that it happened on: the filtering host, that of the syslog header, the quarantine's server"},
		{Name: "id", Type: Text, Doc: "Exim's id, which message, status, feedback and quarantine share"},
		{Name: "qmail_time", Type: Seconds, Doc: "EPOCH of `250 ok EPOCH qp PID`, which smtp and spamdyke share"},
		{Name: "qp", Type: UInt64, Doc: "its PID, which qmail-send's own lines in delivery have too"},
		{Name: "domain", Type: Text, Doc: "as in the kind's table"},
		{Name: "sender", Type: Text, Doc: "envelope sender; empty where the kind has none"},
		{Name: "recipients", Type: Texts, Doc: "envelope recipients"},
		{Name: "client", Type: IP, Doc: "the other side: who sent, or where it was delivered"},
		{Name: "what", Type: Text, Doc: "what happened, in a line"},
		{Name: "listener", Type: Text, Doc: "where it came from"},
		{Name: "received_at", Type: Millis, Doc: "when the ingester took it"},
	},
}

// Views are all views.
func Views() []View { return []View{Trail} }

func mustReadView(name string) string {
	text, err := viewFiles.ReadFile("views/" + name + ".sql")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return strings.TrimSpace(string(text))
}

// Create is the statement that makes the view in a database, over the tables there; with
// replace also where there is one. onCluster is a clause, or empty.
func (v View) Create(database, onCluster string, replace bool) string {
	verb := "CREATE VIEW IF NOT EXISTS "
	if replace {
		verb = "CREATE OR REPLACE VIEW "
	}
	quoted := QuoteName(database)
	return verb + quoted + "." + QuoteName(v.Name) + onCluster + " AS\n" + strings.ReplaceAll(v.text, "{{database}}", quoted)
}
