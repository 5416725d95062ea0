package query

import (
	"fmt"
	"strings"
	"testing"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

// life is the life of a message: its six events in their order, of which two are of one
// second and one comes twice. The first is the message.
var life = []struct{ at, word, data string }{
	{"12:00:00", "accepted", ""},
	{"12:00:01", "queued", ""},
	{"12:05:00", "queued", "SMTP error from remote mail server after RCPT TO:<r@example.net>: 450 4.7.1 later"},
	{"12:20:00", "queued", "SMTP error from remote mail server after end of data: 451-4.3.0 busy"},
	{"12:20:00", "delivered", "250 2.0.0 ok"},
	{"12:20:00", "delivered", "250 2.0.0 ok"},
}

// Whatever the order in which the events of a message arrive, its state is the same.
func TestMessages_AnyOrder(t *testing.T) {
	t.Parallel()
	var messages, statuses []string
	lives := 0
	for _, order := range permutations(len(life)) {
		id := fmt.Sprintf("1lJZQT-%06d-O4", lives)
		lives++
		for arrived, i := range order {
			e := life[i]
			row := fmt.Sprintf("('2026-11-20 %s', '2026-11-20 12:00:00', '2026-11-20 13:00:0%d', '%s', 'mx1', 'example.net', 'r@example.net', '%[4]s', '%[4]s', ", e.at, arrived, id, e.word)
			place := fmt.Sprintf("1, %d, %d)", arrived%3, lives*len(life)+arrived)
			if i == 0 {
				messages = append(messages, row+"'s@example.org', 'bob@example.org', 'incoming', 'message', "+place)
			} else {
				statuses = append(statuses, row+"'"+e.data+"', 'status', "+place)
			}
		}
	}
	database := tables(t,
		"INSERT INTO message_events (event_time, id_time, received_at, id, filtering_host, domain, recipient, status, status_norm, sender, auth_user, direction, k_topic, k_epoch, k_part, k_off) VALUES "+strings.Join(messages, ", "),
		"INSERT INTO status_events (event_time, id_time, received_at, id, filtering_host, domain, recipient, status, status_norm, delivery_data, k_topic, k_epoch, k_part, k_off) VALUES "+strings.Join(statuses, ", "))
	rows := answer(t, database, `SELECT count(), first_time, last_time, status_norm, attempts, sender, direction, has_message, delivery_data, delivery_code, delivery_enhanced, delivery_phase
		FROM messages GROUP BY ALL`)
	want := "720 2026-11-20 12:00:00.000 2026-11-20 12:20:00.000 delivered 3 s@example.org outgoing 1 250 2.0.0 ok 250 2.0.0 "
	if len(rows) != 1 || rows[0] != want {
		t.Errorf("%q, want %q", rows, want)
	}
}

// permutations are all orders of n things.
func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, append(append(append([]int{}, p[:at]...), n-1), p[at:]...))
		}
	}
	return all
}

// What is asked of the view reaches the keys of both tables: the granules that are read say
// so, whatever the machine.
func TestMessages_Reads(t *testing.T) {
	t.Parallel()
	const common = "concat('1lJZQT-', leftPad(toString(number), 6, '0'), '-O4'), 'mx1', concat('d', toString(cityHash64(number) % 200), '.example'), 'r@example.net'"
	const from = " FROM (SELECT number, toDateTime('2026-01-01 00:00:00', 'UTC') + 20 * number AS at FROM numbers(400000))"
	database := tables(t,
		"INSERT INTO message_events (id_time, event_time, received_at, id, filtering_host, domain, recipient, sender) SELECT at, at, now64(3), "+common+", 's@example.org'"+from,
		"INSERT INTO status_events (id_time, event_time, received_at, id, filtering_host, domain, recipient, status_norm) SELECT at, at + 5, now64(3), "+common+", 'delivered'"+from)
	f := func(name, where string, want int) {
		t.Helper()
		if n := len(answer(t, database, "SELECT id FROM messages WHERE "+where)); n != want {
			t.Errorf("%s: %d rows, want %d", name, n, want)
		}
		plan := strings.Join(answer(t, database, "SELECT explain FROM (EXPLAIN indexes = 1 SELECT * FROM messages WHERE "+where+")"), "\n")
		for _, table := range []string{"message_events", "status_events"} {
			_, read, found := strings.Cut(plan, "ReadFromMergeTree ("+database+"."+table+")")
			if !found {
				t.Fatalf("%s: no reading of %s:\n%s", name, table, plan)
			}
			read, _, _ = strings.Cut(read, "ReadFromMergeTree")
			var some, last, of int
			for rest := read; ; {
				_, after, more := strings.Cut(rest, "Granules: ")
				if !more {
					break
				}
				if n, _ := fmt.Sscanf(after, "%d/%d", &some, &last); n == 2 {
					of = max(of, last)
				}
				rest = after
			}
			if some == 0 || some > of/4 || of < 40 {
				t.Errorf("%s: %d of %d granules of %s are read:\n%s", name, some, of, table, plan)
			}
		}
	}
	f("domain and day", "domain = 'd7.example' AND id_time >= '2026-02-01 00:00:00' AND id_time < '2026-02-02 00:00:00'", 24)
	f("id", "id = '1lJZQT-004711-O4'", 1)
	// A page: the keys are found with few columns, the rows by them.
	const key = "(domain, id_time, id, recipient, filtering_host)"
	f("page", key+" IN (SELECT domain, id_time, id, recipient, filtering_host FROM messages WHERE domain = 'd7.example' AND id_time >= '2026-02-01 00:00:00' AND id_time < '2026-02-05 00:00:00' ORDER BY id_time DESC LIMIT 50)", 50)
}

