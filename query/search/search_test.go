package search

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/eximid"
	"millrace/query"
	"millrace/query/access"
	"millrace/query/querytest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// mail is a message as the tests know it, beside ClickHouse.
type mail struct {
	id, domain, sender, recipient, subject, class, status, ip, authUser, identity, way string
	size                                                                               uint64
	at                                                                                 time.Time
	extra                                                                              map[string]string
}

var start = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// eximID is the id of message number n of that time.
func eximID(at time.Time, n int) string {
	return string(eximid.Append(nil, uint64(at.Unix()), uint64(n), 0))
}

// mails are n messages of few different values, so that rules hit some of them.
func mails(n int) []mail {
	r := rand.New(rand.NewPCG(6, 6))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var all []mail
	for i := range n {
		at := start.Add(time.Duration(r.IntN(5*86400)) * time.Second)
		m := mail{
			id: eximID(at, i), at: at,
			domain:  pick("example.com", "example.net", "xn--bcher-kva.example"),
			sender:  pick("", "Alice@Example.ORG", "bob@example.com", "o'neil\\x@example.org", "carol@bücher.example"),
			subject: pick("", "Hello", "HELLO world", "Rechnung für Ärzte", `"quoted" 'single' \n 100% {p0:String}`, "tab\there\nline"),
			class:   pick("", "spam", "not-spam", "phish"), status: pick("delivered", "quarantined", "rejected"),
			ip:   pick("192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "2001:db8:1::1", "::"),
			size: uint64(r.IntN(5)) * 1000, way: pick("incoming", "unknown"),
		}
		m.recipient = fmt.Sprintf("r%d@%s", r.IntN(4), m.domain)
		if r.IntN(3) == 0 {
			m.authUser, m.identity, m.way = "smtp@example.com", pick("bob@example.com", "web1"), "outgoing"
		}
		if r.IntN(2) == 0 {
			m.extra = map[string]string{"score": pick("1", "2"), "it's": "x"}
		}
		all = append(all, m)
	}
	return all
}

// store writes them, with a status beside the message event for each.
func store(t testing.TB, all []mail) (database string) {
	t.Helper()
	database = querytest.Tables(t)
	conn := embeddedtest.Connect(t, database)
	events, err := conn.PrepareBatch(t.Context(), "INSERT INTO message_events (received_at, event_time, id_time, id, filtering_host, domain, sender, recipient, subject_header, class_norm, main_class, status, status_norm, sender_ip, auth_user, identity, direction, incoming_size, extra, raw, k_topic, k_epoch, k_part, k_off)")
	if err != nil {
		t.Fatal(err)
	}
	statuses, err := conn.PrepareBatch(t.Context(), "INSERT INTO status_events (received_at, event_time, id_time, id, filtering_host, domain, recipient, status, status_norm, delivery_data, k_topic, k_epoch, k_part, k_off)")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range all {
		extra := m.extra
		if extra == nil {
			extra = map[string]string{}
		}
		if err := events.Append(m.at, m.at, m.at, m.id, "mx1", m.domain, m.sender, m.recipient, m.subject, m.class, m.class, "queued", "queued", netip.MustParseAddr(m.ip).String(), m.authUser, m.identity, m.way, m.size, extra, "the frame", "message", uint16(1), uint16(0), uint64(i)); err != nil {
			t.Fatal(err)
		}
		later := m.at.Add(time.Minute)
		if err := statuses.Append(later, later, m.at, m.id, "mx1", m.domain, m.recipient, m.status, m.status, "250 ok", "status", uint16(1), uint16(0), uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []interface{ Send() error }{events, statuses} {
		if err := b.Send(); err != nil {
			t.Fatal(err)
		}
	}
	return database
}

// value is a field of a message, as text.
func (m mail) value(field string) string {
	key, isExtra := strings.CutPrefix(field, "extra.")
	if isExtra {
		return m.extra[key]
	}
	return map[string]string{
		"id": m.id, "domain": m.domain, "sender": m.sender, "recipient": m.recipient, "subject_header": m.subject, "class_norm": m.class,
		"status_norm": m.status, "status": m.status, "auth_user": m.authUser, "identity": m.identity, "direction": m.way,
	}[field]
}

// unicoded is a domain or address with the one IDNA domain of the corpus in its U-labels.
func unicoded(s string) string {
	return strings.ReplaceAll(strings.ToLower(s), "xn--bcher-kva.example", "bücher.example")
}

// holds is what a rule means, said once more and otherwise.
func (m mail) holds(r Rule) bool {
	holds := false
	switch {
	case len(r.All) > 0:
		holds = true
		for _, p := range r.All {
			holds = holds && m.holds(p)
		}
	case len(r.Any) > 0:
		for _, p := range r.Any {
			holds = holds || m.holds(p)
		}
	case r.Field == "":
		return true
	case r.Field == "incoming_size":
		for i, v := range r.Values {
			var n uint64
			_, err := fmt.Sscan(v, &n)
			switch {
			case r.Op != InRange:
				holds = holds || m.size == n
			case i == 0:
				holds = err != nil || m.size >= n
			default:
				holds = holds && (err != nil || m.size <= n)
			}
		}
	case r.Field == "sender_ip":
		ip := netip.MustParseAddr(m.ip)
		for _, v := range r.Values {
			if p, err := netip.ParsePrefix(v); err == nil {
				holds = holds || p.Contains(ip)
			} else {
				holds = holds || netip.MustParseAddr(v) == ip
			}
		}
	default:
		for _, v := range r.Values {
			have := m.value(r.Field)
			if r.Field != "id" {
				have, v = strings.ToLower(have), strings.ToLower(v)
			}
			if slices.Contains([]string{"domain", "sender", "recipient", "auth_user", "identity"}, r.Field) && (r.Op == Is || r.Op == OneOf) {
				have, v = unicoded(have), unicoded(v)
			}
			switch r.Op {
			case Is, OneOf:
				holds = holds || have == v
			case Contains:
				holds = strings.Contains(have, v)
			case Starts:
				holds = strings.HasPrefix(have, v)
			case Ends:
				holds = strings.HasSuffix(have, v)
			}
		}
	}
	return holds != r.Not
}

// rule makes a random one.
func rule(r *rand.Rand, all []mail, depth int) Rule {
	if depth > 0 && r.IntN(3) > 0 {
		var parts []Rule
		for range 2 + r.IntN(2) {
			parts = append(parts, rule(r, all, depth-1))
		}
		if r.IntN(2) == 0 {
			return Rule{All: parts, Not: r.IntN(4) == 0}
		}
		return Rule{Any: parts, Not: r.IntN(4) == 0}
	}
	fields := []string{"id", "domain", "sender", "recipient", "subject_header", "class_norm", "status_norm", "auth_user", "identity", "direction", "extra.score", "extra.it's", "incoming_size", "sender_ip"}
	p := Rule{Field: fields[r.IntN(len(fields))], Not: r.IntN(4) == 0}
	m := all[r.IntN(len(all))]
	switch p.Field {
	case "incoming_size":
		p.Op, p.Values = Is, []string{fmt.Sprint(m.size)}
		if r.IntN(2) == 0 {
			p.Op, p.Values = InRange, []string{[]string{"", "1000"}[r.IntN(2)], "3000"}
		}
	case "sender_ip":
		p.Op, p.Values = OneOf, []string{m.ip, "192.0.2.1"}
		if r.IntN(2) == 0 {
			p.Op, p.Values = InNetwork, []string{[]string{"192.0.2.128/25", "2001:db8::/47", "198.51.100.7/32", "0.0.0.0/0"}[r.IntN(4)]}
		}
	default:
		v := m.value(p.Field)
		if r.IntN(3) == 0 {
			v = strings.ToUpper(v)
		}
		p.Op, p.Values = Ops()[r.IntN(4)], []string{v}
		if p.Op != Is && v == "" {
			p.Op = Is
		}
		if p.Op != Is && len(v) > 3 && p.Field != "id" {
			runes := []rune(v)
			from, to := r.IntN(len(runes)/2), len(runes)-r.IntN(len(runes)/2)
			switch p.Op {
			case Starts:
				from = 0
			case Ends:
				to = len(runes)
			}
			p.Values[0] = string(runes[from:to])
		}
		if p.Op == Is && r.IntN(3) == 0 {
			p.Op, p.Values = OneOf, []string{v, all[r.IntN(len(all))].value(p.Field)}
		}
	}
	return p
}

// ids are the ids of a search's rows, in order.
func ids(t testing.TB, o query.Options, scope access.Scope, q Query) (all []string, next string) {
	t.Helper()
	q.Columns = []string{"id"}
	var out bytes.Buffer
	res, err := Run(t.Context(), o, scope, q, query.Limits{}, query.Output{To: &out, Format: query.TSV})
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return strings.Fields(out.String()), res.Next
}

// expected are the ids of the messages for which the query holds, latest first.
func expected(all []mail, q Query) []string {
	var found []mail
	for _, m := range all {
		if m.holds(q.Where) && (q.From.IsZero() || !m.at.Before(q.From)) && (q.Until.IsZero() || m.at.Before(q.Until)) && (q.Direction == "" || m.way == q.Direction) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b mail) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return strings.Compare(b.id, a.id)
	})
	var want []string
	for _, m := range found {
		want = append(want, m.id)
	}
	return want
}

// Random rules mean on ClickHouse what they mean in Go.
func TestRules(t *testing.T) {
	t.Parallel()
	all := mails(300)
	o := querytest.Reader(t, store(t, all))
	r := rand.New(rand.NewPCG(7, 7))
	hits := 0
	for range 60 {
		q := Query{Where: rule(r, all, 2)}
		if r.IntN(2) == 0 {
			q.From = start.Add(24 * time.Hour)
		}
		if r.IntN(2) == 0 {
			q.Until = start.Add(72 * time.Hour)
		}
		if r.IntN(4) == 0 {
			q.Direction = []string{"incoming", "outgoing", "unknown"}[r.IntN(3)]
		}
		q.Limit = 1000
		want := expected(all, q)
		got, _ := ids(t, o, access.Everything(), q)
		if !slices.Equal(got, want) {
			text, _ := json.Marshal(q.Where)
			t.Fatalf("%s from %v until %v %s:\ngot  %d %v\nwant %d %v", text, q.From, q.Until, q.Direction, len(got), got, len(want), want)
		}
		if len(want) > 0 && len(want) < len(all) {
			hits++
		}
	}
	if hits < 20 {
		t.Errorf("only %d of the searches found some and not all", hits)
	}
}

// The pages of a search, by cursor and by number, are its rows without a gap and none twice.
func TestPages(t *testing.T) {
	t.Parallel()
	all := mails(200)
	o := querytest.Reader(t, store(t, all))
	for _, q := range []Query{
		{},
		{Ascending: true},
		{Sort: "sender"},
		{Sort: "incoming_size", Ascending: true, Direction: "incoming"},
		{Sort: "sender_ip", Where: Rule{Field: "domain", Op: Is, Values: []string{"bücher.example"}}},
		{Sort: "last_time"},
		{Sort: "has_message"},
		{Kind: "message"},
		{Kind: "status", Sort: "delivery_data"},
	} {
		q.Limit = 1000
		want, next := ids(t, o, access.Everything(), q)
		if next != "" || len(want) < 30 {
			t.Fatalf("%+v: %d rows, next %q", q, len(want), next)
		}
		q.Limit = 60
		var cursors, numbers []string
		for page := 0; ; page++ {
			byCursor, next := ids(t, o, access.Everything(), q)
			cursors = append(cursors, byCursor...)
			n := q
			n.After, n.Offset = "", page*60
			byNumber, _ := ids(t, o, access.Everything(), n)
			numbers = append(numbers, byNumber...)
			if next == "" {
				break
			}
			q.After = next
		}
		if !slices.Equal(cursors, want) || !slices.Equal(numbers, want) {
			t.Errorf("sorted by %q of %q:\ncursors %v\nnumbers %v\nwant    %v", q.Sort, q.Kind, cursors, numbers, want)
		}
	}
}

// Text that looks like SQL, like an escape or like a parameter is a value.
func TestInjection(t *testing.T) {
	t.Parallel()
	nasty := []string{
		`'`, `"`, "`", `\`, `\'`, `' OR 1=1 --`, `'); DROP TABLE message_events; --`, `{p0:String}`, `%`, `_`, "\t", "\n", "\r", `\N`, "\x00", "\x1b[31m",
		`['a']`, `],['`, `/*`, `*/`, `$$`, `é漢`, "\u202e", strings.Repeat("x", 10_000), `\\`, `\t`, `toString(1)`, `NULL`, ` `,
	}
	var all []mail
	for i, text := range nasty {
		all = append(all, mail{
			id: eximID(start.Add(time.Duration(i)*time.Second), i), at: start.Add(time.Duration(i) * time.Second), domain: "example.com", sender: text, recipient: text + "@r", subject: "<" + text + ">",
			ip: "::", way: "unknown", status: "delivered", extra: map[string]string{text: text},
		})
	}
	o := querytest.Reader(t, store(t, all))
	for i, text := range nasty {
		for _, r := range []Rule{
			{All: []Rule{
				{Field: "subject_header", Op: Is, Values: []string{"<" + text + ">"}},
				{Field: "subject_header", Op: Starts, Values: []string{"<" + text + ">"}},
				{Field: "subject_header", Op: Contains, Values: []string{"<" + text + ">"}},
				{Field: "extra." + text, Op: Is, Values: []string{text}},
			}},
			{Field: "subject_header", Op: OneOf, Values: []string{"<" + text + ">", "none of them"}},
		} {
			got, _ := ids(t, o, access.Everything(), Query{Where: r, Limit: 100})
			if !slices.Equal(got, []string{all[i].id}) {
				t.Errorf("%s %s %q: %v, want %s", r.Field, r.Op, text, got, all[i].id)
			}
		}
		for name, q := range map[string]Query{
			"kind": {Kind: text}, "direction": {Direction: text}, "column": {Columns: []string{text}}, "sort": {Sort: text}, "field": {Where: Rule{Field: text, Op: Is, Values: []string{"x"}}},
			"operator": {Where: Rule{Field: "sender", Op: Op(text), Values: []string{"x"}}}, "cursor": {After: text}, "number": {Where: Rule{Field: "incoming_size", Op: Is, Values: []string{text}}},
			"address": {Where: Rule{Field: "sender_ip", Op: Is, Values: []string{text}}}, "network": {Where: Rule{Field: "sender_ip", Op: InNetwork, Values: []string{text}}},
			"time": {Where: Rule{Field: "first_time", Op: InRange, Values: []string{text, ""}}},
		} {
			if s, err := q.Build("millrace", access.Everything(), start); err == nil {
				t.Errorf("%s %q: %s", name, text, s.SQL)
			}
		}
	}
	// Sorted by such texts, the pages by cursor are whole.
	want, _ := ids(t, o, access.Everything(), Query{Sort: "subject_header", Limit: 100})
	var got []string
	for q := (Query{Sort: "subject_header", Limit: 1}); ; {
		page, next := ids(t, o, access.Everything(), q)
		got = append(got, page...)
		if q.After = next; next == "" {
			break
		}
	}
	if len(want) != len(nasty) || !slices.Equal(got, want) {
		t.Errorf("%d rows in pages, want %d", len(got), len(want))
	}
}

// A cursor that somebody made up is refused, or is a place between rows.
func TestCursor_MadeUp(t *testing.T) {
	t.Parallel()
	o := querytest.Reader(t, store(t, mails(20)))
	s, err := Query{Limit: 5}.Build(o.Database, access.Everything(), start)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{s.Cursor(nil), s.Cursor([]string{"x"}), s.Cursor([]string{"1", "2", "3", "4", "5", "6", "7"})} {
		if _, err := (Query{Limit: 5, After: c}).Build(o.Database, access.Everything(), start); err == nil {
			t.Error("taken")
		}
	}
	other := Query{Sort: "sender", Limit: 5, After: s.Cursor(make([]string, s.Hidden))}
	if _, err := other.Build(o.Database, access.Everything(), start); err == nil || !strings.Contains(err.Error(), "no cursor of a search that sorts like this one") {
		t.Error(err)
	}
	hostile := s.Cursor([]string{"2026-11-20 00:00:00", "' OR 1=1 --", "x", "x", "x", "x"})
	_, err = Run(t.Context(), o, access.Everything(), Query{Limit: 5, After: hostile}, query.Limits{}, query.Output{To: &bytes.Buffer{}, Format: query.TSV})
	if err != nil {
		t.Error(err)
	}
	wrong := s.Cursor([]string{"no time", "x", "x", "x", "x", "x"})
	if _, err = Run(t.Context(), o, access.Everything(), Query{Limit: 5, After: wrong}, query.Limits{}, query.Output{To: &bytes.Buffer{}, Format: query.TSV}); err == nil {
		t.Error("taken")
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	all := mails(200)
	o := querytest.Reader(t, store(t, all))
	for name, q := range map[string]Query{
		"all": {}, "ascending": {Ascending: true}, "kind": {Kind: "status"},
		"some": {Where: Rule{All: []Rule{{Field: "domain", Op: Is, Values: []string{"example.com"}}, {Field: "incoming_size", Op: InRange, Values: []string{"", "2000"}}}}, From: start.Add(time.Hour), Until: start.Add(90 * time.Hour)},
		"none": {Where: Rule{Field: "domain", Op: Is, Values: []string{"example.invalid"}}},
	} {
		q.Columns = []string{"id"}
		want := append([]string{"id"}, expected(all, q)...)
		if q.Ascending {
			slices.Reverse(want[1:])
		}
		var out bytes.Buffer
		sum, err := export(t.Context(), o, access.Everything(), q, query.Limits{}, query.Output{To: &out, Format: query.CSV}, 40)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Fields(out.String()); !slices.Equal(got, want) || sum.Rows != len(want)-1 {
			t.Errorf("%s: %d rows of %d:\n%v\nwant\n%v", name, sum.Rows, len(want)-1, got, want)
		}
	}
	if _, err := Export(t.Context(), o, access.Everything(), Query{Sort: "sender"}, query.Limits{}, query.Output{To: &bytes.Buffer{}, Format: query.CSV}); err == nil {
		t.Error("an export was sorted by sender")
	}
}

// Each state of a message is told once, whenever its events come.
func TestFollow(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"messages", "status"} {
		database := store(t, mails(10))
		o := querytest.Reader(t, database)
		conn := embeddedtest.Connect(t, database)
		lines := make(chan string, 100)
		ready := make(chan struct{})
		done := make(chan error, 1)
		ctx := t.Context()
		go func() {
			done <- Follow(ctx, o, access.Everything(), Query{Kind: kind, Columns: []string{"id", "status"}}, query.Limits{}, query.Output{To: lineWriter(lines), Format: query.TSV}, ready)
		}()
		select {
		case <-ready:
		case err := <-done:
			t.Fatal(err)
		}
		insert := func(table, id, status string, after int) {
			t.Helper()
			err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s (received_at, event_time, id_time, id, domain, recipient, status, k_off) VALUES (now64(3), now64(3) + toIntervalSecond(%d), '2026-11-20 00:00:00', '%s', 'example.com', 'r@example.com', '%s', %[2]d)", table, after, id, status))
			if err != nil {
				t.Fatal(err)
			}
		}
		want := func(line string) {
			t.Helper()
			select {
			case got := <-lines:
				if got != line {
					t.Fatalf("%s: %q, want %q", kind, got, line)
				}
			case err := <-done:
				t.Fatalf("%s: ended: %v", kind, err)
			case <-ctx.Done():
				t.Fatal("the test's time is over")
			}
		}
		if kind == "messages" {
			insert("message_events", "1", "queued", 1)
			want("1\tqueued")
		}
		insert("status_events", "1", "delivered", 2)
		want("1\tdelivered")
		insert("status_events", "2", "bounced", 3)
		want("2\tbounced")
		insert("status_events", "1", "frozen", 4)
		want("1\tfrozen")
	}
}

type lineWriter chan<- string

func (l lineWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l <- strings.TrimSuffix(line, "\n")
	}
	return len(p), nil
}

