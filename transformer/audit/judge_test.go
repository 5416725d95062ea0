package audit

import (
	"fmt"
	"testing"
)

// What is known, and what it is called. The tests of the command do the same with a
// server and a broker.
func TestJudge(t *testing.T) {
	t.Parallel()
	f := func(name string, c evidence, want string) {
		t.Helper()
		if c.held == nil {
			c.held = &held{}
		}
		if c.since == 0 {
			c.since = -1
		}
		if c.log != nil {
			c.state = Current
		}
		p := c.judge()
		got := fmt.Sprintf("rows %d missing %v doubled %d removed %v lag %d", p.Rows, p.MissingRanges, p.Doubled, p.RemovedRanges, p.Lag)
		if got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
		if n := p.Offsets + p.Before + p.Missing + p.Removed; c.log != nil && c.log.committed == p.To && n != p.To-p.From {
			t.Errorf("%s: %d of %d offsets are accounted for", name, n, p.To-p.From)
		}
	}
	rows := func(r ...Range) *held { return &held{ranges: r} }
	const none = "missing [] doubled 0 removed []"

	f("nothing anywhere", evidence{log: &log{committed: -1}}, "rows 0 "+none+" lag 0")
	f("nothing inserted yet", evidence{log: &log{committed: -1, end: 10}}, "rows 0 "+none+" lag 10")
	f("the group is new to an old topic", evidence{log: &log{committed: -1, start: 5, end: 10}}, "rows 0 missing [] doubled 0 removed [{{0 5} "+CauseKafka+"}] lag 5")
	f("all there", evidence{held: rows(Range{0, 10}), log: &log{committed: 10, end: 10}}, "rows 10 "+none+" lag 0")
	f("an insert under way", evidence{held: rows(Range{0, 10}, Range{12, 14}), log: &log{committed: 10, end: 20}}, "rows 12 "+none+" lag 8")
	f("confirmed and not there", evidence{held: rows(Range{0, 10}), log: &log{committed: 20, end: 20}}, "rows 10 missing [{10 20}] doubled 0 removed [] lag 0")
	f("no row at all", evidence{log: &log{committed: 20, end: 20}}, "rows 0 missing [{0 20}] doubled 0 removed [] lag 0")
	f("no row, and Kafka has forgotten a part", evidence{log: &log{committed: 20, start: 15, end: 20}}, "rows 0 missing [{15 20}] doubled 0 removed [{{0 15} "+CauseKafka+"}] lag 0")
	f("Kafka has forgotten what is between rows", evidence{held: rows(Range{0, 5}, Range{10, 20}), log: &log{committed: 20, start: 15, end: 20}},
		"rows 15 missing [{5 10}] doubled 0 removed [] lag 0")
	f("lost to retention while nobody inserted", evidence{held: rows(Range{0, 5}), log: &log{committed: 20, start: 20, end: 20}},
		"rows 5 missing [{5 20}] doubled 0 removed [] lag 0")
	f("the offsets of the group have expired", evidence{held: rows(Range{0, 10}), log: &log{committed: -1, start: 5, end: 15}}, "rows 10 "+none+" lag 5")
	f("expired, with what Kafka has no more", evidence{held: rows(Range{0, 3}, Range{6, 10}), log: &log{committed: -1, start: 5, end: 10}},
		"rows 7 missing [{3 5}] doubled 0 removed [] lag 1")
	f("twice in one table", evidence{held: &held{ranges: []Range{{0, 10}}, twice: 3}, log: &log{committed: 10, end: 10}}, "rows 13 missing [] doubled 3 removed [] lag 0")
	f("twice in two", evidence{held: rows(Range{0, 10}, Range{4, 6}), log: &log{committed: 10, end: 10}}, "rows 12 missing [] doubled 2 removed [] lag 0")
	f("the TTL", evidence{held: rows(Range{5, 7}, Range{9, 20}), expired: 9, log: &log{committed: 20, start: 15, end: 20}},
		"rows 13 missing [] doubled 0 removed [{{0 5} "+CauseKafka+"} {{7 9} "+CauseTTL+"}] lag 0")
	f("the TTL, in part", evidence{held: rows(Range{0, 2}, Range{9, 20}), expired: 6, log: &log{committed: 20, start: 15, end: 20}},
		"rows 13 missing [{6 9}] doubled 0 removed [{{2 6} "+CauseTTL+"}] lag 0")
	f("erased", evidence{held: rows(Range{0, 2}, Range{9, 12}, Range{13, 20}), erased: 9, log: &log{committed: 20, end: 20}},
		"rows 12 missing [{12 13}] doubled 0 removed [{{2 9} "+CauseErasure+"}] lag 0")
	f("an old log", evidence{state: OldLog, held: rows(Range{5, 7}, Range{9, 20})}, "rows 13 missing [{7 9}] doubled 0 removed [] lag 0")
	f("a log that is not confirmed", evidence{state: NewLog, held: rows(Range{5, 7}, Range{9, 20})}, "rows 13 "+none+" lag 0")
	f("cut short", evidence{held: rows(Range{8, 20}), before: ranges{{0, 12}}, log: &log{committed: 20, end: 20}}, "rows 12 "+none+" lag 0")
	f("cut short, with a gap before", evidence{held: rows(Range{8, 20}), before: ranges{{0, 3}, {5, 12}}, log: &log{committed: 20, end: 20}},
		"rows 12 missing [{3 5}] doubled 0 removed [] lag 0")
	f("the log is shorter than what is confirmed", evidence{held: rows(Range{0, 20}), log: &log{committed: 20, end: 12}}, "rows 20 "+none+" lag 0")
	f("from an offset on", evidence{since: 6, held: rows(Range{0, 2}, Range{8, 20}), log: &log{committed: 20, end: 20}}, "rows 12 missing [{6 8}] doubled 0 removed [] lag 0")
}

// How ClickHouse writes the TTL back is in its engine's text.
func TestRetention(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		got := ""
		if m := retention.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("retention %q, want %q", got, want)
		}
	}
	const ttl = "MergeTree PARTITION BY toMonday(received_at) ORDER BY (domain, id_time, id) TTL (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), "
	f(ttl+"(toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(34560000) SETTINGS index_granularity = 8192", "34560000")
	f(ttl+"(toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(60) DELETE SETTINGS a = 1", "60")
	f("MergeTree ORDER BY a TTL received_at + toIntervalSecond(60) SETTINGS a = 1", "")
	f("MergeTree ORDER BY a", "")
}
