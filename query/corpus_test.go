package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/migrate"
	"millrace/schema"
)

// The corpus: events of all kinds from a fixed seed, in ClickHouse and as what they were
// made of. The answers of the reports are computed from the latter, without SQL.

// corpusDay is the day that the reports are asked about; mail goes back ten days from it,
// and on for some hours after it.
var corpusDay = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// mail is a row of message_events or of status_events.
type mail struct {
	message                              bool
	at, received                         time.Time
	idTime                               time.Time
	id, domain, recipient, host          string
	status, direction                    string
	part                                 uint16
	off                                  uint64
	sender, ip, class, sub               string // of messages
	user, identity, subject              string
	size                                 uint64
	destination, destIP, reply, enhanced string // of statuses
	code                                 uint16
}

type smtpRecipient struct {
	address, reply, check, name, ip string
	code                            uint16
}

type smtpRow struct {
	at                                 time.Time
	domain, direction, session, sender string
	senderCode, code                   uint16
	senderReply, reply                 string
	accepted                           bool
	recipients                         []smtpRecipient
}

type spamdykeRow struct {
	at                                                  time.Time
	domain, direction, code, verdict, sender, recipient string
	ip, rdns, user, reason                              string
}

type deliveryRow struct {
	at                                                           time.Time
	domain, direction, recipient, channel, outcome, text, remote string
	ip, enhanced                                                 string
	code                                                         uint16
}

type feedbackRow struct {
	at                                                     time.Time
	id, domain, direction, kind, sender, user, ip, subject string
	recipients                                             []string
	incidents                                              uint64
}

type quarantineRow struct {
	at, received                                                                     time.Time
	domain, direction, from, to, client, evidence, script, authSender, user, subject string
	uid, size                                                                        uint64
}

// lockRow is the last change of a lock.
type lockRow struct {
	domain, user, identity, reason string
	locked                         bool
}

type corpus struct {
	database   string
	mails      []mail
	smtp       []smtpRow
	spamdyke   []spamdykeRow
	deliveries []deliveryRow
	feedback   []feedbackRow
	quarantine []quarantineRow
	locks      []lockRow

	states func() []state
}

var theCorpus struct {
	sync.Once
	*corpus
	err error
}

// corpusOf is the one corpus of the test binary. Its database ends with the server.
func corpusOf(t *testing.T) *corpus {
	t.Helper()
	server := embeddedtest.ClickHouse(t)
	theCorpus.Do(func() {
		c := makeCorpus()
		c.database = embeddedtest.DatabasePrefix + "_corpus"
		conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{server.NativeAddr}, Auth: clickhouse.Auth{Username: server.Admin.User, Password: server.Admin.Password}})
		if err == nil {
			err = c.insert(context.Background(), conn)
			conn.Close()
		}
		theCorpus.corpus, theCorpus.err = c, err
	})
	if theCorpus.err != nil {
		t.Fatal(theCorpus.err)
	}
	return theCorpus.corpus
}

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// some is one of n, the first ones far more often.
func some(r *rand.Rand, n int) int { return int(float64(n) * r.Float64() * r.Float64() * r.Float64()) }

// when is a second of the corpus: of the days before, the day itself, or the hours after.
func when(r *rand.Rand) time.Time {
	switch n := r.IntN(100); {
	case n < 40:
		return corpusDay.Add(-time.Duration(r.IntN(10*86400)) * time.Second)
	case n < 92:
		return corpusDay.Add(time.Duration(r.IntN(86400)) * time.Second)
	case n < 96: // the borders themselves
		return corpusDay.Add(time.Duration(pick(r, -1, 0, 5*3600-1, 5*3600, 6*3600-1, 6*3600, 86399, 86400)) * time.Second)
	}
	return corpusDay.Add(24*time.Hour + time.Duration(r.IntN(6*3600))*time.Second)
}

var corpusDomains = []string{"a.example", "b.example", "c.example", "xn--bcher-kva.example"}

