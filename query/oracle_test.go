package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/schema"
)

// state is what has become of a message for a recipient, found by going through its events.
type state struct {
	mail                           // the latest message event; empty without one
	hasMessage                     bool
	first, last                    time.Time
	status                         string
	attempts                       int
	group, way                     string
	destination, destIP, enhanced_ string
	reply                          string
	code                           uint16
}

type messageKey struct {
	domain, id, recipient, host, own string
	at                               int64
}

// later tells whether event a is later than b: by time, by the rank of its status, by when
// and where it arrived.
func later(a, b mail) bool {
	topic := func(m mail) int {
		if m.message {
			return 0
		}
		return 1 // status
	}
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(rankOf(a.status), rankOf(b.status)), a.received.Compare(b.received), cmp.Compare(topic(a), topic(b)), cmp.Compare(a.part, b.part), cmp.Compare(a.off, b.off)) > 0
}

func rankOf(status string) int {
	return 1 + slices.IndexFunc(schema.Statuses, func(s schema.StatusWord) bool { return s.Word == status })
}

// findStates finds the present states of all messages.
func (c *corpus) findStates() []state {
	lives := map[messageKey][]mail{}
	for _, m := range c.mails {
		k := messageKey{m.domain, m.id, m.recipient, m.host, "", m.idTime.Unix()}
		if m.id == "" {
			k.own = fmt.Sprint(m.message, m.part, m.off)
		}
		lives[k] = append(lives[k], m)
	}
	var all []state
	for k, events := range lives {
		slices.SortFunc(events, func(a, b mail) int {
			if later(a, b) {
				return 1
			}
			return -1
		})
		var s state
		tries := map[string]bool{}
		directionOfMessage, direction := "", ""
		for _, e := range events {
			if e.message {
				s.mail, s.hasMessage, directionOfMessage = e, true, e.direction
				continue
			}
			direction = e.direction
			s.destination, s.destIP, s.code, s.enhanced_, s.reply = e.destination, e.destIP, e.code, e.enhanced, e.reply
			if e.reply != "" || e.destIP != "" {
				tries[fmt.Sprint(e.at.UnixMilli(), e.status, e.reply)] = true
			}
		}
		if s.hasMessage {
			direction = directionOfMessage
		}
		s.domain, s.id, s.recipient, s.host, s.idTime = k.domain, k.id, k.recipient, k.host, time.Unix(k.at, 0).UTC()
		s.first, s.last, s.status, s.attempts = events[0].at, events[len(events)-1].at, events[len(events)-1].status, len(tries)
		s.way = direction
		if s.user != "" || s.identity != "" {
			s.way = "outgoing"
		} else if direction == "" {
			s.way = "unknown"
		}
		s.group = groupOf(s.status, s.class)
		all = append(all, s)
	}
	return all
}

// groupOf is what the filter did: as the status says, else the class, else accepted.
func groupOf(status, class string) string {
	switch status {
	case "quarantined", "quarantine-expired", "quarantine-removed":
		return "quarantined"
	case "rejected", "not-accepted":
		return "rejected"
	case "temporarily-rejected":
		return "temporarily-rejected"
	}
	switch class {
	case "spam", "phish", "virus", "block-list", "oversize", "locked", "error":
		return "rejected"
	case "deferred":
		return "temporarily-rejected"
	case "not-spam", "allow-list", "unsure":
		return "accepted"
	}
	if rankOf(status) > 0 {
		return "accepted"
	}
	return ""
}

// askedOf is what an oracle is asked: a report's parameters, and its period.
type askedOf struct {
	Asked
	since, until time.Time
}

func (q askedOf) text(name string) string { return q.Values[name] }

func (q askedOf) number(name string) float64 {
	n, err := strconv.ParseFloat(q.Values[name], 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (q askedOf) within(t time.Time) bool { return !t.Before(q.since) && t.Before(q.until) }

func listed(list, word string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), word)
}

// sameClass are spellings that the corpus's questions use.
var sameClass = map[string]string{"blacklisted": "block-list", "ham": "not-spam", "phishing": "phish"}

// fits is whether a message is one that the report is on, its time aside.
func (q askedOf) fits(s state) bool {
	class := q.text("class") == ""
	for _, w := range strings.Split(q.text("class"), ",") {
		if other, ok := sameClass[w]; ok {
			w = other
		}
		class = class || w == s.class || w == s.group
	}
	return class && listed(q.text("domain"), s.domain) && listed(q.text("direction"), s.way)
}

