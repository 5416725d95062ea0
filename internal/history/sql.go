package history

import (
	"fmt"
	"strings"

	"millrace/internal/eximid"
)

// digits is SQL for the last so many base62 digits of a number.
func digits(number string, n int) string {
	parts := make([]string, n)
	power := uint64(1)
	for i := n - 1; i >= 0; i-- {
		parts[i] = fmt.Sprintf("substring('%s', 1 + intDiv(%s, %d) %% 62, 1)", eximid.Digits, number, power)
		power *= 62
	}
	return "concat(" + strings.Join(parts, ", ") + ")"
}

// EximID is SQL for an Exim id (package eximid) of a second and of what tells it from others.
func EximID(second, process, fraction string) string {
	return "concat(" + digits(second, 6) + ", '-', " + digits(process, 6) + ", '-', " + digits(fraction, 2) + ")"
}

// share is SQL for a word that is drawn: words with their percentages, of which the last
// takes what is left.
func share(draw string, of ...any) string {
	var b strings.Builder
	b.WriteString("multiIf(")
	sum := 0.0
	for i := 0; i+2 < len(of); i += 2 {
		sum += of[i+1].(float64)
		fmt.Fprintf(&b, "%s < %g, '%s', ", draw, sum/100, of[i])
	}
	fmt.Fprintf(&b, "'%s')", of[len(of)-2])
	return b.String()
}

// messages is SQL for messages number from to from+n: a subquery with all that the tables'
// rows are made of.
func (o Options) messages(from, n uint64) string {
	// draw is a number in [0, 1) of the message and a purpose; of is one of something else.
	of := func(what string, purpose int) string {
		return fmt.Sprintf("(cityHash64(%d, %s, %d) %% 1000003) / 1000003", o.Seed, what, purpose)
	}
	draw := func(purpose int) string { return of("number", purpose) }
	seconds := uint64(o.Days) * 86400
	columns := []struct{ sql, name string }{
		{fmt.Sprintf("toDateTime(%d + intDiv(number * %d, %d), 'UTC')", o.End.Unix()-int64(seconds), seconds, o.Messages), "id_time"},
		{EximID("toUnixTimestamp(id_time)", "number", fmt.Sprintf("cityHash64(%d, number, 1)", o.Seed)), "id"},
		{"concat('filter', toString(1 + number % 4), '.example')", "filtering_host"},
		{draw(2) + " < 0.2", "outgoing"},
		{fmt.Sprintf("toUInt32(exp(%s * log(%d))) - 1", draw(3), o.Domains+1), "rank"},
		{"concat('customer', toString(rank), '.example')", "domain"},
		{fmt.Sprintf("toUInt32(exp(%s * log(1 + 2000 / (rank + 1))))", draw(4)), "box"},
		{"concat('user', toString(box), '@', domain)", "own"},
		{fmt.Sprintf("concat('name', toString(cityHash64(%d, number, 5) %% 1000), '@other', toString(toUInt32(exp(%s * log(30000)))), '.example')", o.Seed, draw(6)), "stranger"},
		{"if(outgoing, own, stranger)", "sender"},
		{"if(outgoing, stranger, own)", "recipient"},
		{"if(outgoing, concat('mail', toString(box % 3), '@', domain), '')", "auth_user"},
		{"if(outgoing, own, '')", "identity"},
		{of("own", 7) + " < 0.02", "infected"},
		{"multiIf(outgoing AND infected, " + share(draw(8), "spam", 85.0, "phish", 5.0, "not-spam", 10.0) + ", outgoing, " + share(draw(8), "not-spam", 96.0, "unsure", 2.0, "error", 2.0) + ", " +
			share(draw(8), "not-spam", 55.0, "spam", 27.0, "phish", 3.0, "virus", 1.2, "unsure", 5.0, "allow-list", 4.0, "block-list", 3.5, "error", 0.8, "unknown", 0.5) + ")", "class_norm"},
		{"multiIf(class_norm IN ('not-spam', 'unsure', 'allow-list'), " + share(draw(9), "delivered", 30.0, "queued", 70.0) + ", class_norm IN ('spam', 'phish'), " +
			share(draw(9), "rejected", 55.0, "quarantined", 40.0, "blackholed", 5.0) + ", class_norm IN ('error', 'unknown'), " + share(draw(9), "not-accepted", 80.0, "rejected", 20.0) + ", 'rejected')", "status_norm"},
		{"multiIf(class_norm = 'error', " + share(draw(10), "invalid-recipient", 60.0, "invalid-sender", 20.0, "rate-limit", 20.0) + ", class_norm IN ('spam', 'phish'), " +
			share(draw(10), "statistical-method1-global", 50.0, "statistical-method1-cluster", 20.0, "dnsbl", 30.0) + ", '')", "sub_class"},
		{fmt.Sprintf("toUInt64(least(50000000, 18000 * exp(1.5 * sqrt(-2 * log(0.0005 + 0.999 * %s)) * cos(6.2831853 * %s))))", draw(11), draw(12)), "incoming_size"},
		{"concat(arrayElement(['Re: offer', 'Invoice', 'Your order', 'Meeting', 'Newsletter', 'Delivery'], 1 + number % 6), ' ', toString(cityHash64(number, 13) % 1000000))", "subject_header"},
		{draw(14), "fate"},
	}
	var b strings.Builder
	b.WriteString("SELECT number")
	for _, c := range columns {
		b.WriteString(", " + c.sql + " AS " + c.name)
	}
	fmt.Fprintf(&b, " FROM numbers(%d, %d)", from, n)
	return b.String()
}

