package cmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded/embeddedtest"
	"millrace/transformer/audit"
)

func TestReplay_Usage(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		execute(t, "", append([]string{"replay"}, args...)...).want(t, 2, "", "millrace: cannot understand the command line: "+want+"\nSee 'millrace replay --help'.\n")
	}
	const which = "what is to be done again? one of --rejects, --kind message|status, --topic message|status|reject"
	f(which)
	f(which, "--rejects", "--topic", "message")
	f(which, "--kind", "message", "--topic", "message")
	f(which, "--rejects=false")
	f("--reason goes with --rejects, not with --kind", "--kind", "message", "--since", "1h", "--reason", "short")
	f("--since goes with --rejects and --kind, not with --topic", "--topic", "message", "--since", "1h")
	f("--from-offset goes with --topic, not with --rejects", "--rejects", "--from-offset", "7")
	f(`--kind "reject": message or status; rejects are --rejects`, "--kind", "reject", "--since", "1h")
	f("--kind: which? --since TIME, as 2026-11-25, 2026-11-25T14:00:00Z or 48h", "--kind", "message")
	f(`--until "2h" is not after --since "1h"`, "--kind", "message", "--since", "1h", "--until", "2h")
	f(`--topic "mail": message, status or reject`, "--topic", "mail")
	f("--to-offset is one partition's: --partition PARTITION", "--topic", "message", "--to-offset", "7")
	f("either --from or --from-offset", "--topic", "message", "--partition", "0", "--from", "1h", "--from-offset", "7")
	f("--from-offset -1 is none", "--topic", "message", "--partition", "0", "--from-offset", "-1")
	f("--from-offset 8 is beyond --to-offset 7", "--topic", "message", "--partition", "0", "--from-offset", "8", "--to-offset", "7")
	f(`--from "noon": want a time as 2026-11-25, 2026-11-25 14:00 or 2026-11-25T14:00:00Z, or how long ago, as 48h or 7d`, "--topic", "message", "--from", "noon")
}

// writing is the configuration of one who may insert, whose listener has the template.
func (w *auditWorld) writing(template string) string {
	w.t.Helper()
	ch := embeddedtest.ClickHouse(w.t)
	return file(w.t, "writing.yaml", fmt.Sprintf(`
listeners:
  - {name: filter, address: "tcp://127.0.0.1:5514", formats: [ours], raw: always}
formats:
  - {name: ours, kind: message, template: '%s'}
kafka: {brokers: ['%s']}
clickhouse: {addresses: ['%s'], database: %s, username: %s, password: '%s'}
`, template, w.cluster.ListenAddrs()[0], ch.NativeAddr, w.database, ch.Admin.User, ch.Admin.Password))
}

// The words for events that were decoded wrongly, before and after they are mended.
func TestReplay_Kind(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	w.exec(`INSERT INTO message_events (received_at, listener, raw, k_topic, k_epoch, k_off) SELECT '2026-11-04 12:00:00', 'filter', '<14>"ours","x","a@x.example","b@y.example"', 'message', 1, number FROM numbers(300)`)
	w.exec(`INSERT INTO message_events (received_at, listener, k_topic, k_epoch, k_off) SELECT '2026-11-04 12:00:00', 'filter', 'message', 1, number FROM numbers(300, 40)`)
	wrong, right := w.writing(`"ours","%(id)s","%(sender)s","%(recipient)s"`), w.writing(`"ours","%(id)s","%(recipient)s","%(sender)s"`)
	run := func(config string, more ...string) result {
		t.Helper()
		return execute(t, "", append([]string{"replay", "--kind", "message", "--since", "2026-11-04", "--until", "2026-11-05", "--config", config}, more...)...)
	}
	run(wrong, "--insert").contains(t, 0, "300 rows replaced\n")
	const found = `340 rows of message_events
         40 keep no frame: they stay as they are
        300 are different
what is different:
        300 sender                 "a@x.example" -> "b@y.example"
        300 recipient              "b@y.example" -> "a@x.example"
`
	run(right).want(t, 0, found+"nothing was replaced: --insert does that\n", "")
	run(right, "--insert").want(t, 0, found+"300 rows replaced\n", "")
	run(right, "--insert").want(t, 0, "340 rows of message_events\n         40 keep no frame: they stay as they are\n        300 are the same with this configuration\n0 rows replaced\n", "")
	w.audit(0, audit.Report{Rows: 340}, "--kafka", "off")
	run(right, "--format", "theirs").contains(t, 1, `cannot decode as format "theirs"`)
}

// The words for records whose rows are gone.
func TestReplay_Topic(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	config := w.writing(`"ours","%(id)s"`)
	run := func(more ...string) result {
		t.Helper()
		return execute(t, "", append([]string{"replay", "--config", config, "--topic"}, more...)...)
	}
	run("message").contains(t, 1, `millrace: cannot read again: group "millrace" has confirmed nothing of topic "millrace.message"`, "is kafka.group right?")
	w.produce(300, w.now)
	w.rows("message_events", 1, 0, 200, w.now)
	w.commit(290, 1)
	const found = "290 records of topic message\n        200 have their row\n         90 have none in message_events\n"
	run("message").want(t, 0, found+"nothing was inserted: --insert does that\n", "")
	run("millrace.message", "--to", w.now.Add(time.Hour).Format(time.RFC3339)).want(t, 0,
		found+"         10 offsets more are not confirmed yet: the transformers insert them\nnothing was inserted: --insert does that\n", "")
	run("message", "--partition", "0", "--from-offset", "190", "--to-offset", "210").contains(t, 0, "20 records", "10 have none in message_events")
	r := run("message", "--partition", "0", "--from-offset", "190", "--to-offset", "300")
	r.contains(t, 1, "cannot read offsets 190 to 300 of millrace.message/0 again", "use --to-offset 290")
	if strings.Contains(r.out, "records") {
		t.Errorf("%+v", r)
	}
	w.audit(1, audit.Report{Rows: 200, Missing: 90, Lag: 10})
	run("message", "--insert").want(t, 0, found+"90 rows inserted\n", "")
	run("message", "--insert").want(t, 0, "290 records of topic message\n        290 have their row\n0 rows inserted\n", "")
	w.audit(0, audit.Report{Rows: 290, Lag: 10})
}