// who is the column that group_by asks for.
func (q askedOf) who(s state) string {
	switch q.text("group_by") {
	case "identity":
		return s.identity
	case "auth_user":
		return s.user
	case "sender":
		return orNull(s.sender)
	case "sender_ip":
		return bare(s.ip)
	case "domain":
		return s.domain
	case "recipient_domain":
		return domainOf(s.recipient)
	case "destination":
		if s.destination != "" {
			return strings.ToLower(s.destination)
		}
		return bare(s.destIP)
	case "direction":
		return s.way
	}
	panic("no oracle for group_by " + q.text("group_by"))
}

func orNull(sender string) string {
	if sender == "" {
		return "<>"
	}
	return strings.ToLower(sender)
}

// bare is an address as reports print it.
func bare(ip string) string {
	if ip == "" {
		return "::"
	}
	return ip
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndex(address, "@")+1:])
}

// Cells.
func i(n int) string { return strconv.Itoa(n) }

func num(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func rounded(f float64, digits int) string {
	p := math.Pow10(digits)
	return num(math.RoundToEven(f*p) / p) // halves to the even one, as the server does
}

func percent(part, of int) string { return rounded(100*float64(part)/float64(of), 1) }

func (q askedOf) millis(t time.Time) string  { return t.In(q.Zone).Format("2006-01-02 15:04:05.000") }
func (q askedOf) seconds(t time.Time) string { return t.In(q.Zone).Format("2006-01-02 15:04:05") }

// Sums over a group.
func count[T any](all []T, ok func(T) bool) int {
	n := 0
	for _, x := range all {
		if ok(x) {
			n++
		}
	}
	return n
}

func distinct[T any](all []T, of func(T) string) int {
	seen := map[string]bool{}
	for _, x := range all {
		seen[of(x)] = true
	}
	return len(seen)
}

func filter[T any](all []T, ok func(T) bool) (some []T) {
	for _, x := range all {
		if ok(x) {
			some = append(some, x)
		}
	}
	return some
}

func earliest[T any](all []T, of func(T) time.Time) time.Time {
	return of(slices.MinFunc(all, func(a, b T) int { return of(a).Compare(of(b)) }))
}

func latest[T any](all []T, of func(T) time.Time) time.Time {
	return of(slices.MaxFunc(all, func(a, b T) int { return of(a).Compare(of(b)) }))
}

func bytesOf(all []state) string {
	var n uint64
	for _, s := range all {
		n += s.size
	}
	return strconv.FormatUint(n, 10)
}

func groups(all []state) []string {
	of := func(group string) string { return i(count(all, func(s state) bool { return s.group == group })) }
	return []string{of("accepted"), of("rejected"), of("temporarily-rejected"), of("quarantined")}
}

func classes(all []state) []string {
	of := func(class string) string { return i(count(all, func(s state) bool { return s.class == class })) }
	return []string{of("spam"), of("phish"), of("virus")}
}

func addressOf(s state) string   { return strings.ToLower(s.recipient) }
func senderOf(s state) string    { return strings.ToLower(s.sender) }
func firstOf(s state) time.Time  { return s.first }
func lastOf(s state) time.Time   { return s.last }
func idTimeOf(s state) time.Time { return s.idTime }
func refused(s state) bool       { return s.group != "accepted" }

// line is a row of an answer: it is sorted by its weight, the greatest first, then by its
// keys.
type line struct {
	weight float64
	keys   []string
	cells  []string
}

// answerOf sorts, cuts and joins.
func (q askedOf) answerOf(lines []line) [][]string {
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(b.weight, a.weight), slices.Compare(a.keys, b.keys)) })
	if q.text("limit") != "" {
		lines = lines[:min(len(lines), int(q.number("limit")))]
	}
	var rows [][]string
	for _, l := range lines {
		rows = append(rows, l.cells)
	}
	return rows
}

// by makes a line of each group; f returns false for a group that the report leaves out.
func by[T any](all []T, key func(T) []string, f func(keys []string, of []T) (line, bool)) []line {
	sorted := map[string][]T{}
	for _, x := range all {
		k := strings.Join(key(x), "\x00")
		sorted[k] = append(sorted[k], x)
	}
	var lines []line
	for k, of := range sorted {
		keys := strings.Split(k, "\x00")
		if l, ok := f(keys, of); ok {
			l.keys = keys
			lines = append(lines, l)
		}
	}
	return lines
}
