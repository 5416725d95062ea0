package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/query/access"
	"millrace/query/mailing"
	"millrace/query/querytest"
	"millrace/query/search"
	"millrace/query/state"
	"millrace/query/state/trail"
	"millrace/schema"
)

// borders are one site that hostile texts are sent to.
type borders struct {
	*site
	t    *testing.T
	seen struct {
		sync.Mutex
		status  map[int]int
		canary  map[string]bool // endpoints that showed it to the admin
		refused map[string]bool // what has been said, so that the same fault is said once
	}
}

// request is one to an endpoint, with texts at places and plain values else.
func (b *borders) request(e endpoint, user string, path map[string]string, texts map[place]string) (status int) {
	target := pathName.ReplaceAllStringFunc(e.path, func(m string) string {
		name := strings.Trim(m, "{}")
		v, chosen := path[name]
		if !chosen {
			v = plainOf(e, name)
		}
		if text, hostile := texts[place{in: "path", name: name}]; hostile {
			v = text
		}
		return url.PathEscape(v)
	})
	query, at, body, whole := url.Values{}, -1, bodyWriter{e: e}, false
	header := http.Header{}
	for p, text := range texts {
		switch p.in {
		case "query":
			query.Set(p.name, text)
		case "query name":
			query.Set(text, "x")
		case "header":
			header.Set(p.name, strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, text))
		case "member":
			at, body.text = p.leaf, text
		case "member name":
			whole = true
			body.WriteString("{" + quoted(text) + ":" + quoted(text) + "}")
		case "body":
			whole = true
			body.WriteString(text)
		}
	}
	if body.at = at; e.body != nil && !whole {
		body.write(reflect.TypeOf(e.body), "")
	}
	u := b.url + base + target
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(b.t.Context(), e.method, u, bytes.NewReader(body.Bytes()))
	if err != nil {
		b.t.Error(err)
		return 0
	}
	r.Header = header
	r.SetBasicAuth(user, password(user))
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Errorf("%s %s %.300q: %v", user, e.path, fmt.Sprint(texts), err)
		return 0
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Errorf("%s %s %.300q: %v", user, e.path, fmt.Sprint(texts), err)
	}
	b.judge(e, user, texts, res, text)
	return res.StatusCode
}

// judge holds an answer against what every answer must be.
func (b *borders) judge(e endpoint, user string, texts map[place]string, res *http.Response, text []byte) {
	var faults []string
	kind := res.Header.Get("Content-Type")
	var p problem
	switch {
	case res.StatusCode >= 500:
		faults = append(faults, "a fault of the server's")
	case res.StatusCode >= 400 && (kind != "application/problem+json" || json.Unmarshal(text, &p) != nil || p.Status != res.StatusCode || p.Title == ""):
		faults = append(faults, "no problem of RFC 9457")
	case res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified && res.StatusCode != http.StatusTemporaryRedirect:
		faults = append(faults, "leads elsewhere")
	case res.StatusCode == 200 && kind == "application/json" && !json.Valid(text):
		faults = append(faults, "no JSON")
	}
	shown := bytes.Contains(bytes.ToLower(text), []byte(querytest.Canary))
	if shown && user != "admin" {
		faults = append(faults, "it shows what is another's")
	}
	b.seen.Lock()
	defer b.seen.Unlock()
	b.seen.status[res.StatusCode]++
	if shown && user == "admin" {
		b.seen.canary[e.method+" "+e.path] = true
	}
	for _, f := range faults {
		var where []string
		for p := range texts {
			where = append(where, fmt.Sprint(p))
		}
		slices.Sort(where)
		if said := fmt.Sprint(e.method, e.path, res.StatusCode, f, where); !b.seen.refused[said] {
			b.seen.refused[said] = true
			b.t.Errorf("%s %s %s %.300q: %s: %s %s %.1000s", user, e.method, e.path, fmt.Sprint(texts), f, res.Status, kind, text)
		}
	}
}

// together sends a text to each of the places in one request, text i+j to place j. When the
// answer is a refusal, one text may have kept another from being used: then each half.
func (b *borders) together(e endpoint, user string, path map[string]string, at []place, all []string, i int) {
	texts := map[place]string{}
	for j, p := range at {
		texts[p] = all[(i+j)%len(all)]
	}
	if status := b.request(e, user, path, texts); status >= 400 && len(at) > 1 && status != http.StatusForbidden {
		half := len(at) / 2
		b.together(e, user, path, at[:half], all, i)
		b.together(e, user, path, at[half:], all, i+half)
	}
}

