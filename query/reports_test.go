package query

import (
	"bytes"
	"encoding/csv"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Who knows the answer of a report without SQL, and further questions to it.
var oracles = map[string]struct {
	answer func(*corpus, askedOf) [][]string
	also   []map[string]string
}{
	"outgoing":            {oracleOutgoing, []map[string]string{{"class": "rejected"}, {"class": "accepted", "group_by": "sender"}, {"direction": "", "limit": "3"}}},
	"top_spammers":        {oracleTopSpammers, []map[string]string{{"class": "phishing,blacklisted"}, {"class": "quarantined", "direction": "incoming"}}},
	"outgoing_hourly":     {oracleOutgoingHourly, []map[string]string{{"class": "rejected"}, {"class": "ham,blacklisted", "group_by": "auth_user"}, {"since": "2026-11-12 11:59:59", "until": "2026-11-20 05:00:01", "direction": "", "limit": "3"}}},
	"top_spammers_hourly": {oracleTopSpammersHourly, []map[string]string{{"direction": "incoming"}, {"since": "2026-11-12 11:59:59", "until": "2026-11-20 05:00:01", "group_by": "auth_user", "direction": ""}}},
	"senders_over":        {oracleSendersOver, []map[string]string{{"threshold": "3", "window": "7200"}, {"threshold": "1", "window": "60", "direction": ""}, {"threshold": "3", "window": "86400", "group_by": "auth_user"}}},
	"invalid_senders":     {oracleInvalidSenders, []map[string]string{{"invalid_sender": "rejected/block-list/,//unknown-sender"}, {"invalid_sender": "not-accepted", "class": "error", "direction": ""}}},
	"delivery_outcomes":   {oracleDeliveryOutcomes, []map[string]string{{"direction": "unknown,incoming"}, {"class": "ham"}}},
	"delivery_failures":   {oracleDeliveryFailures, []map[string]string{{"class": "not-spam,accepted"}, {"direction": "outgoing"}}},
	"deferral_age":        {oracleDeferralAge, []map[string]string{{"since": "2026-11-12"}, {"direction": "outgoing", "class": "accepted"}}},
	"volume":              {oracleVolume, []map[string]string{{"since": "2026-11-12", "group_by": "day", "tz": "Europe/Sofia"}, {"tz": "Asia/Kolkata"}, {"since": "2026-11-12", "group_by": "day", "tz": "America/New_York", "class": "spam"}}},
	"directions":          {oracleDirections, []map[string]string{{"direction": "unknown"}, {"class": "temporarily-rejected"}}},
	"classifications":     {oracleClassifications, []map[string]string{{"class": "error,virus", "group_by": "sub_class"}}},
	"domain_growth":       {oracleDomainGrowth, []map[string]string{{"class": "spam"}, {"direction": "outgoing"}}},
	"new_senders":         {oracleNewSenders, []map[string]string{{"history": "2"}, {"direction": "incoming"}}},
	"spam_runs":           {oracleSpamRuns, []map[string]string{{"factor": "1.5", "minimum": "3"}, {"minimum": "2", "factor": "10", "history": "3", "tz": "Europe/Sofia", "direction": ""}}},
	"smtp_refusals":       {oracleSMTPRefusals, []map[string]string{{"direction": "incoming"}}},
	"spamdyke_denials":    {oracleSpamdykeDenials, []map[string]string{{"direction": "outgoing"}}},
	"feedback":            {oracleFeedback, []map[string]string{{"since": "2026-11-12"}, {"direction": "unknown"}}},
	"quarantine":          {oracleQuarantine, []map[string]string{{"direction": "incoming"}, {"limit": "2"}}},
}

// easier are parameters with which a small corpus has an answer at all.
var easier = map[string]map[string]string{
	"senders_over": {"threshold": "2", "window": "86400"},
	"spam_runs":    {"minimum": "4", "factor": "2"},
}

// questions are the sets of parameters that a report is asked with: its defaults, each
// choice, a domain, two of them, a class, an hour whose borders have events, another zone.
func questions(r Report) []map[string]string {
	all := []map[string]string{{}}
	if p, ok := r.Parameter("group_by"); ok {
		for _, c := range p.Choices[1:] {
			all = append(all, map[string]string{"group_by": c})
		}
	}
	all = append(all, map[string]string{"domain": "b.example"}, map[string]string{"domain": "A.example,bücher.example"}, map[string]string{"tz": "Europe/Sofia"},
		map[string]string{"since": "2026-11-20 05:00", "until": "2026-11-20 06:00"}, map[string]string{"since": "2026-11-20T07:00", "until": "2026-11-20 08:00", "tz": "Europe/Sofia"})
	if _, ok := r.Parameter("class"); ok {
		class := "spam"
		if r.Name == "invalid_senders" {
			class = "error"
		}
		all = append(all, map[string]string{"class": class})
	}
	return append(all, oracles[r.Name].also...)
}

// Every report's every answer is what Go finds in the events it was made from.
func TestReports_Oracle(t *testing.T) {
	t.Parallel()
	c := corpusOf(t)
	for _, r := range Reports() {
		if slices.Contains(plain, r.Name) {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			oracle, ok := oracles[r.Name]
			if !ok {
				t.Fatal("nobody knows its answers")
			}
			for _, asked := range questions(r) {
				given := map[string]string{"since": "2026-11-20", "until": "2026-11-21"}
				maps.Copy(given, easier[r.Name])
				maps.Copy(given, asked)
				a, err := r.Ask(given, corpusDay)
				if err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				if _, err := a.Run(t.Context(), reader(t, c.database), &out, CSV); err != nil {
					t.Fatalf("%v: %v", asked, err)
				}
				rows, err := csv.NewReader(&out).ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				since, until, _ := a.Period()
				want := oracle.answer(c, askedOf{a, since, until})
				if len(want) == 0 {
					t.Errorf("%v: an empty answer proves nothing", asked)
				}
				compareRows(t, asked, rows[0], rows[1:], want)
			}
		})
	}
}

