package schema

import (
	"fmt"
	"strings"
	"time"
)

// Refresh is a materialized view that fills the tables of a rollup.
type Refresh struct {
	Name  string
	Every string // empty: with each insert into the rollup's rows

	rollup    *Rollup
	candidate string
}

// Refreshes are all of a rollup: what notes the hours that are computed, what computes the
// open ones, and what looks for others.
//
// An event counts whose own time is at most a day after it was received: a wrong clock fills
// no hours of the far future, and an hour's events are looked for in partitions since then.
// A status can come weeks later. An hour that retention takes from the rollup is not counted
// again, though events of it can be there: those of an import are kept from their import on.
func (r *Rollup) Refreshes() []Refresh {
	name := r.View.Name
	const sane = "received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond({{kept}})"
	const open = "received_at >= now64(3) - toIntervalDay(3) AND id_time >= toStartOfHour(now64(3) - toIntervalDay(2)) AND " + sane +
		" AND toStartOfHour(id_time) {{in}} (\n" + "SELECT toStartOfHour(id_time) FROM {{database}}.`message_events` WHERE {{fresh}} UNION ALL SELECT toStartOfHour(id_time) FROM {{database}}.`status_events` WHERE {{fresh}})"
	return []Refresh{
		{Name: name + "_noted", rollup: r},
		{Name: name + "_refresh", Every: "1 MINUTE", rollup: r, candidate: open},
		{Name: name + "_heal", Every: "1 HOUR OFFSET 20 MINUTE", rollup: r, candidate: sane},
	}
}

// fresh are events that may have come since the last look: ten minutes are allowed for the
// way from the listener into the table. What is older than the open hours is not looked at,
// nor are the partitions of before: of a past that was imported nothing may be counted yet.
const fresh = "received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM {{home}}.`rollup_hours` WHERE rollup = '{{rollup}}') - toIntervalMinute(10)"

// Invalid is what makes a message count as one of an invalid address: each of the words that
// is given, in one spelling.
type Invalid struct{ Status, Class, SubClass string }

// DefaultInvalidSenders and DefaultInvalidRecipients go by words that name the fault. The
// words of sub_class are an open set.
var (
	DefaultInvalidSenders = []Invalid{
		{SubClass: "invalid-sender"}, {SubClass: "unknown-sender"}, {SubClass: "sender-invalid"}, {SubClass: "sender-unknown"}, {SubClass: "sender-verify"}, {SubClass: "sender-verification"},
	}
	DefaultInvalidRecipients = []Invalid{
		{SubClass: "invalid-recipient"}, {SubClass: "unknown-recipient"}, {SubClass: "recipient-invalid"}, {SubClass: "recipient-unknown"}, {SubClass: "unknown-user"}, {SubClass: "no-such-user"},
	}
)

// condition is SQL over the columns of messages.
func condition(list []Invalid) string {
	var any []string
	for _, i := range list {
		var all []string
		for _, c := range []struct{ column, word string }{
			{"status_norm", i.Status}, {"class_norm", i.Class}, {"trimBoth(replaceRegexpAll(lower(sub_class), '[ _\\t-]+', '-'), '-')", i.SubClass},
		} {
			if word := NormalWord(c.word); word != "" {
				all = append(all, c.column+" = "+quoteText(word))
			}
		}
		if len(all) > 0 {
			any = append(any, strings.Join(all, " AND "))
		}
	}
	if len(any) == 0 {
		return "false"
	}
	return "(" + strings.Join(any, " OR ") + ")"
}

func (f Refresh) query(s ViewSettings, database, home string) string {
	invalid := func(given, usual []Invalid) string {
		if given == nil {
			given = usual
		}
		return condition(given)
	}
	if f.Every == "" {
		return fmt.Sprintf("SELECT '%s' AS rollup, hour, max(events) AS events, max(computed_at) AS computed_at\nFROM %s.`%s_rows`\nWHERE direction = ''\nGROUP BY hour",
			f.rollup.View.Name, home, f.rollup.View.Name)
	}
	// Each place that names the hours is work for the server's analysis, once for each of its kind: the
	// hours themselves are asked for once, around the messages, and reach both tables from there.
	const where = "\n                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)"
	touched, err := rollupFiles.ReadFile("rollups/touched.sql")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	text, kept, in := f.rollup.text, s.Rollups, "IN"
	if database != home {
		in = "GLOBAL IN" // the events are those of all shards: each has to know the hours of all
	}
	if kept <= 0 {
		kept = DefaultRetention.Rollups
	}
	for _, r := range [][2]string{
		{"{{touched}}", strings.TrimSpace(string(touched))},
		{"{{candidate}}", f.candidate},
		{"{{in}}", in},
		{"{{fresh}}", fresh},
		{"{{messages}}", strings.ReplaceAll(Messages.text, "{{where}}", where)},
		{"{{invalid_sender}}", invalid(s.InvalidSenders, DefaultInvalidSenders)},
		{"{{invalid_recipient}}", invalid(s.InvalidRecipients, DefaultInvalidRecipients)},
		{"{{kept}}", fmt.Sprint(int64(kept / time.Second))},
		{"{{rollup}}", f.rollup.View.Name},
		{"{{budget}}", fmt.Sprint(rollupBudget)},
		{"{{top}}", fmt.Sprint(SendersOfHour)},
	} {
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	return s.fill(text, database, home)
}

// Comment is as that of a [View].
func (f Refresh) Comment(s ViewSettings) string {
	return definition(f.Every + f.query(s, "{{database}}", "{{home}}"))
}

// Create are the statements that make it, in place of one that is there: home has the
// rollup's tables, database the events that are counted, which may be those of all shards.
func (f Refresh) Create(s ViewSettings, database, home, onCluster string) []string {
	name := QuoteName(home) + "." + QuoteName(f.Name)
	schedule, target := "", f.rollup.View.Name+"_rows"
	if f.Every != "" {
		schedule = " REFRESH EVERY " + f.Every + " APPEND"
	} else {
		target = "rollup_hours"
	}
	create := "CREATE MATERIALIZED VIEW IF NOT EXISTS " + name + onCluster + schedule + " TO " + QuoteName(home) + "." + QuoteName(target)
	if f.Every != "" {
		create += " EMPTY"
	}
	return []string{
		"DROP VIEW IF EXISTS " + name + onCluster,
		create + " AS\n" + f.query(s, QuoteName(database), QuoteName(home)) + "\nCOMMENT " + quoteText(f.Comment(s)),
	}
}

// Derived are the statements that make all that is made of the events in a database of one
// server that has their tables: what migrations, retention and views come to.
func Derived(l Layout, r Retention, s ViewSettings) []string {
	var all []string
	for _, t := range RollupTables() {
		all = append(all, t.Create(l), t.ModifyTTL(l, r))
	}
	for _, v := range Views() {
		all = append(all, v.Create(s, l.Database, "", false))
	}
	for _, p := range Rollups() {
		for _, f := range p.Refreshes() {
			all = append(all, f.Create(s, l.Database, l.Database, "")...)
		}
	}
	return all
}