func makeCorpus() *corpus {
	r := rand.New(rand.NewPCG(6, 2026))
	arrival := time.Now().UTC().Add(-24 * time.Hour).Truncate(time.Second) // the tables forget what came long ago
	c := &corpus{}
	for n := range 1500 {
		c.letter(r, n, when(r), "", "")
	}
	// A run that the filter misses, of somebody who writes little otherwise, and somebody
	// who was never seen before.
	for n := range 90 {
		c.letter(r, 5000+n, corpusDay.Add(5*time.Hour+time.Duration(600+30*n)*time.Second), "mallory@a.example", "not-spam")
	}
	for n := range 12 {
		c.letter(r, 6000+n, corpusDay.Add(-time.Duration(n)*19*time.Hour-time.Minute), "mallory@a.example", "not-spam")
		c.letter(r, 7000+n, corpusDay.Add(3*time.Hour+time.Duration(n)*7*time.Minute), "first@d.example", "spam")
		c.letter(r, 8000+n, corpusDay.Add(5*time.Hour+time.Duration(n)*4*time.Minute), "fresh@b.example", "not-spam")
	}
	c.locks = []lockRow{
		{"a.example", "*", "mallory@a.example", "a run", true}, {"b.example", "smtp-fresh@b.example", "", "hacked", true}, {"d.example", "smtp-first", "First@d.example", "", true},
		{"a.example", "smtp0@a.example", "person0@a.example", "sends spam", true}, {"a.example", "smtp1@a.example", "person0@a.example", "clean again", false},
		{"b.example", "smtp0", "", "did not pay", true}, {"c.example", "*", "", "all of them", true}, {"a.example", "*", "user1@a.example", "its sender", true},
		{"b.example", "*", "person1@a.example", "of another domain", true}, {"a.example", "*", "smtp2@a.example", "as an identity", true},
	}
	c.logs(r, arrival)
	r.Shuffle(len(c.mails), func(i, j int) { c.mails[i], c.mails[j] = c.mails[j], c.mails[i] })
	for i := range c.mails { // as they arrive: in no order
		c.mails[i].part, c.mails[i].off = uint16(i%4), uint64(i)
		c.mails[i].received = arrival.Add(time.Duration(i/7) * time.Second)
	}
	c.states = sync.OnceValue(c.findStates)
	return c
}

// letter is a message with its statuses. who and class may be empty.
func (c *corpus) letter(r *rand.Rand, n int, at time.Time, who, class string) {
	m := mail{message: true, idTime: at, at: at.Add(time.Duration(r.IntN(3000)) * time.Millisecond), id: fmt.Sprintf("1lJZQT-%06d-O4", n), host: pick(r, "mx1", "mx2"),
		domain: corpusDomains[some(r, len(corpusDomains))], direction: pick(r, "incoming", "incoming", "incoming", "outgoing", "outgoing", "outgoing", "outgoing", "unknown", ""),
		ip: fmt.Sprintf("198.51.100.%d", some(r, 9)), size: uint64(500 + r.IntN(90000)), subject: pick(r, "Hello", "Invoice \"7\"", "Re: \tlunch", "", "Gewinn\\Spiel"),
		class: pick(r, "not-spam", "not-spam", "not-spam", "spam", "spam", "phish", "virus", "unsure", "block-list", "allow-list", "locked", "deferred", "error", "unknown", "")}
	m.sub = pick(r, "", "dnsbl", "statistical-method1-cluster", "match-set1")
	m.sender = fmt.Sprintf("%s%d@%s", pick(r, "user", "User", "USER"), some(r, 12), m.domain)
	if m.direction == "outgoing" || m.direction == "unknown" && r.IntN(2) == 0 {
		k := some(r, 8)
		m.user = pick(r, fmt.Sprintf("smtp%d@%s", k%3, m.domain), fmt.Sprintf("smtp%d@%s", k%3, m.domain), "")
		m.identity = pick(r, fmt.Sprintf("person%d@%s", k, m.domain), fmt.Sprintf("person%d@%s", k, m.domain), "")
	}
	switch {
	case who != "":
		m.direction, m.sender, m.identity, m.user, m.class, m.domain = "outgoing", who, who, "smtp-"+who, class, who[len(who)-9:]
		m.ip = fmt.Sprintf("198.51.100.2%d", len(who))
	case r.IntN(12) == 0:
		m.sender = "" // a bounce
	case r.IntN(10) == 0:
		m.class, m.sub = pick(r, "error", "block-list"), pick(r, "invalid-sender", "unknown-sender", "sender-verify")
	}
	recipients := 1
	if r.IntN(8) == 0 {
		recipients = 3
	}
	for k := range recipients {
		m.recipient = fmt.Sprintf("%s%d@%s", pick(r, "r", "R"), some(r, 20)*3+k, pick(r, "far.example", "near.example", "Far.example"))
		m.status = map[string]string{"spam": "rejected", "phish": "quarantined", "virus": "rejected", "deferred": "temporarily-rejected", "locked": "rejected", "error": "not-accepted"}[m.class]
		if m.status == "" || r.IntN(5) == 0 {
			m.status = pick(r, "queued", "accepted", "quarantined", "no-such-word")
		}
		letter := m
		if r.IntN(30) == 0 {
			letter.id = "" // refused before DATA
		}
		if r.IntN(40) != 0 {
			c.mails = append(c.mails, letter)
		}
		if r.IntN(30) == 0 {
			c.mails = append(c.mails, letter) // once more
		}
		if letter.id != "" {
			c.statuses(r, letter)
		}
	}
}