func compareRows(t *testing.T, asked map[string]string, names []string, got, want [][]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%v: %d rows, want %d", asked, len(got), len(want))
	}
	for n := range min(len(got), len(want)) {
		if len(got[n]) != len(want[n]) {
			t.Fatalf("%v: %d columns, want %d", asked, len(got[n]), len(want[n]))
		}
		for k := range got[n] {
			if got[n][k] != want[n][k] {
				t.Errorf("%v: row %d, %s is %q, want %q\ngot  %q\nwant %q", asked, n, names[k], got[n][k], want[n][k], got[n], want[n])
				return
			}
		}
	}
}

// The printed tables.
func TestReports_Golden(t *testing.T) {
	t.Parallel()
	c := corpusOf(t)
	for _, r := range Reports() {
		if slices.Contains(plain, r.Name) {
			continue
		}
		given := map[string]string{"since": "2026-11-20", "until": "2026-11-21"}
		maps.Copy(given, easier[r.Name])
		if _, ok := r.Parameter("limit"); ok && given["limit"] == "" {
			given["limit"] = "12"
		}
		var out bytes.Buffer
		s, err := RunReport(t.Context(), reader(t, c.database), r, given, &out, Table)
		if err != nil {
			t.Fatal(err)
		}
		if s.Rows == 0 {
			t.Errorf("%s: no rows", r.Name)
		}
		golden(t, "report_"+r.Name+".table", out.Bytes())
	}
}