// insertMessages and insertStatuses are the INSERTs of a block.
func (o Options) insertMessages(from, n uint64) string {
	return "INSERT INTO message_events (received_at, event_time, event_time_source, id_time, listener, transport, direction, format, k_topic, k_off, id, filtering_host, domain, sender, recipient, timestamp, " +
		"sender_host, sender_ip, sender_location, helo, incoming_size, outgoing_size, bandwidth, from_header, to_header, subject_header, status, status_norm, main_class, sub_class, class_norm, auth_user, identity) " +
		"SELECT id_time + 2, id_time + 1, 'event', id_time, 'history', 'tcp', if(outgoing, 'outgoing', 'incoming'), 'm3', 'history', number, id, filtering_host, domain, sender, recipient, id_time + 1, " +
		"concat('mail.', substring(sender, position(sender, '@') + 1)), toIPv6(concat('198.51.100.', toString(cityHash64(sender) % 254 + 1))), arrayElement(['NL', 'DE', 'US', 'BG', 'FR'], 1 + cityHash64(sender) % 5), " +
		"concat('mail.', substring(sender, position(sender, '@') + 1)), incoming_size, incoming_size + 400, incoming_size * 2, sender, recipient, subject_header, status_norm, status_norm, class_norm, sub_class, class_norm, auth_user, identity " +
		"FROM (" + o.messages(from, n) + ")"
}

func (o Options) insertStatuses(from, n uint64) string {
	const ok, later, no = "250 2.0.0 Ok: queued", "SMTP error from remote mail server after RCPT TO: 451 4.7.1 Try again later", "SMTP error from remote mail server after RCPT TO: 550 5.1.1 User unknown"
	return "INSERT INTO status_events (received_at, event_time, event_time_source, id_time, listener, transport, format, k_topic, k_off, id, filtering_host, domain, recipient, status, status_norm, " +
		"delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_data) " +
		"SELECT id_time + s.1 + 1, id_time + s.1, 'event', id_time, 'history', 'tcp', 's3', 'history', number * 4 + place, id, filtering_host, domain, recipient, s.2, s.2, " +
		"id_time + s.1, if(s.3 = '', toIPv6('::'), toIPv6(concat('198.51.100.', toString(cityHash64(recipient) % 254 + 1)))), if(s.3 = '', 0, 25), if(s.3 = '', '', concat('mx.', substring(recipient, position(recipient, '@') + 1))), s.3 " +
		"FROM (" + o.messages(from, n) + ") ARRAY JOIN multiIf(" +
		"status_norm = 'queued' AND fate < 0.8, [(3, 'delivered', '" + ok + "')], " +
		"status_norm = 'queued' AND fate < 0.92, [(3, 'queued', '" + later + "'), (930, 'delivered', '" + ok + "')], " +
		"status_norm = 'queued' AND fate < 0.98, [(3, 'bounced', '" + no + "')], " +
		"status_norm = 'queued', [(3, 'queued', '" + later + "'), (4000, 'queued', '" + later + "'), (345600, 'queue-expired', '')], " +
		"status_norm = 'quarantined' AND fate < 0.05, [(7200, 'released', ''), (7210, 'delivered', '" + ok + "')], " +
		"CAST([], 'Array(Tuple(UInt32, String, String))')) AS s, arrayEnumerate(CAST(multiIf(" +
		"status_norm = 'queued' AND (fate < 0.8 OR fate >= 0.92 AND fate < 0.98), [1], status_norm = 'queued' AND fate < 0.92, [1, 2], status_norm = 'queued', [1, 2, 3], status_norm = 'quarantined' AND fate < 0.05, [1, 2], []), 'Array(UInt8)')) AS place"
}
