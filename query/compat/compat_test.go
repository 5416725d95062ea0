package compat

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/source"
	"millrace/query"
	"millrace/query/account"
	"millrace/query/lock"
	"millrace/query/querytest"
	"millrace/query/state"
	"millrace/query/state/statetest"
	"millrace/query/state/trail"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

type site struct {
	*httptest.Server
	store    *state.Store
	database string
	mu       sync.Mutex
	set      []string // recipients of reports that were set
}

// newSite is a server over the rows, with the users admin, dora (of example.com) and emil
// (bob@example.org); each has the password "correct-horse-NAME".
func newSite(t *testing.T, rows ...string) *site {
	t.Helper()
	s := &site{store: statetest.Open(t), database: querytest.Tables(t, rows...)}
	accounts := account.New(s.store, account.Options{})
	for _, u := range []state.User{
		{Name: "admin", Role: "admin"}, {Name: "dora", Role: "domain", Domains: []string{"example.com"}}, {Name: "emil", Role: "email", Addresses: []string{"bob@example.org"}},
	} {
		if err := accounts.Add(t.Context(), state.By{Actor: "test", How: state.System}, u, "correct-horse-"+u.Name); err != nil {
			t.Fatal(err)
		}
	}
	s.Server = httptest.NewTLSServer(New(Options{
		Query: querytest.Reader(t, s.database), Store: s.store, Accounts: accounts, Limits: query.Limits{Time: time.Minute},
		Syslog: source.Settings{Host: "logs.example.net", Port: 514, Enabled: true, MessageTemplate: `"%(id)s"`},
		History: func(ctx context.Context, f trail.Filter) ([]trail.Change, error) {
			all, _ := trail.History(ctx, s.store, nil, "", f) // the log has it all
			return all, nil
		},
		SetRecipient: func(_ context.Context, by state.By, report, domain, username, recipient string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.set = append(s.set, strings.Join([]string{by.Actor, report, domain, username, recipient}, " "))
			return nil
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}))
	t.Cleanup(s.Close)
	return s
}

// call makes a call as a user: name=value pairs.
func (s *site) call(t *testing.T, user, name string, args ...string) (status int, body string) {
	t.Helper()
	v := url.Values{"call": {name}}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		v.Add(key, value)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/cgi-bin/api?"+v.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, "correct-horse-"+user)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (s *site) want(t *testing.T, user, name string, want string, args ...string) {
	t.Helper()
	status, body := s.call(t, user, name, args...)
	if status != 200 || body != want {
		t.Errorf("%s %s %q: %d\n%s\nwant\n%s", user, name, args, status, body, want)
	}
}

func (s *site) refused(t *testing.T, user, name string, status int, part string, args ...string) {
	t.Helper()
	got, body := s.call(t, user, name, args...)
	if got != status || !strings.HasPrefix(body, "error: ") || strings.Count(body, "\n") != 1 || !strings.Contains(body, part) || strings.Contains(body, "@") {
		t.Errorf("%s %s %q: %d, want %d with %q\n%s", user, name, args, got, status, part, body)
	}
}

var corpus = []string{
	`INSERT INTO message_events (event_time, id_time, received_at, id, filtering_host, domain, sender, recipient, sender_ip, status, status_norm, class_norm, auth_user, direction, subject_header, incoming_size) VALUES
	('2026-11-20 10:00:00', '2026-11-20 10:00:00', '2026-11-20 10:00:00', '1xULPU-000001-O4', 'mx1', 'example.com', 'alice@example.com', 'r1@example.net', '192.0.2.1', 'Quarantined', 'quarantined', 'spam', 'smtp@example.com', 'outgoing', 'a, "b"', 100),
	('2026-11-20 11:00:00', '2026-11-20 11:00:00', '2026-11-20 11:00:00', '1xUMLY-000002-O4', 'mx1', 'example.com', 'bob@example.com', 'r2@example.net', '192.0.2.2', 'delivered', 'delivered', 'not-spam', 'smtp@example.com', 'outgoing', 'tab	and' || char(10) || 'line \\ ''x''', 200),
	('2026-11-20 12:00:00', '2026-11-20 12:00:00', '2026-11-20 12:00:00', '1xUNHc-000003-O4', 'mx1', 'example.org', 'x@example.net', 'bob@example.org', '192.0.2.3', 'rejected', 'rejected', 'block-list', '', 'incoming', 'three', 300),
	('2026-11-20 13:00:00', '2026-11-20 13:00:00', '2026-11-20 13:00:00', '1xUODg-000004-O4', 'mx1', 'example.org', 'x@example.net', 'eve@example.org', '192.0.2.3', 'delivered', 'delivered', 'unsure', '', 'unknown', '', 400)`,
	`INSERT INTO status_events (event_time, id_time, received_at, id, domain, recipient, status, status_norm, direction) VALUES ('2026-11-20 14:00:00', '2026-11-20 14:00:00', '2026-11-20 14:00:00', '1xUP9k-000005-O4', 'example.org', 'eve@example.org', 'queued', 'queued', 'incoming')`,
}

func TestFind(t *testing.T) {
	t.Parallel()
	s := newSite(t, corpus...)
	const out, in = "api_find_outgoing_messages", "api_find_messages"
	s.want(t, "admin", out, "alice@example.com\nbob@example.com\n", "columns=sender", "domain=example.com")
	s.want(t, "admin", out, "1795168800,a, \"b\",192.0.2.1,spam\n1795172400,tab and line \\ 'x',192.0.2.2,not-spam\n", "columns=datestamp,subject_header,sender_ip,classification", "api_language=en")
	s.want(t, "admin", out, "1795168800,mx1,1xULPU-000001-O4,alice@example.com,r1@example.net,example.com,Quarantined,spam,192.0.2.1,a, \"b\"\n", "sender=ALICE@example.com", "partial=False", "subject_header=")
	s.want(t, "admin", out, "alice@example.com\n", "columns=sender", "classification=oversize,blacklisted,locked,phish,virus,spam,deferred", "predicate=and", "include_in_progress=False", "id=")
	s.want(t, "admin", in, "1xUNHc-000003-O4\n", "columns=id", "classification=blacklisted")
	s.want(t, "admin", in, "1xUNHc-000003-O4\n1xUODg-000004-O4\n1xUP9k-000005-O4\n", "columns=message_id")
	s.want(t, "admin", in, "1xUNHc-000003-O4\n1xUODg-000004-O4\n", "columns=message_id", "include_in_progress=False")
	s.want(t, "admin", in, "rejected,300\n", "columns=status,message_size", "status=Rejected")
	s.want(t, "admin", out, "bob@example.com\n", "columns=sender", "sender=bob", "partial=True")
	s.want(t, "admin", out, "", "columns=sender", "sender=bob", "recipient=r1", "partial=True")
	s.want(t, "admin", out, "alice@example.com\nbob@example.com\n", "columns=sender", "sender=bob", "recipient=r1", "partial=True", "predicate=or")
	s.want(t, "admin", out, "alice@example.com\nbob@example.com\n", "columns=sender", "sort_field=recipient", "limit=5", "sender_ip=192.0.2.0/30", "offset=0", "from_date=0")
	s.want(t, "admin", out, "bob@example.com\n", "columns=sender", "from_date=1795172400", "to_date=1795172400")
	s.want(t, "admin", "api_count_outgoing_messages", "2\n", "domain=EXAMPLE.com")
	s.want(t, "admin", "api_count_messages", "1\n", "classification=rejected")
	// Roles.
	s.want(t, "dora", in, "", "columns=id")
	s.want(t, "dora", out, "alice@example.com\nbob@example.com\n", "columns=sender")
	s.want(t, "emil", in, "bob@example.org\n", "columns=recipient")
	s.want(t, "emil", "api_count_messages", "1\n")
	s.want(t, "emil", out, "", "columns=sender")
	for args, part := range map[string]string{"columns=a`b": "no such field", "predicate=xor": "and or or", "partial=maybe": "True or False", "from_date=now": "seconds since 1970", "limit=-1": "want a number", "tables=1": "no argument", "sender_ip=a@b": "want an address", "include_in_progress=2": "True or False"} {
		s.refused(t, "admin", out, 400, part, args)
	}
	s.refused(t, "", out, 401, "missing")
	s.refused(t, "nobody", out, 401, "unknown user")
	s.refused(t, "admin", "api_delete_everything@", 404, "there is no call")
}

func TestDecide(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.refused(t, "dora", "api_lock_outgoing_identity", 409, "identification", "domain=example.com", "identity=bob@example.com")
	err := lock.SetOutgoingUser(t.Context(), s.store, state.By{Actor: "test", How: state.System}, "example.com", "*", "", func(u *state.OutgoingUser) error {
		u.Identification = state.BySender
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.want(t, "dora", "api_lock_outgoing_identity", "OK\n", "domain=example.com", "identity=bob@example.com", "username=*")
	s.want(t, "dora", "api_lock_outgoing_identity", "OK\n", "domain=example.com", "identity=bob@example.com", "username=*")
	s.want(t, "dora", "api_list_locked_identities", "bob@example.com\n", "domain=example.com")
	s.want(t, "dora", "api_set_locked_identity_response_code", "OK\n", "domain=example.com", "identity=bob@example.com", "code=blackhole")
	s.refused(t, "dora", "api_set_locked_identity_response_code", 400, "", "domain=example.com", "identity=bob@example.com", "code=200")
	s.want(t, "dora", "api_unlock_outgoing_identity", "OK\n", "domain=example.com", "identity=bob@example.com", "reason=clean, now")
	s.want(t, "dora", "api_list_locked_identities", "", "domain=example.com")
	_, history := s.call(t, "dora", "api_find_outgoing_user_locking", "domain=example.com")
	lines := strings.Split(strings.TrimSpace(history), "\n")
	if len(lines) < 3 || !strings.Contains(lines[0], "example.com,*,bob@example.com,lock,compat:dora,by api_lock_outgoing_identity") || !strings.HasSuffix(history, "unlock,compat:dora,clean, now\n") {
		t.Errorf("%s", history)
	}
	s.want(t, "dora", "api_count_outgoing_user_locking", fmt.Sprintln(len(lines)), "domain=example.com")
	s.want(t, "dora", "api_count_outgoing_user_locking", "0\n", "domain=example.com", "to_date=1000000000")
	s.want(t, "dora", "api_blacklist_outgoing_sender", "OK\n", "domain=example.com", "sender=a b@example.net")
	s.want(t, "dora", "api_blacklist_outgoing_sender", "OK\n", "domain=example.com", "sender=c@example.net", "username=smtp")
	s.want(t, "dora", "api_get_outgoing_sender_blacklist", "a+b@example.net\nc@example.net\n", "domain=example.com")
	s.want(t, "dora", "api_unblacklist_outgoing_sender", "OK\n", "domain=example.com", "sender=a+b@example.net")
	s.want(t, "dora", "api_set_outgoing_sender_blacklist", "OK\n", "domain=example.com", "username=smtp", "senders=d@example.net,e@example.net")
	s.want(t, "dora", "api_get_outgoing_sender_blacklist", "d@example.net\ne@example.net\n", "domain=example.com", "username=smtp")
	s.want(t, "dora", "api_set_outgoing_report_recipient", "OK\n", "domain=example.com", "recipient=abuse@example.com", "username=smtp")
	s.want(t, "dora", "api_set_outgoing_report2_recipient", "OK\n", "domain=example.com")
	if want := []string{"compat:dora daily example.com smtp abuse@example.com", "compat:dora identities example.com  "}; !slices.Equal(s.set, want) {
		t.Errorf("%q, want %q", s.set, want)
	}
	s.want(t, "admin", "api_get_remote_syslog_server", "host: logs.example.net\nport: 514\nfacility:\nsocket_type:\nmessage_template: \"%(id)s\"\nenabled: True\nlevel:\nstatus_template:\n")
	s.want(t, "admin", "api_set_remote_syslog_server", "OK\n", "host=other.example.net", "port=5514", "level=INFO")
	s.want(t, "admin", "api_get_remote_syslog_server", "host: other.example.net\nport: 5514\nfacility:\nsocket_type:\nmessage_template: \"%(id)s\"\nenabled: True\nlevel: INFO\nstatus_template:\n")
	s.refused(t, "admin", "api_set_remote_syslog_server", 400, "port", "port=70000")
	// Whose it is not.
	for _, name := range Calls() {
		if strings.HasPrefix(name, "api_find_messages") || strings.HasPrefix(name, "api_find_outgoing_messages") || strings.HasPrefix(name, "api_count_messages") || strings.HasPrefix(name, "api_count_outgoing_messages") {
			continue
		}
		s.refused(t, "emil", name, 403, "")
		if !strings.Contains(name, "syslog") {
			s.refused(t, "dora", name, 403, "example.org", "domain=example.org")
		} else {
			s.refused(t, "dora", name, 403, "")
		}
	}
	s.refused(t, "dora", "api_lock_outgoing_identity", 400, "domain is missing", "identity=x")
	s.refused(t, "dora", "api_lock_outgoing_identity", 400, "identity is missing", "domain=example.com")
	s.refused(t, "dora", "api_blacklist_outgoing_sender", 400, "sender", "domain=example.com", "sender=nobody")
}

// The two pipelines of the vendor's page on monitoring outgoing spam, as they are written there
// but for host, user, password and domain, and for the quote that its second one ends with.
func TestPipelines(t *testing.T) {
	t.Parallel()
	s := newSite(t,
		`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, class_norm, direction) SELECT now64(3) - toIntervalMinute(number % 600), now64(3) - toIntervalMinute(number % 600), now64(3),
			'id' || toString(number), 'example.com', multiIf(number < 2001, 'spammer@example.com', number < 4001, 'busy@example.com', number < 4030, 'Case+tag@example.com', ''), 'r@example.net', if(number % 100 = 0, 'spam', 'not-spam'), 'outgoing' FROM numbers(4100)`,
		`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, class_norm, direction) SELECT now64(3) - toIntervalHour(13), now64(3) - toIntervalHour(13), now64(3), 'old' || toString(number), 'example.com', 'busy@example.com', 'r@example.net', 'spam', 'outgoing' FROM numbers(100)`,
		`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, class_norm, direction) SELECT now64(3), now64(3), now64(3), 'other' || toString(number), 'example.org', 'other@example.org', 'r@example.net', 'spam', 'outgoing' FROM numbers(3000)`)
	at := strings.Replace(s.URL, "https://", "https://dora:correct-horse-dora@", 1)
	run := func(script string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", strings.NewReplacer("https://user:pass@master.hostname", at, "DOMAIN", "example.com").Replace(script))
		c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.Contains(strings.ToLower(v), "_proxy=") }), "LC_ALL=C")
		c.Stderr = t.Output()
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	got := run("curl -k -s \"https://user:pass@master.hostname/cgi-bin/api?call=api_find_outgoing_messages&domain=DOMAIN&from_date=`date -d '12 hours ago' +'%s'`&to_date=`date +%s`&predicate=and&partial=False&sort_field=datestamp&classification=oversize%2Cblacklisted%2Clocked%2Cphish%2Cvirus%2Cspam%2Cdeferred&include_in_progress=False&id=&subject_header=&api_language=en&columns=sender\" | sort | uniq -c | sort -nr | head -50")
	if want := "     21 spammer@example.com\n     20 busy@example.com\n"; strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("%q, want %q", got, want)
	}
	got = run("curl -s -k \"https://user:pass@master.hostname/cgi-bin/api?call=api_find_outgoing_messages&domain=DOMAIN&from_date=`date -d '12 hours ago' +'%s'`&to_date=`date +%s`&predicate=and&partial=False&sort_field=datestamp&include_in_progress=False&columns=sender\" | sort | uniq -c | grep \"@\" | sort | awk '{if($1==$1+0 && $1>2000)print $2}' | xargs -I{} curl -k -s \"https://user:pass@master.hostname/cgi-bin/api?call=api_blacklist_outgoing_sender&domain=DOMAIN&sender={}\"")
	if got != "OK\n" {
		t.Errorf("%q", got)
	}
	s.want(t, "dora", "api_get_outgoing_sender_blacklist", "spammer@example.com\n", "domain=example.com")
}