// Every relation can be searched, by every field that it has, and shows what it says.
func TestRelations(t *testing.T) {
	t.Parallel()
	o := querytest.Reader(t, store(t, mails(5)))
	for _, r := range Relations() {
		var rules []Rule
		for _, f := range r.Fields() {
			found, err := r.find(f)
			switch {
			case err != nil && strings.Contains(err.Error(), f+".KEY"):
				rules = append(rules, Rule{Field: f + ".key", Op: Is, Values: []string{"x"}})
			case err != nil:
				t.Fatal(err)
			case found.class == instants:
				rules = append(rules, Rule{Field: f, Op: InRange, Values: []string{"2026-11-20", "2026-11-21"}})
			case found.class == numbers:
				rules = append(rules, Rule{Field: f, Op: Is, Values: []string{"7"}})
			case found.class == ips:
				rules = append(rules, Rule{Field: f, Op: InNetwork, Values: []string{"10.0.0.0/8"}})
			default:
				rules = append(rules, Rule{Field: f, Op: Contains, Values: []string{"x"}})
			}
		}
		q := Query{Kind: r.Name, Where: Rule{Any: rules}, Limit: 10, Zone: time.UTC}
		if _, err := Run(t.Context(), o, access.Everything(), q, query.Limits{}, query.Output{To: &bytes.Buffer{}, Format: query.CSV}); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		q = Query{Kind: r.Name, Columns: slices.DeleteFunc(r.Fields(), func(f string) bool { return slices.Contains([]string{"extra", "structured_data"}, f) }), Limit: 10}
		if _, err := Run(t.Context(), o, access.Everything(), q, query.Limits{}, query.Output{To: &bytes.Buffer{}, Format: query.JSON}); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}