// counts are all tables and views, with the rows of those that nothing else fills meanwhile.
func (b *borders) counts() string {
	b.t.Helper()
	rows, err := embeddedtest.Connect(b.t, b.database).Query(b.t.Context(), "SELECT name, engine, if(engine = 'MergeTree', total_rows, 0) FROM system.tables WHERE database = currentDatabase() ORDER BY name")
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var name, engine string
		var n uint64
		if err := rows.Scan(&name, &engine, &n); err != nil {
			b.t.Fatal(err)
		}
		fmt.Fprintln(&all, name, engine, n)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return all.String()
}

func newBorders(t *testing.T) *borders {
	t.Helper()
	b := &borders{t: t}
	b.seen.status, b.seen.canary, b.seen.refused = map[int]int{}, map[string]bool{}, map[string]bool{}
	b.site = newSite(t, func(o *Options) {
		o.Exports = 100
		o.Recipients = []config.Recipient{{Report: "daily", Domain: querytest.Canary + ".example", Recipient: querytest.Canary + "@example.org"}}
		o.SetRecipient = func(ctx context.Context, by state.By, report, domain, username, recipient string) error {
			return mailing.SetRecipient(ctx, o.Store, by, report, domain, username, recipient)
		}
		conn := embeddedtest.Connect(t, o.Query.Database)
		o.History = func(ctx context.Context, kinds []string, limit int) (any, error) {
			return trail.History(ctx, o.Store, conn, o.Query.Database, trail.Filter{Kinds: kinds, Limit: limit})
		}
	})
	conn := embeddedtest.Connect(t, b.database)
	for _, sql := range append(querytest.Canaries(now().Add(-2*time.Hour), "example.com", "bob@example.org"),
		// A lock of all of another domain, as the copy of the state has it.
		"INSERT INTO state_changes (epoch, offset, time, kind, parts, action, reason, effect, after) VALUES (1, 1, now64(3), 'lock', ['user', 'example.org', '*'], 'lock', '"+querytest.Canary+"', 'applied', '{\"locked\":true}')") {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	by := state.By{Actor: querytest.Canary, How: state.System}
	for _, u := range []state.User{{Name: "victim", Role: "domain", Domains: []string{"example.com"}}, {Name: querytest.Canary, Role: "domain", Domains: []string{querytest.Canary + ".example"}}} {
		if err := b.accounts.Add(t.Context(), by, u, password(u.Name)); err != nil {
			t.Fatal(err)
		}
	}
	b.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	// What others have decided.
	other := querytest.Canary + ".example"
	b.want(t, "admin", "PUT", "/api/v1/outgoing-users", `{"domain":"`+other+`","identification":"sender"}`, 200)
	b.want(t, "admin", "POST", "/api/v1/locks", `{"targets":[{"domain":"`+other+`","user":"u"},{"domain":"`+other+`","identity":"i@`+other+`"}],"reason":"`+querytest.Canary+`"}`, 200)
	b.want(t, "admin", "POST", "/api/v1/blocks", `{"senders":[{"domain":"`+other+`","sender":"s@`+other+`"}],"reason":"`+querytest.Canary+`"}`, 200)
	b.want(t, "admin", "PUT", "/api/v1/schedules", `{"report":"daily","domain":"`+other+`","user":"u","recipient":"r@`+other+`"}`, 200)
	b.want(t, querytest.Canary, "POST", "/api/v1/tokens", `{"label":"`+querytest.Canary+`"}`, 200)
	for _, user := range []string{"dora", "emil"} {
		b.want(t, user, "GET", "/api/v1/me", "", 200)
	}
	return b
}

// everybody are the roles.
var (
	everybody = []string{"admin", "dora", "emil"}
	roles     = map[string]access.Role{"admin": access.Admin, "dora": access.DomainUser, "emil": access.AddressUser}
)

// Whatever text is put into whatever place of a request to whatever endpoint, by whomever: the
// answer is one of the API's, it shows nobody what is another's, and the tables are as before.
func TestBorders(t *testing.T) {
	t.Parallel()
	b := newBorders(t)
	defer func() { t.Log(b.seen.status) }()
	all := New(Options{}).endpoints()
	slices.SortStableFunc(all, func(x, y endpoint) int { return strings.Compare(y.method, x.method) }) // PUT and POST before GET
	before := b.counts()
	// Each endpoint does what it is for: the texts get as far as they can.
	for _, e := range all {
		_, joint := placesOf(e)
		texts := map[place]string{}
		for _, p := range joint {
			if v := plainOf(e, p.name); v != "" && e.params[slices.IndexFunc(e.params, func(q param) bool { return q.name == p.name })].words == nil {
				texts[p] = v
			}
		}
		if status := b.request(e, "admin", nil, texts); status != 200 && !(e.method == "DELETE" && status == 404) {
			t.Fatalf("%s %s with plain values: %d: give plain a word that it takes", e.method, e.path, status)
		}
	}
	hostile, few := querytest.Hostile(), querytest.Joined(4)
	var work errgroup.Group
	work.SetLimit(6)
	try := func(f func()) { work.Go(func() error { f(); return nil }) }
	// What ClickHouse is asked with each time is dear: there all texts in few values, and some of
	// them alone, other ones in each place.
	places := 0
	some := func() (texts []string) {
		texts = append(texts, few...)
		for i := places % 6; i < len(hostile); i += 6 {
			texts = append(texts, hostile[i])
		}
		places++
		return texts
	}
	last := ""
	for _, e := range all {
		if e.open && e.body != nil {
			continue // a login: at the end
		}
		if e.method != last {
			_ = work.Wait()
			last = e.method
		}
		single, joint := placesOf(e)
		var users []string
		for _, user := range everybody {
			if len(e.least) == 0 || slices.Contains(e.least, roles[user]) {
				users = append(users, user)
			} else if status := b.request(e, user, nil, nil); status != http.StatusForbidden {
				t.Errorf("%s %s %s: %d", user, e.method, e.path, status)
			}
		}
		each := func(texts []string, f func(user, text string)) {
			for i, text := range texts {
				f(users[i%len(users)], text)
			}
		}
		for _, p := range single {
			if p.in == "header" { // of an answer that is whole already
				for i, text := range few {
					try(func() { b.request(e, users[i%len(users)], nil, map[place]string{p: text}) })
				}
				continue
			}
			texts := hostile
			if e.method == "GET" && p.in == "path" {
				texts = some()
			}
			try(func() {
				each(texts, func(user, text string) { b.request(e, user, nil, map[place]string{p: text}) })
			})
		}
		// What "x" is good for, any text may be; the rest is refused before ClickHouse is asked.
		var free []place
		for _, p := range joint {
			if b.request(e, users[0], nil, map[place]string{p: "x"}) < 400 {
				free = append(free, p)
				continue
			}
			try(func() {
				each(hostile, func(user, text string) { b.request(e, user, nil, map[place]string{p: text}) })
			})
		}
		if len(free) > 0 {
			texts := some()
			for i := range texts {
				try(func() { b.together(e, users[i%len(users)], nil, free, texts, i) })
			}
		}
	}
	_ = work.Wait()
	b.reports(try, all, hostile, querytest.Joined(2))
	_ = work.Wait()
	b.rules(try, few)
	_ = work.Wait()
	b.cursors(try, querytest.Joined(2))
	_ = work.Wait()
	// With all that was written, everything can still be read.
	for _, e := range all {
		for _, user := range everybody {
			if e.method == "GET" {
				b.request(e, user, nil, nil)
			}
		}
		if e.open && e.body != nil {
			single, _ := placesOf(e)
			for _, p := range single {
				for _, text := range hostile {
					b.request(e, "admin", nil, map[place]string{p: text})
				}
			}
		}
	}
	if after := b.counts(); after != before {
		t.Errorf("the tables were\n%s\nand are\n%s", before, after)
	}
	for _, path := range []string{"/search", "/export", "/reports/{name}", "/locks", "/blocks", "/users", "/tokens", "/schedules", "/outgoing-users", "/history"} {
		if !b.seen.canary["GET "+path] {
			t.Errorf("the admin was not shown by %s what the others must not see: the test is blind", path)
		}
	}
}

// reports tries each parameter of each report.
func (b *borders) reports(try func(func()), all []endpoint, hostile, few []string) {
	e := all[slices.IndexFunc(all, func(e endpoint) bool { return e.more })]
	var listed []Report
	if err := json.Unmarshal([]byte(b.want(b.t, "admin", "GET", base+"/reports", "", 200)), &listed); err != nil {
		b.t.Fatal(err)
	}
	for n, r := range listed {
		path := map[string]string{"name": r.Name}
		var free []place
		for _, p := range r.Parameters {
			at := place{in: "query", name: p.Name}
			if p.Type == "String" && p.Choices == nil && p.Name != "tz" {
				free = append(free, at)
				continue
			}
			for i := n % 9; i < len(hostile); i += 9 {
				try(func() { b.request(e, everybody[n%3], path, map[place]string{at: hostile[i]}) })
			}
		}
		for i := range few {
			try(func() { b.together(e, everybody[(n+i)%3], path, free, few, i) })
		}
	}
}

// rules tries each field of each kind with each operator.
func (b *borders) rules(try func(func()), few []string) {
	e := endpoint{method: "GET", path: "/search"}
	for _, r := range search.Relations() {
		for i := range 2 { // of the few texts each field gets two
			var any []search.Rule
			for j, f := range r.Fields() {
				if _, err := (search.Query{Kind: r.Name, Where: search.Rule{Field: f + ".key", Op: search.Is, Values: []string{"x"}}}).Build("d", access.Everything(), now()); err == nil {
					f += "." + few[(i+j)%len(few)]
				}
				for _, op := range search.Ops() {
					one := search.Rule{Field: f, Op: op, Values: []string{few[(i+j+len(op))%len(few)]}}
					if _, err := (search.Query{Kind: r.Name, Where: one}).Build("d", access.Everything(), now()); err == nil {
						any = append(any, one)
					}
				}
			}
			for part := range slices.Chunk(any, search.MaxRules/2) {
				text, err := json.Marshal(search.Rule{Any: part})
				if err != nil {
					b.t.Fatal(err)
				}
				try(func() {
					b.request(e, everybody[i%3], nil, map[place]string{{in: "query", name: "kind"}: r.Name, {in: "query", name: "since"}: "100d", {in: "query", name: "rules"}: string(text)})
				})
			}
		}
	}
}

// cursors tries each value of cursors, of one that is sorted by a column of each type.
func (b *borders) cursors(try func(func()), few []string) {
	e := endpoint{method: "GET", path: "/search"}
	met := map[schema.Type]bool{}
	texts := append(slices.Clone(few), "", "x", "-1", "\\", "\xff", "99999999999999999999", "2262-04-12 00:00:00", "NULL")
	for _, r := range slices.Backward(search.Relations()) { // the view, which is dear, comes last
		for _, c := range r.Columns() {
			if met[c.Type] || c.Type == schema.Texts || c.Type == schema.Names || c.Type == schema.Map || c.Type == schema.Codes || c.Type == schema.IPs {
				continue
			}
			var page Page
			text := b.want(b.t, "admin", "GET", base+"/search?since=100d&limit=1&kind="+r.Name+"&sort="+c.Name, "", 200)
			if err := json.Unmarshal([]byte(text), &page); err != nil {
				b.t.Fatalf("%s by %s: %v %s", r.Name, c.Name, err, text)
			}
			if page.Next == "" {
				break // the kind has one row
			}
			met[c.Type] = true
			raw, err := base64.RawURLEncoding.DecodeString(page.Next)
			if err != nil {
				b.t.Fatal(err)
			}
			var cursor map[string]any
			if err := json.Unmarshal(raw, &cursor); err != nil {
				b.t.Fatal(err)
			}
			for i := range cursor["v"].([]any) {
				if i > 0 && len(met) > 1 {
					break // the rest of the key is that of the others
				}
				for _, text := range texts {
					changed := maps.Clone(cursor)
					values := slices.Clone(cursor["v"].([]any))
					values[i] = text
					changed["v"] = values
					raw, err := json.Marshal(changed)
					if err != nil {
						b.t.Fatal(err)
					}
					try(func() {
						b.request(e, everybody[1+i%2], nil, map[place]string{
							{in: "query", name: "kind"}: r.Name, {in: "query", name: "since"}: "100d", {in: "query", name: "sort"}: c.Name,
							{in: "query", name: "after"}: base64.RawURLEncoding.EncodeToString(raw),
						})
					})
				}
			}
		}
	}
	if len(met) < 7 {
		b.t.Errorf("cursors of %d types alone", len(met))
	}
}
