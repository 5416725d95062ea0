package query

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"millrace/internal/embedded/embeddedtest"
)

// A message that came by a qmail server and the filter, others between the same people, and
// one with the same PID a month later.
var trailRows = []string{
	`INSERT INTO spamdyke_verdicts (event_time, received_at, syslog_host, code, domain, sender, recipient, origin_ip, reason, qmail_time, qp)
		VALUES ('2021-03-09 10:43:51', now64(3), 'mx1', 'ALLOWED', 'example.com', 'a@example.org', 'r@example.com', '192.0.2.12', '250_ok_1615286631_qp_15309', 1615286631, 15309)`,
	`INSERT INTO smtp_transactions (event_time, received_at, syslog_host, domain, sender, recipients, check_client_ips, accepted, reply, qmail_time, qp)
		VALUES ('2021-03-09 10:43:51', now64(3), 'mx1', 'example.com', 'a@example.org', ['r@example.com', 'q@example.com'], ['::', '198.51.100.25'], 1, '250 ok 1615286631 qp 15309', 1615286631, 15309),
		('2021-04-09 10:43:51', now64(3), 'mx1', 'example.com', 'z@example.org', ['r@example.com'], [], 1, '250 ok 1617957831 qp 15309', 1617957831, 15309)`,
	`INSERT INTO delivery_attempts (event_time, received_at, syslog_host, domain, sender, recipient, outcome, channel, text, qp)
		VALUES ('2021-03-09 10:43:52', now64(3), 'mx1', 'example.com', 'a@example.org', 'r@example.com', 'deferral', 'remote', 'Connected_to_198.51.100.7_but_connection_died._(#4.4.2)/', 0),
		('2021-03-09 11:00:00', now64(3), 'mx1', 'example.com', 'a@example.org', 'q@example.com', 'success', 'local', 'did_1+0+0/', 15309),
		('2021-04-09 11:00:00', now64(3), 'mx1', 'example.com', 'z@example.org', 'r@example.com', 'success', 'local', 'did_1+0+0/', 15309),
		('2021-03-09 10:50:00', now64(3), 'mx1', 'example.com', 'other@example.org', 'r@example.com', 'success', 'local', 'did_1+0+0/', 0)`,
	`INSERT INTO message_events (event_time, id_time, received_at, filtering_host, id, domain, sender, recipient, sender_ip, status, main_class, subject_header)
		VALUES ('2021-03-09 10:43:53', '2021-03-09 10:43:53', now64(3), 'filter1', '1lJZQT-0004M4-O4', 'example.com', 'a@example.org', 'r@example.com', '192.0.2.12', 'delivered', 'not-spam', 'Hello')`,
	`INSERT INTO status_events (event_time, id_time, received_at, filtering_host, id, domain, recipient, delivery_ip, status, delivery_fqdn, delivery_data)
		VALUES ('2021-03-09 10:43:54', '2021-03-09 10:43:53', now64(3), 'filter1', '1lJZQT-0004M4-O4', 'example.com', 'r@example.com', '192.0.2.9', 'delivered', 'mx.example.com', '250 ok')`,
	`INSERT INTO feedback_reports (event_time, received_at, id, domain, sender, recipients, source_ip, feedback_type, user_agent, subject_header)
		VALUES ('2021-03-09 12:00:00', now64(3), '1lJZQT-0004M4-O4', 'example.org', 'a@example.org', ['r@example.com'], '192.0.2.12', 'abuse', 'SpamExperts', 'Hello')`,
	`INSERT INTO quarantine_messages (event_time, received_at, server, id, domain, from_header, to_header, client, folder, evidence)
		VALUES ('2021-03-09 10:43:53', now64(3), 'imap1', '1lJZQT-0004M4-O4', 'example.org', 'a@example.org', 'r@example.com', '192.0.2.77', 'Caught', 'Combined (0.97)')`,
}

func TestTrail(t *testing.T) {
	t.Parallel()
	o := reader(t, tables(t, trailRows...))
	f := func(name, report string, params map[string]string) {
		t.Helper()
		r, err := FindReport(report)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := RunReport(t.Context(), o, r, params, &out, Table); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, "trail_"+name+".table", out.Bytes())
	}
	f("id", "trail_of_id", map[string]string{"id": "1lJZQT-0004M4-O4"})
	f("qp", "trail_of_qp", map[string]string{"epoch": "1615286631", "qp": "15309"})
	f("qp_alone", "trail_of_qp", map[string]string{"qp": "15309"})
	f("address", "trail_of_address", map[string]string{"address": "A@Example.org"})
	f("address_since", "trail_of_address", map[string]string{"address": "r@example.com", "since": "2021-03-09 11:00:00", "until": "2021-04-09 11:00:00"})
	f("nobody", "trail_of_id", map[string]string{"id": "1lJZQT-0004M4-ZZ"})
}

// The id is looked up in the bloom filter, and not in all rows.
func TestTrail_Reads(t *testing.T) {
	t.Parallel()
	database := tables(t, `INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient)
		SELECT now64(3), now(), now64(3), concat('1lJZQT-', leftPad(toString(number), 6, '0'), '-O4'), concat('d', toString(number % 1000)), 's', 'r' FROM numbers(500000)`)
	admin := embeddedtest.Connect(t, database)
	rows, err := admin.Query(t.Context(), "EXPLAIN indexes = 1 SELECT * FROM message_trail WHERE id = '1lJZQT-004711-O4'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&plan, line)
	}
	_, of, found := strings.Cut(plan.String(), "Name: i_id")
	if !found {
		t.Fatalf("the index is not used:\n%s", plan.String())
	}
	var some, all int
	if _, err := fmt.Sscanf(of[strings.Index(of, "Granules: "):], "Granules: %d/%d", &some, &all); err != nil || some > all/4 || all < 20 {
		t.Errorf("%d of %d granules are read (%v)", some, all, err)
	}
}