// statuses are what a filter says of a message later: late, twice, at the same moment.
func (c *corpus) statuses(r *rand.Rand, m mail) {
	s := mail{idTime: m.idTime, at: m.at, id: m.id, domain: m.domain, recipient: m.recipient, host: m.host, direction: m.direction}
	add := func(after time.Duration, status string, code uint16, enhanced, reply string) {
		s.at, s.status, s.code, s.enhanced, s.reply = s.at.Add(after), status, code, enhanced, reply
		c.mails = append(c.mails, s)
		if r.IntN(15) == 0 {
			c.mails = append(c.mails, s)
		}
	}
	switch m.status {
	case "queued", "accepted", "no-such-word":
		s.destination, s.destIP = pick(r, "mx.far.example", "MX.near.example", "mx2.near.example", ""), pick(r, "203.0.113.7", "2001:db8::7")
		for range r.IntN(4) {
			add(time.Duration(r.IntN(20000))*time.Second, "queued", 450, "4.7.1", "SMTP error from remote mail server after RCPT TO:<"+m.recipient+">: 450 4.7.1 later")
		}
		switch r.IntN(9) {
		case 0, 1, 2, 3, 4:
			add(0, "delivered", 250, "2.0.0", "250 2.0.0 ok")
		case 5:
			add(time.Second, "delivery-failed", 550, "5.1.1", "SMTP error from remote mail server after RCPT TO:<"+m.recipient+">: 550 5.1.1 nobody")
		case 6:
			add(90*time.Minute, pick(r, "bounced", "queue-expired", "queue-bounced"), 0, "", "retry time exceeded")
		case 7:
			add(time.Hour, "queue-frozen", 0, "", "")
		}
	case "quarantined":
		if r.IntN(3) == 0 {
			add(time.Hour, pick(r, "released", "quarantine-removed", "quarantine-expired"), 0, "", "")
		}
		if r.IntN(6) == 0 {
			s.destination, s.destIP = "mx.far.example", "203.0.113.7"
			add(time.Hour, "delivered", 250, "", "250 ok")
		}
	}
}

