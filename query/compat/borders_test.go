package compat

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/embedded/embeddedtest"
	"millrace/query/access"
	"millrace/query/lock"
	"millrace/query/querytest"
	"millrace/query/state"
)

// plainly are arguments with which every call does what it is for. A test fails when a new call
// needs another one.
var plainly = map[string]string{
	"domain": "example.com", "identity": "bob@example.com", "sender": "spam@example.net", "recipient": "abuse@example.com", "host": "logs.example.net", "port": "514", "limit": "10",
}

// borders send hostile texts to a site.
type borders struct {
	*site
	t      *testing.T
	mu     sync.Mutex
	said   map[string]bool
	status map[int]int
	shown  map[string]bool // calls that showed the canary to the admin
}

// try makes a call as a user, with these arguments beside the plain ones that it needs.
func (b *borders) try(user, name string, args map[string]string) int {
	f := functions[name]
	v := url.Values{"call": {name}}
	find := slices.Contains(f.arguments, "predicate")
	for _, a := range f.arguments {
		if p, ok := plainly[a]; ok && (!find || a == "limit") {
			v.Set(a, p)
		}
	}
	for a, text := range args {
		v.Set(a, text)
	}
	method, body, target := http.MethodGet, "", b.URL+"/cgi-bin/api?"+v.Encode()
	if len(target) > 4000 {
		method, body, target = http.MethodPost, v.Encode(), b.URL+"/cgi-bin/api"
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		b.t.Error(err)
		return 0
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.SetBasicAuth(user, "correct-horse-"+user)
	res, err := b.Client().Do(r)
	if err != nil {
		b.t.Errorf("%s %s %.300q: %v", user, name, fmt.Sprint(args), err)
		return 0
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Errorf("%s %s %.300q: %v", user, name, fmt.Sprint(args), err)
	}
	answer, fault := string(text), ""
	shown := strings.Contains(strings.ToLower(answer), querytest.Canary)
	switch {
	case res.StatusCode >= 500:
		fault = "a fault of the server's"
	case res.StatusCode >= 400 && (!strings.HasPrefix(answer, "error: ") || strings.Count(answer, "\n") != 1 || strings.Contains(answer, "@")):
		fault = "no error of this API"
	case res.StatusCode != 200 && res.StatusCode < 400:
		fault = "leads elsewhere"
	case shown && user != "admin":
		fault = "it shows what is another's"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status[res.StatusCode]++
	if shown && user == "admin" {
		b.shown[name] = true
	}
	if fault == "" {
		return res.StatusCode
	}
	if said := fmt.Sprint(name, fault, slices.Sorted(maps.Keys(args))); !b.said[said] {
		b.said[said] = true
		b.t.Errorf("%s %s %.300q: %s: %s %.500s", user, name, fmt.Sprint(args), fault, res.Status, answer)
	}
	return res.StatusCode
}

// together gives text i+j to argument j, all in one call. When it is refused, one text may have
// kept another from being used: then each half.
func (b *borders) together(user, name string, arguments, all []string, i int) {
	args := map[string]string{}
	for j, a := range arguments {
		args[a] = all[(i+j)%len(all)]
	}
	if b.try(user, name, args) >= 400 && len(arguments) > 1 {
		half := len(arguments) / 2
		b.together(user, name, arguments[:half], all, i)
		b.together(user, name, arguments[half:], all, i+half)
	}
}

func counts(t *testing.T, database string) string {
	t.Helper()
	rows, err := embeddedtest.Connect(t, database).Query(t.Context(), "SELECT name, engine, if(engine = 'MergeTree', total_rows, 0) FROM system.tables WHERE database = currentDatabase() ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var name, engine string
		var n uint64
		if err := rows.Scan(&name, &engine, &n); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, name, engine, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// Whatever text is put into whatever argument of whatever call, by whomever: the answer is one
// of this API's, it shows nobody what is another's, and the tables are as before.
func TestBorders(t *testing.T) {
	t.Parallel()
	b := &borders{t: t, said: map[string]bool{}, status: map[int]int{}, shown: map[string]bool{}}
	b.site = newSite(t, append(slices.Clone(corpus), querytest.Canaries(time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC), "example.com", "bob@example.org")...)...)
	other := querytest.Canary + ".example"
	by := state.By{Actor: querytest.Canary, How: state.System}
	for _, domain := range []string{"example.com", other} {
		if err := lock.SetOutgoingUser(t.Context(), b.store, by, domain, "*", "", func(u *state.OutgoingUser) error {
			u.Identification = state.BySender
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range map[string]map[string]string{
		"api_lock_outgoing_identity":    {"domain": other, "identity": "i@" + other, "reason": querytest.Canary},
		"api_blacklist_outgoing_sender": {"domain": other, "sender": "s@" + other},
	} {
		if status := b.try("admin", name, args); status != 200 {
			t.Fatalf("%s: %d", name, status)
		}
	}
	before := counts(t, b.database)
	for _, name := range Calls() {
		if status := b.try("admin", name, nil); status != 200 {
			t.Fatalf("%s with plain arguments: %d: give plainly what it needs", name, status)
		}
	}
	hostile, few := querytest.Hostile(), querytest.Joined(3)
	var work errgroup.Group
	work.SetLimit(4)
	roles := map[string]access.Role{"admin": access.Admin, "dora": access.DomainUser, "emil": access.AddressUser}
	finders := 0
	for _, name := range Calls() {
		f := functions[name]
		var users []string
		for _, user := range []string{"admin", "dora", "emil"} {
			if f.least == access.AddressUser || roles[user] == access.Admin || roles[user] == f.least {
				users = append(users, user)
			} else if status := b.try(user, name, nil); status != http.StatusForbidden {
				t.Errorf("%s %s: %d", user, name, status)
			}
		}
		var free, strict []string // arguments that any text is good for, and those that refuse some at once
		for _, a := range f.arguments {
			if slices.Contains(f.arguments, "predicate") && b.try("admin", name, map[string]string{a: "x"}) < 400 {
				free = append(free, a)
			} else {
				strict = append(strict, a)
			}
		}
		for _, a := range append(strict, "call") {
			work.Go(func() error {
				for i, text := range slices.Concat(hostile, few) {
					b.try(users[i%len(users)], name, map[string]string{a: text})
				}
				return nil
			})
		}
		work.Go(func() error { // the name of an argument
			for i, text := range few {
				b.try(users[i%len(users)], name, map[string]string{text: text})
				b.try(users[i%len(users)], name, map[string]string{"api_language": text})
			}
			return nil
		})
		if len(free) == 0 {
			continue
		}
		n := finders
		finders++
		for i := range hostile {
			if i%8 == n%8 { // the four that find and count do it by the same means
				work.Go(func() error { b.together(users[i%len(users)], name, free, hostile, i); return nil })
			}
		}
		for i := range few {
			for _, user := range users {
				work.Go(func() error { b.together(user, name, free, few, i); return nil })
			}
		}
	}
	_ = work.Wait()
	// With all that was written, everything can still be read.
	for _, name := range Calls() {
		for _, user := range []string{"admin", "dora", "emil"} {
			args := map[string]string{}
			if user == "admin" && slices.Contains(functions[name].arguments, "domain") && !slices.Contains(functions[name].arguments, "predicate") {
				args["domain"], args["identity"] = other, ""
				if !slices.Contains(functions[name].arguments, "identity") {
					delete(args, "identity")
				}
			}
			b.try(user, name, args)
		}
	}
	if after := counts(t, b.database); after != before {
		t.Errorf("the tables were\n%s\nand are\n%s", before, after)
	}
	for _, name := range []string{"api_find_outgoing_messages", "api_list_locked_identities", "api_get_outgoing_sender_blacklist", "api_find_outgoing_user_locking"} {
		if !b.shown[name] {
			t.Errorf("the admin was not shown by %s what the others must not see: the test is blind", name)
		}
	}
	t.Log(b.status)
}
