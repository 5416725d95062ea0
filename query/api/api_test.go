package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/query"
	"millrace/query/account"
	"millrace/query/mailing"
	"millrace/query/querytest"
	"millrace/query/state"
	"millrace/query/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// site is a server with three users: admin, a domain's and an address's; each has the password
// "correct horse NAME".
type site struct {
	url      string
	client   *http.Client
	store    *state.Store
	accounts *account.Accounts
	database string
}

var rows = []string{
	`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, status, status_norm, class_norm, auth_user, identity, direction, subject_header) VALUES
	('2026-11-20 10:00:00', '2026-11-20 10:00:00', '2026-11-20 10:00:00', '1xULPU-000001-O4', 'example.com', 'alice@example.com', 'r1@example.net', 'delivered', 'delivered', 'not-spam', '', '', 'outgoing', 'alpha'),
	('2026-11-20 11:00:00', '2026-11-20 11:00:00', '2026-11-20 11:00:00', '1xUMLY-000002-O4', 'example.org', 'x@example.net', 'bob@example.org', 'quarantined', 'quarantined', 'spam', '', '', 'incoming', 'beta'),
	('2026-11-20 12:00:00', '2026-11-20 12:00:00', '2026-11-20 12:00:00', '1xUNHc-000003-O4', 'example.com', 'x@example.net', 'carol@example.com', 'delivered', 'delivered', 'spam', '', '', 'incoming', 'gamma')`,
}

func password(name string) string { return "correct horse " + name }

