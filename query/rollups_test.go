package query

import (
	"fmt"
	"strings"
	"testing"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

// rollups is a database whose rollups are computed when the test says so.
type rollups struct {
	t        *testing.T
	database string
}

func (r rollups) exec(queries ...string) {
	r.t.Helper()
	conn := embeddedtest.Connect(r.t, r.database)
	for _, q := range queries {
		if err := conn.Exec(r.t.Context(), q); err != nil {
			r.t.Fatalf("%s: %v", q, err)
		}
	}
}

// refresh runs both rollups' views of that kind, "refresh" or "heal".
func (r rollups) refresh(kind string) {
	r.t.Helper()
	for _, p := range schema.Rollups() {
		view := p.View.Name + "_" + kind
		r.exec("SYSTEM REFRESH VIEW "+view, "SYSTEM WAIT VIEW "+view)
	}
}

func (r rollups) one(query string) string {
	r.t.Helper()
	rows := answer(r.t, r.database, query)
	if len(rows) != 1 {
		r.t.Fatalf("%s: %d rows", query, len(rows))
	}
	return rows[0]
}

const hourlyKey = "hour, direction, domain, auth_user, identity, class_norm, status_norm"

// equal holds messages_hourly against the messages, row by row.
func (r rollups) equal(when string) {
	r.t.Helper()
	counted := "SELECT " + hourlyKey + ", class_group, messages, bytes, finalizeAggregation(recipients) AS recipients, invalid_recipients, invalid_senders FROM messages_hourly"
	messages := `SELECT toStartOfHour(id_time) AS hour, direction, domain, auth_user, identity, class_norm, status_norm, class_group, count() AS messages, sum(incoming_size) AS bytes,
		uniqCombined(12)(lower(recipient)) AS recipients, countIf(sub_class = 'Invalid recipient') AS invalid_recipients, countIf(sub_class IN ('invalid sender', 'sender-verify')) AS invalid_senders
		FROM messages WHERE has_message = 1 GROUP BY ALL`
	for _, d := range []struct{ what, query string }{
		{"counted, and not so", counted + " EXCEPT " + messages}, {"so, and not counted", messages + " EXCEPT " + counted},
	} {
		if rows := answer(r.t, r.database, "SELECT * FROM ("+d.query+") LIMIT 3"); len(rows) > 0 {
			r.t.Errorf("%s: %s: %q", when, d.what, rows)
		}
	}
	if n := r.one("SELECT count() > 0, count() = uniqExact(" + hourlyKey + ") FROM messages_hourly"); n != "1 1" {
		r.t.Errorf("%s: rows, and each key once: %s", when, n)
	}
}

// traffic are messages number FROM to TO of the last hours, a hundred an hour, and the
// statuses of half of them.
func (r rollups) traffic(from, to int) {
	r.t.Helper()
	const common = "toStartOfHour(now() - toIntervalHour(1 + intDiv(number, 100) % 30)) + number % 3000"
	numbers := fmt.Sprintf("FROM numbers(%d, %d)", from, to-from)
	r.exec("INSERT INTO message_events (id_time, event_time, received_at, id, filtering_host, domain, recipient, sender, auth_user, identity, incoming_size, class_norm, sub_class, status_norm, direction, k_off) SELECT "+common+
		" AS id_time, id_time, now64(3), concat('m', toString(number)), 'mx1', concat('d', toString(number % 7), '.example'), concat('R', toString(number % 11), '@example.net'), concat('S', toString(number % 13), '@example.org'), "+
		"if(number % 3 = 0, 'u@d.example', ''), if(number % 6 = 0, concat('i', toString(number % 5)), ''), 1000 + number, ['spam', 'not-spam', 'junk', ''][1 + number % 4], "+
		"['invalid sender', 'Invalid recipient', 'sender-verify', 'dnsbl', ''][1 + number % 5], 'queued', 'incoming', number "+numbers,
		"INSERT INTO status_events (id_time, event_time, received_at, id, filtering_host, domain, recipient, status_norm, k_off) SELECT "+common+
			" AS id_time, id_time + 60, now64(3), concat('m', toString(number)), 'mx1', concat('d', toString(number % 7), '.example'), concat('R', toString(number % 11), '@example.net'), 'delivered', number "+numbers+" WHERE number % 2 = 0")
}

func TestRollups(t *testing.T) {
	t.Parallel()
	r := rollups{t, tables(t)}
	r.traffic(0, 3000)

	// An insert counts nothing, and nothing that counts hangs on the tables of events.
	r.exec("SYSTEM STOP VIEW messages_hourly_refresh", "SYSTEM STOP VIEW messages_hourly_heal")
	if n := r.one("SELECT countIf(arrayExists(t -> t IN ('message_events', 'status_events'), dependencies_table)) FROM system.tables WHERE database = currentDatabase() AND name LIKE '%\\\\_hourly%'"); n != "0" {
		t.Error(n, "views are called at inserts")
	}
	if n := r.one("SELECT groupUniqArray(arrayJoin(dependencies_table)) FROM system.tables WHERE database = currentDatabase() AND name IN ('message_events', 'status_events')"); n != "[]" {
		t.Error("inserts call", n)
	}
	r.exec("SYSTEM START VIEW messages_hourly_refresh", "SYSTEM START VIEW messages_hourly_heal")

	r.refresh("refresh")
	r.equal("new events")

	// Again: no row is written.
	written := r.one("SELECT count() FROM messages_hourly_rows")
	r.refresh("refresh")
	r.refresh("heal")
	if n := r.one("SELECT count() FROM messages_hourly_rows"); n != written {
		t.Errorf("%s rows, and %s when nothing has happened", written, n)
	}
	r.equal("nothing new")

	// A status moves a message from one key to another: its old key goes where it was alone.
	r.exec("INSERT INTO status_events (id_time, event_time, received_at, id, filtering_host, domain, recipient, status_norm, k_off) " +
		"SELECT id_time, event_time + 120, now64(3), id, filtering_host, domain, recipient, 'bounced', k_off FROM message_events WHERE status_norm = 'queued' AND domain = 'd3.example'")
	r.refresh("refresh")
	r.equal("statuses")
	if n := r.one("SELECT countIf(status_norm = 'bounced') > 0, countIf(status_norm IN ('queued', 'delivered')) FROM messages_hourly WHERE domain = 'd3.example'"); n != "1 0" {
		t.Error("keys that no message has any more:", n)
	}

	// More messages, of hours that are counted and of new ones.
	r.traffic(3000, 3500)
	r.refresh("refresh")
	r.equal("more messages")
	sum := r.one("SELECT sum(messages), sum(bytes), uniqCombinedMerge(12)(recipients) FROM messages_hourly")
	if want := r.one("SELECT count(), sum(incoming_size), uniqExact(lower(recipient)) FROM messages"); sum != want {
		t.Errorf("%s over all hours, want %s", sum, want)
	}
	if n := r.one("SELECT sum(messages), sum(accepted + rejected + temporarily_rejected + quarantined), max(uniqCombinedMerge(12)(recipients)) OVER () > 5 FROM senders_hourly GROUP BY ()"); n != "3500 3500 1" {
		t.Error("senders_hourly:", n)
	}
}

// What the view of each minute cannot see the one of each hour does.
func TestRollups_Heal(t *testing.T) {
	t.Parallel()
	r := rollups{t, tables(t)}
	r.exec("SYSTEM STOP VIEW messages_hourly_heal", "SYSTEM STOP VIEW senders_hourly_heal")
	r.traffic(0, 1000)
	r.refresh("refresh")
	r.equal("before")

	late := "INSERT INTO message_events (id_time, event_time, received_at, id, filtering_host, domain, recipient, sender, status_norm, k_off) SELECT toStartOfHour(now()) - %s AS id_time, id_time, id_time + 1, '%s', 'mx1', 'd1.example', 'r@example.net', 's@example.org', 'delivered', 7"
	r.exec(fmt.Sprintf(late, "toIntervalHour(20)", "late1"), fmt.Sprintf(late, "toIntervalDay(30)", "late2"))
	r.refresh("refresh")
	if n := r.one("SELECT sum(messages) FROM messages_hourly"); n != "1000" {
		t.Error(n, "messages are counted, though events that came long ago are not looked for")
	}
	r.exec("SYSTEM START VIEW messages_hourly_heal", "SYSTEM START VIEW senders_hourly_heal")
	r.refresh("heal")
	r.equal("late events")

	// A frame that was decoded again changes no number of rows.
	r.exec("ALTER TABLE message_events UPDATE class_norm = 'virus', revision = revision + 1 WHERE id = 'late1' SETTINGS mutations_sync = 2")
	r.refresh("heal")
	r.equal("corrected events")

	// What retention takes from the events stays counted; the hour is not counted again for the rest.
	before := r.one("SELECT sum(messages) FROM messages_hourly")
	r.exec("ALTER TABLE message_events DELETE WHERE domain != 'd1.example' SETTINGS mutations_sync = 2",
		fmt.Sprintf(late, "toIntervalDay(30)", "late3"))
	r.refresh("heal")
	if n := r.one(fmt.Sprintf("SELECT sum(messages) = %s + 1 FROM messages_hourly", before)); n != "1" {
		t.Error("retention has changed what was counted:", n)
	}

	// A wrong clock counts nowhere.
	r.exec(strings.Replace(fmt.Sprintf(late, "toIntervalDay(-400)", "early"), "id_time + 1,", "now64(3),", 1))
	r.refresh("heal")
	if n := r.one("SELECT count() FROM messages_hourly WHERE hour > now()"); n != "0" {
		t.Error(n, "rows of the future")
	}
}

// The senders of an hour are bounded: those who send most, and those whose mail is stopped.
func TestRollups_Top(t *testing.T) {
	t.Parallel()
	r := rollups{t, tables(t)}
	const many = 3 * schema.SendersOfHour
	// Sender n has n messages accepted; those of the last thousands have one message only, that is spam.
	r.exec(fmt.Sprintf("INSERT INTO message_events (id_time, event_time, received_at, id, domain, recipient, sender, class_norm, direction) SELECT toStartOfHour(now()) - 3600 AS id_time, id_time, now64(3), concat(toString(number), '-', toString(n)), 'd.example', 'r@example.net', "+
		"concat('s', toString(number), '@example.org'), if(number >= 2000, 'spam', 'not-spam'), 'outgoing' FROM numbers(%d) ARRAY JOIN range(if(number >= 2000, 1, 2 + number %% 3)) AS n", many))
	r.refresh("refresh")
	if n := r.one(fmt.Sprintf("SELECT count() = %d, countIf(rejected > 0), min(messages), max(messages) FROM senders_hourly", 2*schema.SendersOfHour)); n != "1 1000 1 4" {
		t.Error("the senders of an hour:", n)
	}
	if n := r.one("SELECT sum(messages) = (SELECT count() FROM messages) FROM messages_hourly"); n != "1" {
		t.Error("all are counted elsewhere")
	}
	// Somebody who overtakes them puts one of them out.
	r.exec("INSERT INTO message_events (id_time, event_time, received_at, id, domain, recipient, sender, class_norm, direction) SELECT toStartOfHour(now()) - 3600 AS id_time, id_time, now64(3), concat('new', toString(number)), 'd.example', 'r@example.net', 'New@example.org', 'virus', 'outgoing' FROM numbers(50)")
	r.refresh("refresh")
	if n := r.one("SELECT count(), countIf(sender = 'new@example.org' AND messages = 50 AND rejected = 50), countIf(rejected > 0) FROM senders_hourly"); n != strings.Join([]string{fmt.Sprint(2*schema.SendersOfHour - 1), "1", "1000"}, " ") {
		t.Error("after another:", n)
	}
}

// A past that nothing has counted yet is not read every minute: heal counts it, hour by hour.
func TestRollups_Past(t *testing.T) {
	t.Parallel()
	r := rollups{t, tables(t)}
	r.exec("SYSTEM STOP VIEW messages_hourly_heal", "SYSTEM STOP VIEW senders_hourly_heal",
		"INSERT INTO message_events (id_time, event_time, received_at, id, domain, recipient) SELECT now() - toIntervalDay(40) - number % 3600 AS id_time, id_time, id_time, toString(number), 'd.example', 'r@example.net' FROM numbers(50000)")
	r.refresh("refresh")
	if n := r.one("SELECT sum(read_rows) < 1000, count() FROM system.view_refreshes WHERE database = currentDatabase() AND view LIKE '%\\\\_refresh'"); n != "1 2" {
		t.Error("rows read are few, views:", n)
	}
	r.exec("SYSTEM START VIEW messages_hourly_heal", "SYSTEM START VIEW senders_hourly_heal")
	r.refresh("heal")
	if n := r.one("SELECT sum(messages) FROM messages_hourly"); n != "50000" {
		t.Error("counted:", n)
	}
}
