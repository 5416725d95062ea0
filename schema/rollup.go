package schema

import (
	"embed"
	"fmt"
	"strings"
	"time"
)

// Rollup is what is counted of messages, hour by hour: a table of what was computed, and two
// refreshable views that compute it anew where events have come. Nothing of it happens when
// events are inserted.
//
// Both views write an hour's changed rows, and behind them a row without a direction, that
// says of how many events the hour was. Only an hour with more events than that is computed
// again: the first view looks every minute at the hours of what has just come, the second
// every hour at all, for what came late or was corrected. What retention takes from the
// events it does not take from here.
type Rollup struct {
	View    View // what is read: one row for each key, rows that are gone left out
	Key     []Column
	Values  []Column
	OrderBy string

	text string
}

//go:embed rollups/*.sql
var rollupFiles embed.FS

// uniqState merges over hours: SELECT uniqCombinedMerge(12)(recipients).
const uniqState = "AggregateFunction(uniqCombined(12), String)"

var rollupHead = []Column{
	{Name: "hour", Type: Seconds, Doc: "beginning of the hour of `id_time`"},
	{Name: "direction", Type: Word, Doc: "incoming, outgoing or unknown"},
	{Name: "domain", Type: Text, Doc: "filtered or authenticated domain"},
	{Name: "auth_user", Type: Text, Doc: "authenticated user; empty of incoming mail"},
	{Name: "identity", Type: Text, Doc: "identity of the sender; empty of incoming mail"},
}

var rollupCounts = []Column{
	{Name: "bytes", Type: UInt64, Doc: "bytes received"},
	{Name: "recipients", Of: uniqState, Doc: "different recipients, as a state that merges: `uniqCombinedMerge(12)(recipients)`"},
	{Name: "invalid_recipients", Type: UInt64, Doc: "messages whose recipient was invalid, as `reports.invalid_recipient` said when the hour was computed"},
	{Name: "invalid_senders", Type: UInt64, Doc: "messages whose sender was invalid, as `reports.invalid_sender` said then"},
}

// The rollups.
var (
	MessagesHourly = newRollup(Rollup{
		View: View{Name: "messages_hourly", Doc: "Messages of an hour by domain, user, identity, class and status. It is behind the events by a minute; what comes more than two days after its hour is counted within the hour."},
		Key:  []Column{{Name: "class_norm", Type: Word, Doc: "class in one spelling"}, {Name: "status_norm", Type: Word, Doc: "latest status in one spelling"}},
		Values: []Column{
			{Name: "messages", Type: UInt64, Doc: "messages, each recipient one"},
		},
		OrderBy: "domain, hour, direction, auth_user, identity, class_norm, status_norm",
	})
	SendersHourly = newRollup(Rollup{
		View: View{Name: "senders_hourly", Doc: fmt.Sprintf("The senders of an hour who count: of each direction the %d with the most messages, and the %d with the most that were rejected or quarantined.", SendersOfHour, SendersOfHour)},
		Key:  []Column{{Name: "sender", Type: Text, Doc: "envelope sender in lower case"}},
		Values: []Column{
			{Name: "messages", Type: UInt64, Doc: "messages, each recipient one"},
			{Name: "accepted", Type: UInt64, Doc: "of these, `class_group` accepted when the hour was computed"},
			{Name: "rejected", Type: UInt64, Doc: "rejected"},
			{Name: "temporarily_rejected", Type: UInt64, Doc: "temporarily rejected"},
			{Name: "quarantined", Type: UInt64, Doc: "quarantined"},
		},
		OrderBy: "hour, direction, domain, auth_user, identity, sender",
	})
)

// Rollups are all rollups.
func Rollups() []*Rollup { return []*Rollup{MessagesHourly, SendersHourly} }

// SendersOfHour bounds senders_hourly.
const SendersOfHour = 1000

// rollupBudget is how many events one refresh reads at most, unless one hour has more.
const rollupBudget = 5_000_000