func newSite(t *testing.T, change func(*Options)) *site {
	t.Helper()
	s := &site{database: querytest.Tables(t, rows...)}
	s.store = statetest.Open(t)
	s.accounts = account.New(s.store, account.Options{Now: now})
	by := state.By{Actor: "test", How: state.System}
	for _, u := range []state.User{
		{Name: "admin", Role: "admin"}, {Name: "dora", Role: "domain", Domains: []string{"example.com"}}, {Name: "emil", Role: "email", Addresses: []string{"bob@example.org"}},
	} {
		if err := s.accounts.Add(t.Context(), by, u, password(u.Name)); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{
		Query: querytest.Reader(t, s.database), Store: s.store, Accounts: s.accounts, Reports: query.Reports(), Limits: query.Limits{Time: time.Minute, Memory: 1 << 30},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: now,
	}
	if change != nil {
		change(&o)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shown, err := OpenCertificate(CertificateOptions{Dir: dir, Address: l.Addr().String(), Logger: o.Logger})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "tls.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(shown.current().Leaf)
	s.url = "https://" + l.Addr().String()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	s.client = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(o).Listen(ctx, context.Background(), l, shown) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask sends a request as a user and returns the answer with its body.
func (s *site) ask(t *testing.T, user, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password(user))
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func (s *site) want(t *testing.T, user, method, path, body string, status int, parts ...string) string {
	t.Helper()
	res, text := s.ask(t, user, method, path, body)
	if res.StatusCode != status {
		t.Fatalf("%s %s %s: %s, want %d:\n%s", user, method, path, res.Status, status, text)
	}
	for _, p := range parts {
		if without, is := strings.CutPrefix(p, "!"); strings.Contains(text, without) == is {
			t.Errorf("%s %s %s: %q in it: %v:\n%s", user, method, path, without, !is, text)
		}
	}
	return text
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.want(t, "admin", "GET", "/api/v1/search?columns=id,subject_header", "", 200, `"subject_header":"alpha"`, "beta", "gamma", `"zone":"UTC"`)
	s.want(t, "dora", "GET", "/api/v1/search?columns=id,subject_header", "", 200, "alpha", "gamma", "!beta")
	s.want(t, "emil", "GET", "/api/v1/search?columns=id,subject_header", "", 200, "beta", "!alpha", "!gamma")
	s.want(t, "admin", "GET", "/api/v1/search?q="+url.QueryEscape("subject_header is beta"), "", 200, "000002", "!000001")
	s.want(t, "admin", "GET", "/api/v1/search?rules="+url.QueryEscape(`{"field":"class_norm","op":"one of","values":["spam"]}`)+"&domain=example.com", "", 200, "000003", "!000002")
	s.want(t, "admin", "GET", "/api/v1/search?since=1h&until=1m", "", 200, "000003", "!000002")
	s.want(t, "emil", "GET", "/api/v1/search?kind=message&columns=raw,id", "", 200, "000002")
	s.want(t, "dora", "GET", "/api/v1/search?kind=reject", "", 403, "admins alone")
	s.want(t, "admin", "GET", "/api/v1/search?kind=reject", "", 200)
	for _, bad := range []string{"q=sender", "rules=%7B", "rules=%7B%22fied%22%3A1%7D", "nothing=1", "limit=0", "limit=1001", "limit=x", "kind=x", "direction=up", "columns=a%60b", "since=never", "after=x", "sort=flags", "limit=1&limit=2", "order=up"} {
		s.want(t, "admin", "GET", "/api/v1/search?"+bad, "", 400, `"status":400`, `"title":"Bad Request"`, `"detail":`)
	}
	// Pages.
	var ids []string
	for after := ""; ; {
		var p struct {
			Rows []struct{ ID string }
			Next string
		}
		if err := json.Unmarshal([]byte(s.want(t, "admin", "GET", "/api/v1/search?limit=1&columns=id&after="+after, "", 200)), &p); err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rows {
			ids = append(ids, r.ID)
		}
		if after = p.Next; after == "" {
			break
		}
	}
	if !slices.Equal(ids, []string{"1xUNHc-000003-O4", "1xUMLY-000002-O4", "1xULPU-000001-O4"}) {
		t.Errorf("%v", ids)
	}
	// ETag.
	res, text := s.ask(t, "admin", "GET", "/api/v1/search", "")
	again, empty := s.ask(t, "admin", "GET", "/api/v1/search", "", "If-None-Match", res.Header.Get("ETag"))
	if again.StatusCode != 304 || empty != "" || len(text) == 0 {
		t.Errorf("%s %q", again.Status, empty)
	}
	// One message.
	s.want(t, "admin", "GET", "/api/v1/messages/1xUMLY-000002-O4", "", 200, `"recipients":[{`, `"events":[{`, "quarantined: beta")
	s.want(t, "emil", "GET", "/api/v1/messages/1xUMLY-000002-O4", "", 200, "beta")
	s.want(t, "dora", "GET", "/api/v1/messages/1xUMLY-000002-O4", "", 404)
	s.want(t, "admin", "GET", "/api/v1/fields?kind=spamdyke", "", 200, "origin_rdns")
	s.want(t, "admin", "GET", "/api/v1/classes", "", 200, `"class":"phish"`)
}

func TestExport(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *Options) { o.Exports = 1 })
	text := s.want(t, "dora", "GET", "/api/v1/export?columns=id,subject_header&order=asc", "", 200)
	if text != "id,subject_header\r\n1xULPU-000001-O4,alpha\r\n1xUNHc-000003-O4,gamma\r\n" {
		t.Errorf("%q", text)
	}
	res, text := s.ask(t, "emil", "GET", "/api/v1/export?columns=id&format=ndjson", "")
	if text != "{\"id\":\"1xUMLY-000002-O4\"}\n" || res.Header.Get("Content-Disposition") == "" {
		t.Errorf("%q %v", text, res.Header)
	}
	s.want(t, "emil", "GET", "/api/v1/export?format=xls", "", 400)
}

// A limit of the server's ends a question with a problem that names it.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *Options) { o.Limits.Rows = 1 })
	s.want(t, "admin", "GET", "/api/v1/search", "", 422, "api.rows_limit")
	s.want(t, "admin", "GET", "/api/v1/export", "", 422, "api.rows_limit")
	s.want(t, "admin", "GET", "/api/v1/reports/classifications?since=2026-11-20", "", 422, "api.rows_limit")
}