func (c *corpus) logs(r *rand.Rand, arrival time.Time) {
	for range 400 {
		row := smtpRow{at: when(r), domain: corpusDomains[some(r, 4)], direction: pick(r, "incoming", "outgoing", ""), session: pick(r, "smtp", "submission"), sender: pick(r, "s1@z.example", "S1@z.example", "s2@z.example", ""), senderCode: 250, code: 250, reply: "ok"}
		ip, name := fmt.Sprintf("192.0.2.%d", some(r, 6)), pick(r, "client.example", "Client.example", "")
		if r.IntN(10) == 0 {
			row.senderCode, row.senderReply = 550, "sender refused"
		} else {
			for range 1 + r.IntN(3) {
				rcpt := smtpRecipient{address: fmt.Sprintf("%s%d@%s", pick(r, "u", "U"), some(r, 9), row.domain), code: 250, reply: "ok", check: "accepted rcpt", ip: ip, name: name}
				switch r.IntN(6) {
				case 0:
					rcpt.code, rcpt.check, rcpt.reply = 550, "rejected rcpt", "sorry, no mailbox here"
				case 1:
					rcpt.code, rcpt.check = 0, pick(r, "rejected relaying", "accepted any rcpt", "mbx overquota")
				case 2:
					rcpt.code, rcpt.check, rcpt.reply, rcpt.ip, rcpt.name = 451, "", "greylisted", "::", ""
				}
				row.recipients = append(row.recipients, rcpt)
			}
			row.accepted = r.IntN(3) > 0
			if !row.accepted {
				row.code, row.reply = pick(r, uint16(554), 250, 0), "too large"
			}
		}
		c.smtp = append(c.smtp, row)
	}
	for range 400 {
		code, verdict := "ALLOWED", "allowed"
		if n := r.IntN(8); n < 6 {
			code, verdict = []string{"DENIED_RDNS_MISSING", "DENIED_GRAYLISTED", "DENIED_RBL_MATCH", "TIMEOUT", "FAILED_AUTH", "DENIED_GRAYLISTED"}[n], []string{"denied", "denied", "denied", "timeout", "failed", "denied"}[n]
		}
		c.spamdyke = append(c.spamdyke, spamdykeRow{at: when(r), domain: corpusDomains[some(r, 4)], direction: pick(r, "incoming", "outgoing"), code: code, verdict: verdict,
			sender: pick(r, "s1@z.example", "S1@Z.example", "s2@y.example", ""), recipient: fmt.Sprintf("%s%d@a.example", pick(r, "u", "U"), some(r, 9)), ip: pick(r, "192.0.2.1", "192.0.2.2", "2001:db8::9", "::"),
			rdns: pick(r, "host.example", "HOST.example", ""), user: pick(r, "", "bob", "alice"), reason: pick(r, "none", "zen.example_lists_it")})
	}
	for range 400 {
		d := deliveryRow{at: when(r), domain: corpusDomains[some(r, 4)], direction: pick(r, "outgoing", "incoming"), channel: "remote", recipient: fmt.Sprintf("%s%d@%s", pick(r, "u", "U"), some(r, 9), pick(r, "far.example", "near.example")),
			outcome: pick(r, "success", "deferral", "deferral", "failure", ""), remote: pick(r, "mx.far.example", "MX.near.example", ""), ip: pick(r, "203.0.113.7", "203.0.113.8"), text: fmt.Sprintf("reply_%d/", r.IntN(50))}
		switch r.IntN(4) {
		case 0:
			d.channel, d.remote, d.ip, d.text = "local", "", "::", "mailbox_full/"
		case 1:
			d.code, d.enhanced = 451, "4.4.2"
		case 2:
			d.code = 550
		}
		c.deliveries = append(c.deliveries, d)
	}
	for n := range 120 {
		row := feedbackRow{at: when(r), domain: corpusDomains[some(r, 4)], direction: pick(r, "outgoing", "unknown"), kind: pick(r, "abuse", "abuse", "fraud", "virus"), sender: pick(r, "user1@a.example", "User1@a.example", "", "user2@b.example"),
			user: pick(r, "smtp0@a.example", "smtp1@a.example", ""), ip: pick(r, "198.51.100.1", "2001:db8::5"), subject: pick(r, "Hello", "Invoice"), incidents: uint64(1 + r.IntN(4)), recipients: []string{fmt.Sprintf("r%d@far.example", r.IntN(9)), "r@far.example"}[:1+r.IntN(2)]}
		if n%4 > 0 {
			row.id = c.mails[some(r, len(c.mails))].id
		}
		c.feedback = append(c.feedback, row)
	}
	for n := range 250 {
		row := quarantineRow{at: when(r), received: arrival, domain: corpusDomains[some(r, 4)], direction: pick(r, "outgoing", "outgoing", "incoming"), from: pick(r, "From@a.example", "\"Bob\" <bob@b.example>"), to: fmt.Sprintf("t%d@far.example", some(r, 9)),
			client: pick(r, "192.0.2.5", "bob"), evidence: pick(r, "Combined (0.97)", "SB/global_tokens (0.99)"), script: pick(r, "", "/var/www/mail.php"), authSender: pick(r, "", "Bob@b.example", "al@a.example"), user: pick(r, "", "bob"), subject: pick(r, "Win", "Win \"now\"", ""), uid: uint64(n), size: uint64(1000 + n)}
		c.quarantine = append(c.quarantine, row)
		if n%9 == 0 { // seen again the next day
			row.received = row.received.Add(24 * time.Hour)
			c.quarantine = append(c.quarantine, row)
		}
	}
}