func newRollup(r Rollup) *Rollup {
	text, err := rollupFiles.ReadFile("rollups/" + r.View.Name + ".sql")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	r.text = strings.TrimSpace(string(text))
	r.Key = append(rollupHead[:len(rollupHead):len(rollupHead)], r.Key...)
	r.Values = append(r.Values, rollupCounts...)
	columns := append(r.Key[:len(r.Key):len(r.Key)], r.Values...)
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	group := ""
	if r.View.Name == "messages_hourly" {
		// Computed when it is read: it follows the configuration's classes at once.
		group = ", {{class_group}} AS class_group"
		columns = append(columns, Column{Name: "class_group", Type: Text, Doc: "as in `messages`"})
	}
	columns = append(columns, Column{Name: "computed_at", Type: Millis, Doc: "when it was counted"})
	r.View.Columns = columns
	r.View.text = "SELECT " + strings.Join(names, ", ") + group + ", computed_at\nFROM {{home}}.`" + r.View.Name + "_rows` FINAL\nWHERE direction != ''"
	return &r
}

// Table is a table that is not one of events.
type Table struct {
	Name      string
	Columns   []Column
	Engine    string // arguments of ReplacingMergeTree
	Partition string
	OrderBy   string
	Ends      bool // after retention.rollups
}

// RollupTables are the tables that hold the rollups.
func RollupTables() []Table {
	all := []Table{{
		Name: "rollup_hours",
		Columns: []Column{
			{Name: "rollup", Type: Word}, {Name: "hour", Type: Seconds}, {Name: "events", Type: UInt64}, {Name: "computed_at", Type: Millis},
		},
		Engine: "computed_at", Partition: "toYear(hour)", OrderBy: "rollup, hour", Ends: true,
	}}
	for _, r := range Rollups() {
		t := Table{Name: r.View.Name + "_rows", Engine: "computed_at, deleted", Partition: "toMonday(hour)", OrderBy: r.OrderBy, Ends: true}
		t.Columns = append(append(t.Columns, r.Key...), r.Values...)
		t.Columns = append(t.Columns,
			Column{Name: "content", Type: UInt64}, Column{Name: "events", Type: UInt64}, Column{Name: "computed_at", Type: Millis}, Column{Name: "deleted", Type: UInt8})
		all = append(all, t)
	}
	return all
}

// Replacing is the beginning of a ReplacingMergeTree's definition, up to its own arguments,
// that has copies where tables of the given engine have.
func Replacing(engine string) string {
	name, args, found := strings.Cut(strings.TrimSuffix(engine, ")"), "(")
	name = strings.Replace(name, "MergeTree", "ReplacingMergeTree", 1)
	if found && args != "" {
		args += ", "
	}
	return name + "(" + args
}

// Create is the statement that makes the table.
func (t Table) Create(l Layout) string {
	engine := l.Engine
	if engine == "" {
		engine = "MergeTree"
	}
	var lines []string
	for _, c := range t.Columns {
		lines = append(lines, "    "+c.Name+" "+c.ClickHouse())
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s%s\n(\n%s\n)\nENGINE = %s%s)\nPARTITION BY %s\nORDER BY (%s)",
		l.name(t.Name), l.onCluster(), strings.Join(lines, ",\n"), Replacing(engine), t.Engine, t.Partition, t.OrderBy)
}

// TTL is the table's TTL expression: the rows of a part end together.
func (t Table) TTL(r Retention) string {
	return fmt.Sprintf("toDateTime(toMonday(hour)) + toIntervalDay(7) + toIntervalSecond(%d)", int64(r.Rollups/time.Second))
}

// ModifyTTL is the statement that sets it.
func (t Table) ModifyTTL(l Layout, r Retention) string {
	return fmt.Sprintf("ALTER TABLE %s%s MODIFY TTL %s", l.name(t.Name), l.onCluster(), t.TTL(r))
}