func TestReports(t *testing.T) {
	t.Parallel()
	own := query.Report{Name: "mine", Title: "Mine", SQL: "SELECT id FROM messages ORDER BY id", File: "mine.sql"}
	sly := query.Report{Name: "sly", Title: "Sly", SQL: "SELECT id FROM message_events UNION ALL SELECT reason FROM rejects", File: "sly.sql"}
	s := newSite(t, func(o *Options) { o.Reports = append(o.Reports, own, sly) })
	s.want(t, "dora", "GET", "/api/v1/reports", "", 200, `"name":"top_spammers"`, `"own":true`)
	s.want(t, "admin", "GET", "/api/v1/reports/mine", "", 200, "000001", "000002", "000003")
	s.want(t, "dora", "GET", "/api/v1/reports/mine", "", 200, "000001", "!000002", "000003")
	s.want(t, "emil", "GET", "/api/v1/reports/mine?format=csv", "", 200, "id\r\n1xUMLY-000002-O4\r\n", "!000001")
	s.want(t, "admin", "GET", "/api/v1/reports/sly", "", 200)
	s.want(t, "dora", "GET", "/api/v1/reports/sly", "", 403, "rejects")
	s.want(t, "admin", "GET", "/api/v1/reports/none", "", 404)
	s.want(t, "admin", "GET", "/api/v1/reports/volume?since=never", "", 400)
	s.want(t, "admin", "GET", "/api/v1/reports/volume?nothing=1", "", 400)
	s.want(t, "admin", "GET", "/api/v1/reports/classifications?since=2026-11-20&until=2026-11-21&direction=incoming", "", 200, `"since":"2026-11-20T00:00:00Z"`, `"rows":[{`, "spam", "!not-spam")
	// A row has what a lock takes.
	s.want(t, "dora", "GET", "/api/v1/reports/outgoing?since=2026-11-20&until=2026-11-21&group_by=sender", "", 200, `"locked":"","targets":[{"domain":"example.com","user":"*","identity":"alice@example.com"}]`)
	s.want(t, "emil", "GET", "/api/v1/reports/outgoing?since=2026-11-20&until=2026-11-21&group_by=sender", "", 200, `"rows":[]`)
	// Whatever the report, somebody who owns nothing sees no row of the mail.
	by := state.By{Actor: "test", How: state.System}
	if err := s.accounts.Add(t.Context(), by, state.User{Name: "nora", Role: "domain", Domains: []string{"example.invalid"}}, password("nora")); err != nil {
		t.Fatal(err)
	}
	for _, r := range query.Reports() {
		res, text := s.ask(t, "nora", "GET", "/api/v1/reports/"+r.Name, "")
		if res.StatusCode == 403 {
			continue
		}
		if res.StatusCode != 200 || strings.Contains(text, "example.") {
			t.Errorf("%s: %s %s", r.Name, res.Status, text)
		}
	}
}

// A lock of who has sent a message, which the one who asks must see and may decide about.
func TestLocks_Message(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	order := func(target string) string { return `{"targets":[` + target + `],"reason":"spam run"}` }
	first := order(`{"message":"1xULPU-000001-O4"}`)
	s.want(t, "dora", "POST", "/api/v1/locks", first, 409, "identification")
	s.want(t, "dora", "PUT", "/api/v1/outgoing-users", `{"domain":"example.com","identification":"sender"}`, 200)
	s.want(t, "dora", "POST", "/api/v1/locks", first, 200, `{"done":1,"unchanged":[],"targets":[{"domain":"example.com","user":"*","identity":"alice@example.com"}]}`)
	s.want(t, "admin", "POST", "/api/v1/locks", first, 200, `"done":0`)
	s.want(t, "emil", "POST", "/api/v1/locks", first, 403)
	s.want(t, "dora", "POST", "/api/v1/locks", order(`{"message":"1xULPU-000001-O4","recipient":"no@example.net"}`), 409, "no recipient")
	s.want(t, "admin", "POST", "/api/v1/locks", order(`{"message":"1xUMLY-000002-O4"}`), 409, "its direction is incoming")
	s.want(t, "dora", "POST", "/api/v1/locks", order(`{"message":"1xUMLY-000002-O4"}`), 409, "there is none") // it is not hers
	s.want(t, "dora", "POST", "/api/v1/locks", order(`{"message":"x' OR 1 --"}`), 409, "there is none")
	s.want(t, "dora", "POST", "/api/v1/locks", order(`{"message":"1xULPU-000001-O4","domain":"example.com"}`), 400, "has names too")
	s.want(t, "dora", "POST", "/api/v1/locks", order(`{"recipient":"r@example.net","domain":"example.com"}`), 400, "no message")
	// The authenticated user of a report's row is the outgoing user that has settings.
	s.want(t, "dora", "POST", "/api/v1/locks", order(`{"domain":"example.com","user":"smtp@example.com","identity":"bob"}`), 200, `"done":1`)
	s.want(t, "dora", "POST", "/api/v1/locks", order(`{"domain":"example.com","user":"smtp@example.org","identity":"bob"}`), 200, `"done":1`)
	s.want(t, "admin", "GET", "/api/v1/locks", "", 200, `{"domain":"example.com","user":"smtp","identity":"bob",`, `{"domain":"example.com","user":"smtp@example.org","identity":"bob",`)
}

