// Package traffic makes realistic mail-filter traffic and sends it: for the
// demo, the tests, the benchmarks and "millrace generate".
//
// # What it promises
//
// The same Options give the same bytes, always. Every frame decodes as exactly
// one event: no value holds the separator `","` unless SeparatorShare asks for
// it, and none ends in `",`, which would make one. A frame never holds NUL, CR
// or LF inside, so that every framing carries it. No name or address belongs
// to anybody: domains end in .example, .test or example.com/net/org, addresses
// come from 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 198.18.0.0/15,
// 100.64.0.0/10 and 2001:db8::/32.
//
// Ids are Exim message ids: six base62 digits of the second, then process and
// fraction, which come from a walk through 2^22 x 2000 values that meets none
// twice. The generators of one Send share the walk, each on its own lane: no
// id repeats within a Send of up to 8.3 thousand million messages.
//
// Events belong together. A message opens a story; the status events that end
// it carry the same id, filtering host, domain and recipient and come after
// it, among the other stories' frames, in their order: queued before
// delivered, released before delivered.
//
// # Shares
//
// Of the messages (a share is of the line it stands under, exact in
// probability):
//
//	 5%  outgoing spam runs: one auth_user and identity, 50 to 2,000
//	     near-equal messages, up to three runs at a time
//	15%  other outgoing mail: 92% ham, 5% spam, 1% unsure, 2% error (rate limits)
//	80%  incoming mail:
//	      6%  bounces: empty sender, a fixed subject
//	     94%  by class: 55% not-spam, 27% spam, 3% phish, 1.2% virus, 5% unsure,
//	          4% allow list, 3.5% block list, 0.8% error, 0.5% unknown
//
// What becomes of a message:
//
//	not-spam, allow list, unsure, bounces
//	         30% delivered at once, no status event
//	         70% queued, then: 82% delivered; 10% queued, delivered; 2% queued,
//	         queued, delivered; 3% bounced; 1.5% queued, queue-frozen,
//	         queue-bounced; 1% queued, queue-expired; 0.5% queue-removed
//	spam     55% rejected; 40% quarantined, of which 5% released, delivered;
//	         2% auto-released, delivered; 3% quarantine-removed; 4%
//	         quarantine-expired; 5% blackholed
//	phish    as spam, never released
//	virus, block list
//	         rejected
//	error, unknown
//	         80% not-accepted, 20% rejected
//
// Values:
//
//   - domains: 20,000 of customers and 30,000 of others, Zipf with exponent
//     1.0 and 1.1; mailboxes: 4,096 local parts, Zipf 0.8;
//   - senders: 40% of incoming not-spam is newsletters with a sender of its
//     own for each message (VERP), so is 75% of the incoming spam, phish and
//     virus: of 200,000 messages over 30% have different senders (measured: 76%),
//     and none but the empty one of bounces sends 1 in 100;
//   - subjects: two of three carry a number that no other has (an order, an
//     invoice, a ticket); the others are put together out of words; of 200,000
//     messages over 60% have different subjects (measured: 93%); 12% are not
//     ASCII (1 in 8 of these in RFC 2047 form); 10% hold double quotes or
//     inches; a third hold a quote or a comma;
//   - display names: 1 in 4 is "Last, First" in quotes, 1 in 10 is not ASCII;
//   - addresses: 12% IPv6; names: 15% of the spam comes without rDNS;
//   - sizes: log-normal, median 18 kB, sigma 1.5, at most 50 MB;
//   - ids: 1 in 5 messages has the 23-character form of Exim 4.97.
//
// Statuses are a bit over a third of all frames.
//
// # Buffers
//
// Next appends to the caller's buffer and keeps nothing of it; it allocates
// nothing once the buffer is large enough. A Generator is for one goroutine.
// The vocabulary is built once in a process, shared and never written to.
//
// # Extending it
//
// A format is a pair of template texts in format.go; a field it names that the
// generator does not know yet is a column constant there and a case in
// appendColumn.
package traffic