// insert makes the tables and fills them.
func (c *corpus) insert(ctx context.Context, conn clickhouse.Conn) error {
	forever := schema.Retention{Rollups: 50 * 365 * 24 * time.Hour} // hours of a fixed day are counted
	m, err := migrate.New(conn, migrate.Settings{Database: c.database, Retention: forever})
	if err != nil {
		return err
	}
	if _, err := m.Apply(ctx); err != nil {
		return err
	}
	into := func(table, columns string, n int, row func(i int) []any) error {
		b, err := conn.PrepareBatch(ctx, "INSERT INTO "+c.database+"."+table+" ("+columns+")")
		if err != nil {
			return err
		}
		for i := range n {
			if values := row(i); values != nil {
				if err := b.Append(values...); err != nil {
					return fmt.Errorf("%s: %w", table, err)
				}
			}
		}
		return b.Send()
	}
	const common = "event_time, received_at, domain, direction, "
	now := time.Now().UTC()
	if err := into("message_events", common+"id_time, id, recipient, filtering_host, status, status_norm, k_topic, k_part, k_off, sender, sender_ip, class_norm, sub_class, auth_user, identity, subject_header, incoming_size", len(c.mails), func(i int) []any {
		m := c.mails[i]
		if !m.message {
			return nil
		}
		return []any{m.at, m.received, m.domain, m.direction, m.idTime, m.id, m.recipient, m.host, m.status, m.status, "message", m.part, m.off, m.sender, m.ip, m.class, m.sub, m.user, m.identity, m.subject, m.size}
	}); err != nil {
		return err
	}
	if err := into("status_events", common+"id_time, id, recipient, filtering_host, status, status_norm, k_topic, k_part, k_off, delivery_fqdn, delivery_ip, delivery_data", len(c.mails), func(i int) []any {
		m := c.mails[i]
		if m.message {
			return nil
		}
		ip := m.destIP
		if ip == "" {
			ip = "::"
		}
		return []any{m.at, m.received, m.domain, m.direction, m.idTime, m.id, m.recipient, m.host, m.status, m.status, "status", m.part, m.off, m.destination, ip, m.reply}
	}); err != nil {
		return err
	}
	if err := into("smtp_transactions", common+"session, sender, sender_code, sender_reply, code, reply, accepted, recipients, recipient_codes, recipient_replies, checks, check_client_names, check_client_ips, check_recipients, check_details", len(c.smtp), func(i int) []any {
		s := c.smtp[i]
		var to, replies, checks, names, details []string
		var codes []uint16
		var ips []string
		for _, x := range s.recipients {
			to, replies, checks, names, details = append(to, x.address), append(replies, x.reply), append(checks, x.check), append(names, x.name), append(details, "")
			codes, ips = append(codes, x.code), append(ips, x.ip)
		}
		var accepted uint8
		if s.accepted {
			accepted = 1
		}
		return []any{s.at, now, s.domain, s.direction, s.session, s.sender, s.senderCode, s.senderReply, s.code, s.reply, accepted, to, codes, replies, checks, names, ips, to, details}
	}); err != nil {
		return err
	}
	if err := into("spamdyke_verdicts", common+"code, verdict, sender, recipient, origin_ip, origin_rdns, auth_user, reason", len(c.spamdyke), func(i int) []any {
		s := c.spamdyke[i]
		return []any{s.at, now, s.domain, s.direction, s.code, s.verdict, s.sender, s.recipient, s.ip, s.rdns, s.user, s.reason}
	}); err != nil {
		return err
	}
	if err := into("delivery_attempts", common+"channel, recipient, outcome, text, remote_host, remote_ip, code, enhanced_code", len(c.deliveries), func(i int) []any {
		d := c.deliveries[i]
		return []any{d.at, now, d.domain, d.direction, d.channel, d.recipient, d.outcome, d.text, d.remote, d.ip, d.code, d.enhanced}
	}); err != nil {
		return err
	}
	if err := into("feedback_reports", common+"id, feedback_type, sender, recipients, source_ip, auth_user, incidents, subject_header", len(c.feedback), func(i int) []any {
		f := c.feedback[i]
		return []any{f.at, now, f.domain, f.direction, f.id, f.kind, f.sender, f.recipients, f.ip, f.user, f.incidents, f.subject}
	}); err != nil {
		return err
	}
	if err := into("state_changes", "epoch, offset, time, kind, parts, action, reason, effect, after", len(c.locks), func(i int) []any {
		l := c.locks[i]
		parts := []string{"user", l.domain, l.user}
		if l.identity != "" {
			parts = []string{"identity", l.domain, l.user, l.identity}
		}
		return []any{uint64(1), uint64(i), now, "lock", parts, "lock", l.reason, "applied", fmt.Sprintf(`{"locked":%v}`, l.locked)}
	}); err != nil {
		return err
	}
	if err := into("quarantine_messages", common+"from_header, to_header, client, evidence, php_script, auth_sender, auth_user, subject_header, server, account, folder, uid_validity, uid, size", len(c.quarantine), func(i int) []any {
		q := c.quarantine[i]
		return []any{q.at, q.received, q.domain, q.direction, q.from, q.to, q.client, q.evidence, q.script, q.authSender, q.user, q.subject, "imap1", "global", "Caught", uint64(1), q.uid, q.size}
	}); err != nil {
		return err
	}
	return m.Count(ctx, func(string, uint64) {})
}