func TestLocks(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	lockIt := `{"targets":[{"domain":"Example.COM","identity":"bob@example.com"}],"reason":"spam run"}`
	s.want(t, "dora", "POST", "/api/v1/locks", lockIt, 409, "identification")
	s.want(t, "dora", "PUT", "/api/v1/outgoing-users", `{"domain":"example.com","identification":"header:X-Sender-Id","lock_automatically":true}`, 200, `"identification":"header:X-Sender-Id"`)
	s.want(t, "dora", "POST", "/api/v1/locks", lockIt, 200, `{"done":1,"unchanged":[]}`)
	s.want(t, "dora", "POST", "/api/v1/locks", lockIt, 200, `"done":0`, "bob@example.com")
	s.want(t, "admin", "GET", "/api/v1/locks", "", 200, `"locked":true`, `"by":"api:dora"`, `"reason":"spam run"`)
	s.want(t, "emil", "GET", "/api/v1/locks", "", 403)
	s.want(t, "dora", "POST", "/api/v1/locks", `{"targets":[{"domain":"example.org","user":"u"}],"reason":"x"}`, 403)
	s.want(t, "dora", "POST", "/api/v1/locks", `{"targets":[{"domain":"example.com","user":"u"},{"domain":"example.org","user":"u"}],"reason":"x"}`, 403)
	s.want(t, "emil", "POST", "/api/v1/locks", lockIt, 403)
	s.want(t, "dora", "PUT", "/api/v1/outgoing-users", `{"domain":"example.org","identification":"none"}`, 403)
	s.want(t, "dora", "POST", "/api/v1/locks", `{"targets":[{"domain":"example.com","user":"u"}]}`, 400, "reason is missing")
	s.want(t, "dora", "POST", "/api/v1/locks", `{"targets":[]}`, 400)
	s.want(t, "dora", "POST", "/api/v1/locks", `{"target":1}`, 400)
	s.want(t, "dora", "POST", "/api/v1/unlock", `{"targets":[{"domain":"example.com","identity":"bob@example.com"}],"reason":"clean"}`, 200, `"done":1`)
	s.want(t, "dora", "GET", "/api/v1/locks", "", 200, "[]")
	s.want(t, "dora", "GET", "/api/v1/locks?all=true", "", 200, `"locked":false`, `"reason":"clean"`)
	s.want(t, "dora", "POST", "/api/v1/blocks", `{"senders":[{"domain":"example.com","sender":"Spam@Example.NET"}],"reason":"x"}`, 200, `"done":1`)
	s.want(t, "admin", "GET", "/api/v1/blocks?domain=example.com", "", 200, `"sender":"spam@example.net"`)
	s.want(t, "dora", "POST", "/api/v1/blocks", `{"senders":[{"domain":"example.org","sender":"a@b.example"}]}`, 403)
	s.want(t, "dora", "POST", "/api/v1/unblock", `{"senders":[{"domain":"example.com","sender":"spam@example.net"}]}`, 200, `"done":1`)
	// What is another's is not seen.
	s.want(t, "admin", "POST", "/api/v1/locks", `{"targets":[{"domain":"example.org","user":"u"}],"reason":"x"}`, 200)
	s.want(t, "dora", "GET", "/api/v1/locks", "", 200, "!example.org")
}