// The view has the columns that the documentation lists.
func TestViews_Columns(t *testing.T) {
	t.Parallel()
	database := tables(t)
	for _, v := range schema.Views() {
		var want []string
		for _, f := range v.Columns {
			want = append(want, f.Name+" "+f.ClickHouse())
		}
		got := answer(t, database, "SELECT name, type FROM system.columns WHERE database = '"+database+"' AND table = '"+v.Name+"' ORDER BY position")
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s has\n%q, documented are\n%q", v.Name, got, want)
		}
	}
}

// The group is that of the status where it decides, else that of the class, else accepted.
func TestMessages_ClassGroup(t *testing.T) {
	t.Parallel()
	classes, err := schema.NewClassTable([]schema.OwnClass{
		{Word: "Grey List", Class: "greylisted", Group: schema.TemporarilyRejected},
		{Word: "junk", Class: "spam"},
		{Word: "unsure", Group: schema.Quarantined, Advice: "It's for you to decide: C:\\spam"},
	})
	if err != nil {
		t.Fatal(err)
	}
	database := tables(t, "INSERT INTO message_events (received_at, id, status_norm, class_norm) VALUES "+
		"(now64(3), 'a', 'delivered', 'not-spam'), (now64(3), 'b', 'delivered', 'spam'), (now64(3), 'c', 'quarantined', 'not-spam'), (now64(3), 'd', 'queued', ''), "+
		"(now64(3), 'e', 'no-word-of-ours', ''), (now64(3), 'f', 'temporarily-rejected', 'spam'), (now64(3), 'g', 'not-accepted', 'allow-list'), (now64(3), 'h', 'queued', 'unsure'), "+
		"(now64(3), 'i', 'queued', 'grey-list'), (now64(3), 'j', 'queued', 'junk'), (now64(3), 'k', 'quarantine-removed', 'spam'), (now64(3), 'l', '', 'locked')")
	f := func(want string) {
		t.Helper()
		if got := strings.Join(answer(t, database, "SELECT concat(id, ':', class_norm, ':', class_group) FROM messages ORDER BY id"), " "); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	f("a:not-spam:accepted b:spam:rejected c:not-spam:quarantined d::accepted e:: f:spam:temporarily-rejected g:allow-list:rejected h:unsure:accepted i:grey-list:accepted j:junk:accepted k:spam:quarantined l:locked:rejected")
	for _, v := range schema.Views() {
		if err := embeddedtest.Connect(t, database).Exec(t.Context(), v.Create(schema.ViewSettings{Classes: classes}, database, "", true)); err != nil {
			t.Fatal(err)
		}
	}
	f("a:not-spam:accepted b:spam:rejected c:not-spam:quarantined d::accepted e:: f:spam:temporarily-rejected g:allow-list:rejected h:unsure:quarantined i:greylisted:temporarily-rejected j:spam:rejected k:spam:quarantined l:locked:rejected")
	got := strings.Join(answer(t, database, "SELECT concat(word, ':', class, ':', `group`, ':', advice) FROM classes WHERE own ORDER BY word"), " ")
	if want := "grey-list:greylisted:temporarily-rejected: greylisted:greylisted:temporarily-rejected: junk:spam:rejected:" + classes.Spellings()[12].Advice + " unsure:unsure:quarantined:It's for you to decide: C:\\spam"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if n := answer(t, database, "SELECT count() FROM classes")[0]; n != fmt.Sprint(len(classes.Spellings())) {
		t.Error(n, "rows")
	}
}

// answer is the rows of a query as text, a blank between columns.
func answer(t *testing.T, database, query string) (all []string) {
	t.Helper()
	rows, err := embeddedtest.Connect(t, database).Query(t.Context(), "SELECT arrayStringConcat(array(* APPLY(toString)), ' ') FROM ("+query+")")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