// The corpus has what the reports distinguish: every status, every group, every direction,
// messages without an id, twice, and statuses without a message.
func TestCorpus(t *testing.T) {
	t.Parallel()
	c := corpusOf(t)
	seen := map[string]int{}
	for _, s := range c.states() {
		seen["status "+s.status]++
		seen["group "+s.group]++
		seen["way "+s.way]++
		seen["class "+s.class]++
		seen["message "+strconv.FormatBool(s.hasMessage)]++
		seen["id "+strconv.FormatBool(s.id != "")]++
	}
	for _, want := range []string{"status queued", "status delivered", "status delivery-failed", "status bounced", "status queue-expired", "status queue-bounced", "status queue-frozen", "status quarantined", "status quarantine-expired",
		"status quarantine-removed", "status released", "status rejected", "status not-accepted", "status temporarily-rejected", "status no-such-word", "group ", "group accepted", "group rejected", "group temporarily-rejected", "group quarantined",
		"way incoming", "way outgoing", "way unknown", "class spam", "class phish", "class virus", "message false", "id false"} {
		if seen[want] < 3 {
			t.Errorf("%d of %s", seen[want], want)
		}
	}
	if n := len(c.mails) + len(c.smtp) + len(c.spamdyke) + len(c.deliveries) + len(c.feedback) + len(c.quarantine); n < 4000 {
		t.Errorf("%d events", n)
	}
}

// A report on a column that nothing fills says so, and what would; so does one on a
// direction that there is mail without.
func TestNotes(t *testing.T) {
	t.Parallel()
	database := tables(t, `INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, auth_user, direction) VALUES
		('2026-11-20 10:00:00', '2026-11-20 10:00:00', now64(3), 'a', 'a.example', 's@a.example', 'r@far.example', 'bob', 'outgoing'),
		('2026-11-20 11:00:00', '2026-11-20 11:00:00', now64(3), 'b', 'b.example', 's@b.example', 'r@far.example', '', 'unknown')`)
	f := func(name string, given map[string]string, want ...string) {
		t.Helper()
		r, err := FindReport(name)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{"since": "2026-11-20", "until": "2026-11-21"}
		maps.Copy(all, given)
		a, err := r.Ask(all, corpusDay)
		if err != nil {
			t.Fatal(err)
		}
		notes, err := a.Notes(t.Context(), reader(t, database))
		if err != nil || !slices.Equal(notes, want) {
			t.Errorf("%s %v: %q, %v", name, given, notes, err)
		}
	}
	identity := "column identity of message_events is empty in every row of this time: template variable %(identity)s fills it"
	user := "column auth_user of message_events is empty in every row of this time: template variable %(auth_user)s fills it"
	unknown := "messages of this time without a direction, which are not counted: 1; say direction of their listener, or let the message template have %(auth_user)s and %(identity)s"
	f("outgoing", nil, identity, unknown)
	f("outgoing", map[string]string{"direction": ""}, identity)
	f("outgoing", map[string]string{"group_by": "auth_user", "domain": "a.example"})
	f("outgoing", map[string]string{"group_by": "auth_user", "domain": "b.example"}, user, unknown)
	f("outgoing", map[string]string{"group_by": "sender", "since": "2026-11-20 12:00"}) // no mail at all
	f("volume", nil)
	f("directions", map[string]string{"direction": "incoming,unknown"})
	f("spamdyke_denials", map[string]string{"group_by": "client"})
}

// A value is a value, whatever stands in it.
func TestReports_Injection(t *testing.T) {
	t.Parallel()
	c := corpusOf(t)
	const evil = "x') OR 1 -- \\'\t\n\x00 {domain:String}"
	for _, r := range Reports() {
		for _, p := range r.Parameters {
			given := map[string]string{}
			for name, value := range map[string]string{"since": "2026-11-10", "until": "2026-11-22"} {
				if _, ok := r.Parameter(name); ok {
					given[name] = value
				}
			}
			given[p.Name] = evil
			a, err := r.Ask(given, time.Now())
			if err != nil {
				continue // it is no time, no zone, no choice
			}
			var out bytes.Buffer
			s, err := a.Run(t.Context(), reader(t, c.database), &out, TSV)
			if p.Type == "String" && (err != nil || s.Rows > 0) || p.Type != "String" && err == nil {
				t.Errorf("%s: %s: %d rows, %v", r.Name, p.Name, s.Rows, err)
			}
		}
	}
}