func TestPeople(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.want(t, "", "GET", "/api/v1/me", "", 401)
	s.want(t, "nobody", "GET", "/api/v1/me", "", 401)
	s.want(t, "emil", "GET", "/api/v1/me", "", 200, `"role":"email"`, "bob@example.org")
	for _, path := range []string{"/api/v1/users", "/api/v1/history"} {
		s.want(t, "dora", "GET", path, "", 403)
	}
	s.want(t, "dora", "POST", "/api/v1/users", `{"name":"eve","role":"admin"}`, 403)
	s.want(t, "dora", "PUT", "/api/v1/users/dora", `{"role":"admin"}`, 403)
	s.want(t, "dora", "PUT", "/api/v1/users/admin/password", `{"password":"correct horse dora"}`, 403)
	s.want(t, "dora", "POST", "/api/v1/tokens", `{"user":"admin"}`, 403)
	s.want(t, "admin", "POST", "/api/v1/users", `{"name":"eve","role":"boss"}`, 400)
	text := s.want(t, "admin", "POST", "/api/v1/users", `{"name":"Eve","role":"email","addresses":["Eve@Example.com"],"password":"correct horse eve"}`, 200, `"name":"eve"`, "eve@example.com", "!correct", "!argon")
	_ = text
	s.want(t, "eve", "GET", "/api/v1/me", "", 200)
	s.want(t, "admin", "PUT", "/api/v1/users/eve", `{"role":"email","addresses":["eve@example.com"],"disabled":true}`, 200, `"disabled":true`)
	s.want(t, "eve", "GET", "/api/v1/me", "", 401)
	s.want(t, "admin", "DELETE", "/api/v1/users/eve", "", 200)
	s.want(t, "admin", "DELETE", "/api/v1/users/eve", "", 404)
	s.want(t, "admin", "DELETE", "/api/v1/users/admin", "", 409)
	// Tokens.
	var token Token
	if err := json.Unmarshal([]byte(s.want(t, "emil", "POST", "/api/v1/tokens", `{"label":"script"}`, 200)), &token); err != nil {
		t.Fatal(err)
	}
	s.want(t, "emil", "GET", "/api/v1/tokens", "", 200, token.ID, "!"+token.Text)
	s.want(t, "dora", "GET", "/api/v1/tokens", "", 200, "!"+token.ID)
	s.want(t, "dora", "DELETE", "/api/v1/tokens/"+token.ID, "", 404)
	if res, _ := s.ask(t, "", "GET", "/api/v1/me", "", "Authorization", "Bearer "+token.Text); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	s.want(t, "emil", "DELETE", "/api/v1/tokens/"+token.ID, "", 200)
	if res, _ := s.ask(t, "", "GET", "/api/v1/me", "", "Authorization", "Bearer "+token.Text); res.StatusCode != 401 {
		t.Error(res.Status)
	}
}

// A login's cookie is an identity, which another site cannot use.
func TestLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.client.Jar = jar
	s.want(t, "", "POST", "/api/v1/login", `{"name":"dora","password":"wrong"}`, 401)
	s.want(t, "", "GET", "/api/v1/me", "", 401)
	res, _ := s.ask(t, "", "POST", "/api/v1/login", `{"name":"dora","password":"correct horse dora"}`)
	cookie := res.Header.Get("Set-Cookie")
	for _, part := range []string{"__Host-millrace=", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("%s: no %s", cookie, part)
		}
	}
	s.want(t, "", "GET", "/api/v1/me", "", 200, "dora")
	if res, text := s.ask(t, "", "PUT", "/api/v1/outgoing-users", `{"domain":"example.com"}`, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); res.StatusCode != 403 {
		t.Errorf("%s %s", res.Status, text)
	}
	s.want(t, "", "POST", "/api/v1/logout", "", 200)
	s.want(t, "", "GET", "/api/v1/me", "", 401)
	// Too many failures.
	limited := false
	for range 40 {
		res, _ := s.ask(t, "", "POST", "/api/v1/login", `{"name":"dora","password":"wrong"}`)
		if limited = res.StatusCode == 429 && res.Header.Get("Retry-After") != ""; limited {
			break
		}
	}
	if !limited {
		t.Error("nobody is limited")
	}
}

