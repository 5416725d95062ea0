package mailing

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/query/querytest"
	"millrace/query/state"
	"millrace/schema"
)

// event is a message, or a later status of one.
type event struct {
	later                                          bool
	idTime, at                                     time.Time
	id, domain, recipient, class, sub, status, way string
	user, identity, sender, subject                string
}

// day is the day that the tests' reports are about.
var day = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

// store writes events into a database of its own.
func store(t testing.TB, all []event) (database string) {
	t.Helper()
	database = querytest.Tables(t)
	conn := embeddedtest.Connect(t, database)
	messages, err := conn.PrepareBatch(t.Context(), "INSERT INTO message_events (received_at, event_time, id_time, id, filtering_host, domain, sender, recipient, subject_header, class_norm, sub_class, status_norm, auth_user, identity, direction, k_topic, k_off)")
	must(t, err)
	statuses, err := conn.PrepareBatch(t.Context(), "INSERT INTO status_events (received_at, event_time, id_time, id, filtering_host, domain, recipient, status_norm, direction, k_topic, k_off)")
	must(t, err)
	now := time.Now().UTC() // the tables forget what came long ago
	for i, e := range all {
		if e.later {
			must(t, statuses.Append(now, e.at, e.idTime, e.id, "mx1", e.domain, e.recipient, e.status, e.way, "status", uint64(i)))
		} else {
			must(t, messages.Append(now, e.at, e.idTime, e.id, "mx1", e.domain, e.sender, e.recipient, e.subject, e.class, e.sub, e.status, e.user, e.identity, e.way, "message", uint64(i)))
		}
	}
	must(t, messages.Send())
	must(t, statuses.Send())
	return database
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// corpus is three days of mail, in no order: of several users and identities, some of them
// hostile, with statuses that change what became of a message, and events that are there twice.
func corpus() []event {
	r := rand.New(rand.NewPCG(4, 2026))
	var all []event
	for n := range 1500 {
		at := day.Add(-24*time.Hour + time.Duration(r.IntN(3*86400))*time.Second)
		if r.IntN(20) == 0 { // the borders themselves
			at = day.Add(time.Duration(pick(r, -1, 0, 7199, 7200, 21*3600, 22*3600, 22*3600-1, 86399, 86400)) * time.Second)
		}
		domain := pick(r, "example.com", "example.com", "example.net", "xn--bcher-kva.example")
		e := event{idTime: at, at: at, id: fmt.Sprintf("1abcde-%06d-00", n), domain: domain, recipient: fmt.Sprintf("r%d@far.example", r.IntN(40)), sender: "s@" + domain, subject: "a secret subject",
			class: pick(r, "not-spam", "not-spam", "spam", "spam", "phish", "virus", "block-list", ""), status: pick(r, "accepted", "queued", "rejected"),
			way: pick(r, "outgoing", "outgoing", "outgoing", "incoming", "unknown")}
		if r.IntN(6) == 0 {
			e.sub = pick(r, "invalid-sender", "Invalid Sender", "sender_verify", "dnsbl", "unknown sender ")
		}
		if r.IntN(8) != 0 {
			written := strings.Replace(domain, "xn--bcher-kva", pick(r, "xn--bcher-kva", "bücher"), 1)
			e.user = pick(r, "192.0.2.1@"+written, "Smtp@"+strings.ToUpper(written[:1])+written[1:], "@"+written, "a@b@"+written, "local", "other@elsewhere.example", "x,y\r\nBcc: z@"+written)
		}
		if r.IntN(8) != 0 {
			e.identity = pick(r, "bob@"+domain, "bea@"+domain, "Bob@"+domain, "=HYPERLINK(1)", "a,b\"c", "line\r\nbreak")
		}
		all = append(all, e)
		if r.IntN(25) == 0 {
			all = append(all, e) // once more
		}
		if r.IntN(3) == 0 {
			s := event{later: true, idTime: e.idTime, at: at.Add(time.Duration(1+r.IntN(7200)) * time.Second), id: e.id, domain: e.domain, recipient: e.recipient, way: e.way, status: pick(r, "quarantined", "delivered", "rejected", "temporarily-rejected")}
			all = append(all, s)
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// oracle writes the table as the raw events say, without SQL.
func oracle(all []event, report, domain, user string, p Period, date string) string {
	type key struct{ id, recipient string }
	letters, statuses := map[key]event{}, map[key]event{}
	for _, e := range all {
		k := key{e.id, e.recipient}
		if !e.later {
			letters[k] = e
		}
		if is, ok := statuses[k]; !ok || e.at.After(is.at) {
			statuses[k] = e
		}
	}
	type line struct {
		user, identity                          string
		spam, phish, virus, invalid, acceptable int
	}
	lines := map[[2]string]*line{}
	for k, e := range letters {
		if e.idTime.Before(p.From) || !e.idTime.Before(p.To) || e.user == "" && e.identity == "" && e.way != "outgoing" {
			continue
		}
		name, at := e.user, e.domain
		if i := strings.LastIndex(e.user, "@"); i >= 0 {
			name, at = e.user[:i], strings.Replace(strings.ToLower(e.user[i+1:]), "bücher", "xn--bcher-kva", 1)
		}
		if at != domain || user != "" && name != user || report == Identities && e.identity == "" {
			continue
		}
		group := [2]string{name}
		if report == Identities {
			group[1] = e.identity
		}
		l := lines[group]
		if l == nil {
			l = &line{user: name, identity: group[1]}
			lines[group] = l
		}
		switch e.class {
		case "spam":
			l.spam++
		case "phish":
			l.phish++
		case "virus":
			l.virus++
		}
		switch strings.Trim(strings.NewReplacer(" ", "-", "_", "-").Replace(strings.ToLower(e.sub)), "-") {
		case "invalid-sender", "unknown-sender", "sender-verify":
			l.invalid++
		}
		switch statuses[k].status { // else the class says it
		case "rejected", "quarantined", "temporarily-rejected":
		default:
			if e.class == "not-spam" || e.class == "" {
				l.acceptable++
			}
		}
	}
	var sorted []*line
	for _, l := range lines {
		if report == Daily || l.spam+l.invalid > 0 {
			sorted = append(sorted, l)
		}
	}
	slices.SortFunc(sorted, func(a, b *line) int {
		c := cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.identity, b.identity))
		if report == Identities {
			c = cmp.Or(b.spam-a.spam, b.invalid-a.invalid, c)
		}
		return c
	})
	safe := func(s string) string {
		s = strings.NewReplacer(",", "_", `"`, "_", "\r", "_", "\n", "_").Replace(s)
		if strings.HasPrefix(s, "=") {
			s = "'" + s
		}
		return s
	}
	text := `"Date","Authentication Domain","Authentication User","Spam Count","Phish Count","Virus Count","Invalid Sender Count","Accepted Count"` + "\r\n"
	if report == Identities {
		text = `"Authentication Domain","Authentication User","User Identification","Spam Count","Invalid Sender Count"` + "\r\n"
	}
	for _, l := range sorted {
		if report == Identities {
			text += fmt.Sprintf("%s,%s,%s,%d,%d\r\n", domain, safe(l.user), safe(l.identity), l.spam, l.invalid)
		} else {
			text += fmt.Sprintf("%s,%s,%s,%d,%d,%d,%d,%d\r\n", date, domain, safe(l.user), l.spam, l.phish, l.virus, l.invalid, l.acceptable)
		}
	}
	return text
}

// Every table is what Go finds in the events it was made from.
func TestTable_Oracle(t *testing.T) {
	t.Parallel()
	all := corpus()
	reader := querytest.Reader(t, store(t, all))
	f := func(report, domain, user, zone string, now time.Time, from, to time.Time, date string) {
		t.Helper()
		z, err := time.LoadLocation(zone)
		must(t, err)
		m := New(Options{ClickHouse: reader, Now: func() time.Time { return now }, Zone: z, InvalidSender: schema.DefaultInvalidSenders, Delay: 15 * time.Minute})
		got, p, err := m.Table(t.Context(), report, domain, user)
		must(t, err)
		if !p.From.Equal(from) || !p.To.Equal(to) || p.Name != date {
			t.Errorf("%s at %s: period %+v, want %s %s to %s", report, now, p, date, from, to)
		}
		want := oracle(all, report, strings.Replace(domain, "bücher", "xn--bcher-kva", 1), user, p, date)
		if string(got) != want {
			t.Errorf("%s of %s/%s at %s in %s:\ngot\n%s\nwant\n%s", report, domain, user, now, zone, got, want)
		}
		if strings.Count(want, "\n") < 2 {
			t.Errorf("%s of %s/%s at %s: an empty table proves nothing", report, domain, user, now)
		}
	}
	next := day.Add(24 * time.Hour)
	early := next.Add(20 * time.Minute)
	for _, domain := range []string{"example.com", "example.net", "xn--bcher-kva.example"} {
		f(Daily, domain, "", "UTC", early, day, next, "2026-11-26")
		f(Identities, domain, "", "UTC", early, next.Add(-2*time.Hour), next, "2026-11-26T22:00Z")
	}
	f(Daily, "bücher.example", "", "UTC", early, day, next, "2026-11-26") // the same domain
	f(Daily, "example.com", "192.0.2.1", "UTC", early, day, next, "2026-11-26")
	f(Daily, "elsewhere.example", "other", "UTC", early, day, next, "2026-11-26")
	f(Daily, "example.com", "", "Europe/Sofia", early, day.Add(-2*time.Hour), next.Add(-2*time.Hour), "2026-11-26")
	f(Daily, "example.com", "", "Asia/Kolkata", early, day.Add(-5*time.Hour-30*time.Minute), next.Add(-5*time.Hour-30*time.Minute), "2026-11-26")
	f(Daily, "example.com", "", "UTC", early.Add(-10*time.Minute), day.Add(-24*time.Hour), day, "2026-11-25") // 00:10: the filter may still log
	f(Identities, "example.com", "", "Europe/Sofia", day.Add(4*time.Hour+15*time.Minute), day.Add(2*time.Hour), day.Add(4*time.Hour), "2026-11-26T02:00Z")
}

// What an invalid sender is can be said otherwise, and nothing can be one.
func TestTable_Invalid(t *testing.T) {
	t.Parallel()
	all := []event{
		{idTime: day, at: day, id: "1", domain: "example.com", recipient: "a@far.example", class: "not-spam", status: "accepted", user: "u@example.com", sub: "odd"},
		{idTime: day, at: day, id: "2", domain: "example.com", recipient: "a@far.example", class: "block-list", status: "rejected", user: "u@example.com"},
		{idTime: day, at: day, id: "3", domain: "example.com", recipient: "a@far.example", class: "block-list", status: "accepted", user: "u@example.com"},
		{idTime: day, at: day, id: "4", domain: "example.com", recipient: "a@far.example", class: "spam", status: "rejected", user: "u@example.com", sub: "invalid-sender"},
	}
	reader := querytest.Reader(t, store(t, all))
	f := func(want string, set ...config.Invalid) {
		t.Helper()
		m := New(Options{ClickHouse: reader, Now: func() time.Time { return day.Add(25 * time.Hour) }, InvalidSender: invalidOf(set)})
		got, _, err := m.Table(t.Context(), Daily, "example.com", "")
		must(t, err)
		if !strings.HasSuffix(string(got), "\r\n2026-11-26,example.com,u,1,0,0,"+want+"\r\n") {
			t.Errorf("%v: %s", set, got)
		}
	}
	f("0,1")
	f("1,1", config.Invalid{SubClass: " ODD"})
	f("1,1", config.Invalid{Status: "Rejected", Class: "Block List"})
	f("3,1", config.Invalid{Status: "Rejected", Class: "Block List"}, config.Invalid{SubClass: "odd"}, config.Invalid{SubClass: "invalid_sender"})
	f("0,1", config.Invalid{SubClass: "x'] OR 1=1 --"})
}

func TestPeriods(t *testing.T) {
	t.Parallel()
	f := func(report, zone, at, from, to, name string) {
		t.Helper()
		z, err := time.LoadLocation(zone)
		must(t, err)
		when, err := time.Parse(time.RFC3339, at)
		must(t, err)
		p := periodBefore(report, when, z)
		if p.From.UTC().Format(time.RFC3339) != from || p.To.UTC().Format(time.RFC3339) != to || p.Name != name {
			t.Errorf("%s at %s in %s: %+v", report, at, zone, p)
		}
	}
	f(Daily, "UTC", "2026-11-27T00:00:00Z", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z", "2026-11-26")
	f(Daily, "UTC", "2026-11-26T23:59:59Z", "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z", "2026-11-25")
	f(Daily, "Europe/Sofia", "2026-03-30T12:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z", "2026-03-29")     // 23 hours
	f(Daily, "Europe/Sofia", "2026-10-26T12:00:00Z", "2026-10-24T21:00:00Z", "2026-10-25T22:00:00Z", "2026-10-25")     // 25 hours
	f(Daily, "America/Santiago", "2026-09-07T12:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z", "2026-09-06") // begins at one o'clock
	f(Daily, "UTC", "2026-03-01T12:00:00Z", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z", "2026-02-28")
	f(Identities, "Europe/Sofia", "2026-11-26T13:59:59Z", "2026-11-26T10:00:00Z", "2026-11-26T12:00:00Z", "2026-11-26T10:00Z")
	f(Identities, "UTC", "2026-11-26T00:00:00Z", "2026-11-25T22:00:00Z", "2026-11-26T00:00:00Z", "2026-11-25T22:00Z")
}

// A user's name that is of another has no rows of it.
func TestTable_AllUsersAreApart(t *testing.T) {
	t.Parallel()
	all := map[who]counts{{"example.com", "a", ""}: {Spam: 1}, {"example.com", "b", ""}: {Spam: 2}, {"example.net", "a", ""}: {Spam: 4}}
	if got := tableOf(Schedule{Report: Daily, Domain: "example.com", User: state.AllUsers}, all); len(got.rows) != 2 || got.total.Spam != 3 {
		t.Errorf("%+v", got)
	}
	if got := tableOf(Schedule{Report: Daily, Domain: "example.com", User: "b"}, all); len(got.rows) != 1 || got.total.Spam != 2 {
		t.Errorf("%+v", got)
	}
}
