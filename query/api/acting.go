package api

import (
	"net/http"
	"time"

	"millrace/query"
	"millrace/query/guard"
	"millrace/query/lock"
	"millrace/query/mailing"
)

func words[T ~string](all []T) []string {
	var texts []string
	for _, w := range all {
		texts = append(texts, string(w))
	}
	return texts
}

func (s *Server) acting() []endpoint {
	return []endpoint{
		{
			method: "GET", path: "/identities", summary: "Every identity that was seen in a period, with counts and its lock", least: deciders,
			params: []param{
				{name: "domain", typ: "string", doc: "of this domain"},
				{name: "since", typ: "string", doc: "from this time on; 24h by default"},
				{name: "until", typ: "string", doc: "before this time"},
				{name: "limit", typ: "integer", doc: "those with most mail that was not accepted, 1 to 10000; 1000 by default"},
			},
			answer: []Identity{}, serve: (*request).identities,
		},
		{
			method: "GET", path: "/lists/{list}", summary: "A list for mail servers: identities, users, domains (locked) or senders (blocked)", least: deciders,
			params:  append([]param{{name: "format", typ: "string", doc: "text by default", words: words(guard.AllFormats)}}, ofUser...),
			formats: []string{"text/plain", "application/json"}, serve: (*request).list,
		},
		{
			method: "GET", path: "/schedules", summary: "Who gets reports by mail", least: deciders,
			answer: []Schedule{}, serve: (*request).schedules,
		},
		{
			method: "PUT", path: "/schedules", summary: "Say who gets a report by mail; nobody without a recipient", least: deciders,
			body: ScheduleOrder{}, answer: []Schedule{}, serve: (*request).setSchedule,
		},
	}
}

// Identity is one that was seen, or is locked.
type Identity struct {
	guard.Identity
	Lock *Lock `json:"lock,omitempty"`
}

// ScheduleOrder says who gets a report.
type ScheduleOrder struct {
	Report    string `json:"report"` // daily, identities
	Domain    string `json:"domain"`
	User      string `json:"user,omitempty"` // none: all of the domain
	Recipient string `json:"recipient,omitempty"`
}

// Schedule is who gets a report.
type Schedule struct {
	ScheduleOrder
	Set time.Time `json:"set,omitzero"` // none: the configuration has it
	By  string    `json:"by"`
}

func (r *request) identities() error {
	now := r.s.o.Now()
	q := guard.IdentityQuery{Domain: r.text("domain"), Since: now.Add(-24 * time.Hour), Limits: r.s.o.Limits}
	for name, at := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := r.text(name); text != "" {
			var err error
			if *at, err = query.ParseTime(text, now, time.UTC); err != nil {
				return problemf(http.StatusBadRequest, "%s=%q: %v", name, text, err)
			}
		}
	}
	var err error
	if q.Limit, err = r.number("limit", 1000, 1, 10_000); err != nil {
		return err
	}
	if q.Scope, err = r.who.Scope().Narrow(r.s.database()); err != nil {
		return err
	}
	found, err := guard.FindIdentities(r.Context(), r.s.o.Query, r.s.o.Store.Snapshot(), q, now)
	if err != nil {
		return err
	}
	all := []Identity{}
	for _, i := range found {
		if !r.sees(i.Domain) {
			continue
		}
		one := Identity{Identity: i}
		if l := i.Lock; i.Locked {
			one.Lock = &Lock{Target{l.Domain, l.User, l.Identity}, true, l.Until, l.Code, l.Rule, decided(l.Last)}
		}
		all = append(all, one)
	}
	return r.json(all)
}

func (r *request) list() error {
	list, err := guard.ParseList(r.PathValue("list"))
	if err != nil {
		return problemf(http.StatusNotFound, "%v", err)
	}
	format := guard.Text
	if text := r.text("format"); text != "" {
		if format, err = guard.ParseFormat(text); err != nil {
			return badRequest(err)
		}
	}
	all := guard.ListsOf(r.s.o.Store.Snapshot(), list, lock.Filter{Domain: r.text("domain"), User: r.text("user")}, r.s.o.Now())
	seen := all[:0:0]
	for _, e := range all {
		if r.sees(e.Domain) {
			seen = append(seen, e)
		}
	}
	return r.whole(format.ContentType(), guard.Render(format, list, seen))
}

func (r *request) schedules() error {
	all := []Schedule{}
	for _, s := range mailing.Schedules(r.s.o.Store.Snapshot(), r.s.o.Recipients) {
		if r.sees(s.Domain) {
			all = append(all, Schedule{ScheduleOrder{s.Report, s.Domain, s.User, s.Recipient}, s.Set, s.By})
		}
	}
	return r.json(all)
}

func (r *request) setSchedule() error {
	var order ScheduleOrder
	if err := r.into(&order); err != nil {
		return err
	}
	targets, err := r.targets([]Target{{Domain: order.Domain, User: order.User}})
	if err != nil {
		return err
	}
	if err := r.s.o.SetRecipient(r.Context(), r.by(), order.Report, targets[0].Domain, order.User, order.Recipient); err != nil {
		return mine(err)
	}
	return r.schedules()
}