// The document has what the code has: each operation in it is answered, and asks for somebody,
// unless it says that it does not.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name, In string }
			Security    *[]any
			RequestBody any
			Responses   map[string]any
		}
		Components struct{ Schemas map[string]any }
	}
	text := s.want(t, "", "GET", "/api/v1/openapi.json", "", 200)
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) < 20 {
		t.Errorf("%s %d", doc.OpenAPI, len(doc.Paths))
	}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if ids[op.OperationID] || op.Responses["200"] == nil || op.Responses["default"] == nil {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			ids[op.OperationID] = true
			res, body := s.ask(t, "", strings.ToUpper(method), strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path), "")
			if anybody := op.Security != nil; (res.StatusCode == 401) == anybody || res.StatusCode == 405 {
				t.Errorf("%s %s: %s %s", method, path, res.Status, body)
			}
			for _, name := range pathName.FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.In == "path" && p.Name == name[1] }) {
					t.Errorf("%s %s: %s is not described", method, path, name[1])
				}
			}
		}
	}
	for _, ref := range strings.Split(text, `"$ref": "#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
	// Answers have the members that their schemas require.
	for path, schema := range map[string]string{"/api/v1/search": "Page", "/api/v1/me": "Me", "/api/v1/reports/volume": "Answer", "/api/v1/messages/1xULPU-000001-O4": "Message"} {
		var answer map[string]any
		if err := json.Unmarshal([]byte(s.want(t, "admin", "GET", path, "", 200)), &answer); err != nil {
			t.Fatal(err)
		}
		of := doc.Components.Schemas[schema].(map[string]any)
		for _, name := range of["required"].([]any) {
			if _, there := answer[name.(string)]; !there {
				t.Errorf("%s: no %s", path, name)
			}
		}
		for name := range answer {
			if of["properties"].(map[string]any)[name] == nil {
				t.Errorf("%s: %s is in no schema", path, name)
			}
		}
	}
}

// now is the servers' clock: an hour behind the last message.
func now() time.Time { return time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC) }

func TestActing(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *Options) {
		o.Recipients = []config.Recipient{{Report: "daily", Domain: "example.org", Recipient: "abuse@example.org"}}
		o.SetRecipient = func(ctx context.Context, by state.By, report, domain, username, recipient string) error {
			return mailing.SetRecipient(ctx, o.Store, by, report, domain, username, recipient)
		}
	})
	s.want(t, "dora", "PUT", "/api/v1/outgoing-users", `{"domain":"example.com","identification":"sender"}`, 200)
	s.want(t, "dora", "POST", "/api/v1/locks", `{"targets":[{"domain":"example.com","identity":"alice@example.com"}],"reason":"spam run"}`, 200)
	s.want(t, "admin", "GET", "/api/v1/identities?since=2026-11-20", "", 200, `"identity":"alice@example.com"`, `"reason":"spam run"`)
	s.want(t, "emil", "GET", "/api/v1/identities", "", 403)
	s.want(t, "dora", "GET", "/api/v1/lists/identities", "", 200, "alice@example.com")
	s.want(t, "dora", "GET", "/api/v1/lists/identities?format=json", "", 200, `"key":`)
	s.want(t, "dora", "GET", "/api/v1/lists/nothing", "", 404)
	s.want(t, "dora", "GET", "/api/v1/lists/senders?format=xml", "", 400)
	res, _ := s.ask(t, "dora", "GET", "/api/v1/lists/identities", "")
	if again, _ := s.ask(t, "dora", "GET", "/api/v1/lists/identities", "", "If-None-Match", res.Header.Get("ETag")); again.StatusCode != 304 {
		t.Error(again.Status)
	}
	s.want(t, "admin", "POST", "/api/v1/locks", `{"targets":[{"domain":"example.org","user":"u"}],"reason":"x"}`, 200)
	s.want(t, "dora", "GET", "/api/v1/lists/users", "", 200, "!example.org")
	s.want(t, "admin", "GET", "/api/v1/lists/users", "", 200, "u@example.org")
	s.want(t, "dora", "PUT", "/api/v1/schedules", `{"report":"daily","domain":"example.com","recipient":"abuse@example.com"}`, 200, `"recipient":"abuse@example.com"`, `"by":"api:dora"`, "!example.org")
	s.want(t, "dora", "PUT", "/api/v1/schedules", `{"report":"daily","domain":"example.org","recipient":"abuse@example.com"}`, 403)
	s.want(t, "dora", "PUT", "/api/v1/schedules", `{"report":"weekly","domain":"example.com"}`, 400)
	s.want(t, "admin", "GET", "/api/v1/schedules", "", 200, "abuse@example.org", "abuse@example.com")
}
