package cmd

import (
	"strings"
	"testing"

	"millrace/internal/embedded/embeddedtest"
	"millrace/query/querytest"
)

func TestSearch(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	database := querytest.Tables(t,
		`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, sender_ip, status, status_norm, class_norm, subject_header, direction) VALUES
		('2026-11-20 10:00:00', '2026-11-20 10:00:00', '2026-11-20 10:00:00', '1xULPU-000001-O4', 'a.example', 's@a.example', 'r@far.example', '192.0.2.1', 'queued', 'queued', 'not-spam', 'first', 'outgoing'),
		('2026-11-20 11:00:00', '2026-11-20 11:00:00', '2026-11-20 11:00:00', '1xUMLY-000002-O4', 'b.example', 's@b.example', 'r@far.example', '2001:db8::1', 'quarantined', 'quarantined', 'spam', 'second\x1b[31m', 'incoming')`,
		`INSERT INTO status_events (event_time, id_time, received_at, id, domain, recipient, status, status_norm, delivery_data) VALUES ('2026-11-20 10:05:00', '2026-11-20 10:00:00', '2026-11-20 10:05:00', '1xULPU-000001-O4', 'a.example', 'r@far.example', 'delivered', 'delivered', '250 2.0.0 ok')`)
	path := configured(t, database, ch.Reader.Password)
	ask := func(args ...string) result {
		return execute(t, "", append([]string{args[0], "--config", path}, args[1:]...)...)
	}
	day := []string{"--since", "2026-11-20", "--until", "2026-11-21"}
	search := func(args ...string) result { return ask(append(append([]string{"search"}, day...), args...)...) }
	search("--columns", "id,sender_ip,status_norm", "--format", "tsv").want(t, 0, "1xUMLY-000002-O4\t2001:db8::1\tquarantined\n1xULPU-000001-O4\t192.0.2.1\tdelivered\n", "")
	search("sender", "ends", "@A.example", "--columns", "id,first_time", "--format", "csv", "--tz", "Europe/Sofia").
		want(t, 0, "id,first_time (Europe/Sofia)\r\n1xULPU-000001-O4,2026-11-20 12:00:00.000\r\n", "")
	search("--domain", "B.example", "--columns", "id", "--format", "json").want(t, 0, "[\n{\"id\":\"1xUMLY-000002-O4\"}\n]\n", "")
	search("--domain", "c.example", "--columns", "id", "--format", "json").want(t, 0, "[]\n", "")
	search("--limit", "0", "--asc", "--columns", "id", "--format", "ndjson").want(t, 0, "{\"id\":\"1xULPU-000001-O4\"}\n{\"id\":\"1xUMLY-000002-O4\"}\n", "")
	search("--kind", "status", "delivery_data contains ok", "--columns", "id", "--format", "tsv").want(t, 0, "1xULPU-000001-O4\n", "")
	r := search("--limit", "1")
	r.contains(t, 0, "first_time (UTC)", "1xUMLY-000002-O4", "1 row in ", "2026-11-20 00:00:00 to 2026-11-21 00:00:00 (UTC)", "there are more: --page 2")
	if strings.Contains(r.out, "\x1b") {
		t.Errorf("a subject drives the terminal: %q", r.out)
	}
	search("--limit", "1", "--page", "2", "--columns", "id", "--format", "tsv").want(t, 0, "1xULPU-000001-O4\n", "")
	// An id is looked up in all times.
	ask("search", "id is 1xULPU-000001-O4", "--columns", "id", "--format", "tsv").want(t, 0, "1xULPU-000001-O4\n", "")
	ask("search", "--fields", "--kind", "spamdyke").contains(t, 0, "origin_rdns", "reverse DNS name of the client")
	for args, want := range map[string]string{
		"sender":              "want is, is not, contains",
		"sendr is x":          `it has no such field`,
		"sender_ip is x":      "want an address",
		"sender in range 1..": "a text does not compare so",
		"--kind=no":           `cannot search "no"`,
		"--format=xml":        "want table, csv, tsv, json or ndjson",
		"--page=0":            "a page from 1",
		"--tz=Nowhere/City":   "want the name of a zone",
		"--columns=x":         `cannot show column "x"`,
		"--sort=flags":        `cannot sort by "flags"`,
		"--last=-1h":          "want how long",
		"--since=yesterday":   "want a time as 2026-11-25",
	} {
		r := ask("search", args)
		if r.code != 2 || !strings.Contains(r.errs, want) {
			t.Errorf("%s: %d %s, want %s", args, r.code, r.errs, want)
		}
	}
	ask("message", "1xULPU-000001-O4").contains(t, 0, "sender                 s@a.example", "status_norm            delivered", "delivery_enhanced      2.0.0", "events (times in UTC)", "queued: first")
	ask("message", "1xUP9k-000009-O4").contains(t, 1, `cannot find the message "1xUP9k-000009-O4"`)
}
