package api

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"millrace/query/access"
	"millrace/query/guard"
	"millrace/query/lock"
	"millrace/query/state"
)

var deciders = []access.Role{access.Admin, access.DomainUser}

var ofUser = []param{
	{name: "domain", typ: "string", doc: "of this domain alone"},
	{name: "user", typ: "string", doc: "of this outgoing user alone"},
}

func (s *Server) deciding() []endpoint {
	return []endpoint{
		{
			method: "GET", path: "/locks", summary: "Locks of identities and of outgoing users", least: deciders,
			params: append(ofUser[:2:2], param{name: "all", typ: "boolean", doc: "also those that hold no more"}),
			answer: []Lock{}, serve: (*request).locks,
		},
		{
			method: "POST", path: "/locks", summary: "Lock identities or outgoing users, as many as are named, with a reason", least: deciders,
			body: LockOrder{}, answer: Done{}, serve: (*request).lock,
		},
		{
			method: "POST", path: "/unlock", summary: "Unlock identities or outgoing users", least: deciders,
			body: UnlockOrder{}, answer: Done{}, serve: (*request).unlock,
		},
		{
			method: "GET", path: "/blocks", summary: "Blocked senders", least: deciders,
			params: append(ofUser[:2:2], param{name: "all", typ: "boolean", doc: "also those that are blocked no more"}),
			answer: []Block{}, serve: (*request).blocks,
		},
		{
			method: "POST", path: "/blocks", summary: "Block senders", least: deciders,
			body: BlockOrder{}, answer: Done{}, serve: (*request).block,
		},
		{
			method: "POST", path: "/unblock", summary: "Let blocked senders send again", least: deciders,
			body: BlockOrder{}, answer: Done{}, serve: (*request).unblock,
		},
		{
			method: "GET", path: "/outgoing-users", summary: "Settings of outgoing users", least: deciders,
			params: ofUser[:1:1], answer: []OutgoingUser{}, serve: (*request).outgoingUsers,
		},
		{
			method: "PUT", path: "/outgoing-users", summary: "Set an outgoing user's identification method, automatic locking and response code", least: deciders,
			body: OutgoingUser{}, answer: OutgoingUser{}, serve: (*request).setOutgoingUser,
		},
		{
			method: "GET", path: "/history", summary: "Who decided what, the last decisions first", least: admins,
			params: []param{
				{name: "kind", typ: "string", doc: "of this kind alone: lock, block, outgoing-user, user, token, schedule, sent, rule-fired"},
				{name: "limit", typ: "integer", doc: "so many, 1 to 1000; 100 by default"},
			},
			answer: []struct{}{}, serve: (*request).history,
		},
	}
}

// Target is an identity of an outgoing user or, without identity, the user.
type Target struct {
	Domain   string `json:"domain"`
	User     string `json:"user,omitempty"` // none or *: all of the domain
	Identity string `json:"identity,omitempty"`
}

// Decided is who decided something, and why.
type Decided struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// Lock is one that holds, or has held.
type Lock struct {
	Target
	Locked  bool      `json:"locked"`
	Until   time.Time `json:"until,omitzero"` // it ends by itself
	Code    string    `json:"code,omitempty"` // the answer to the sender
	Rule    string    `json:"rule,omitempty"` // that made it
	Decided Decided   `json:"decided"`
}

// Block is a sender who is blocked.
type Block struct {
	Domain  string  `json:"domain"`
	User    string  `json:"user,omitempty"`
	Sender  string  `json:"sender"`
	Blocked bool    `json:"blocked"`
	Rule    string  `json:"rule,omitempty"`
	Decided Decided `json:"decided"`
}

// LockTarget is who is locked: by name, or as who has sent a message.
type LockTarget struct {
	Domain    string `json:"domain,omitempty"`
	User      string `json:"user,omitempty"`      // none or *: all of the domain
	Identity  string `json:"identity,omitempty"`  // none: the outgoing user
	Message   string `json:"message,omitempty"`   // id of a message, in place of the names
	Recipient string `json:"recipient,omitempty"` // of the message; none: all
}

// LockOrder locks.
type LockOrder struct {
	Targets []LockTarget `json:"targets"` // those of a report's row, for example
	Reason  string       `json:"reason"`
	Until   time.Time    `json:"until,omitzero"`
	Code    string       `json:"code,omitempty"` // "", 4xx, 5xx or blackhole
}

// UnlockOrder unlocks.
type UnlockOrder struct {
	Targets []Target `json:"targets"`
	Reason  string   `json:"reason,omitempty"`
}

// BlockOrder blocks, or ends blocks.
type BlockOrder struct {
	Senders []BlockTarget `json:"senders"`
	Reason  string        `json:"reason,omitempty"`
}

// BlockTarget is a sender within an outgoing user.
type BlockTarget struct {
	Domain string `json:"domain"`
	User   string `json:"user,omitempty"`
	Sender string `json:"sender"`
}

// Done is what came of an order.
type Done struct {
	Done      int      `json:"done"`
	Unchanged []string `json:"unchanged"`         // these were so already
	Targets   []Target `json:"targets,omitempty"` // whom messages were of
}

// OutgoingUser is how the source tells an outgoing user's identities apart.
type OutgoingUser struct {
	Domain            string `json:"domain"`
	User              string `json:"user,omitempty"`           // none or *: all of the domain that have no settings of their own
	Identification    string `json:"identification,omitempty"` // sender, auth-user, header:NAME or none
	LockAutomatically bool   `json:"lock_automatically"`
	ResponseCode      string `json:"response_code,omitempty"`
}

func decided(m state.Mark) Decided { return Decided{m.At, m.Actor, m.Reason} }

// sees tells whether what is the domain's is shown to the one who asks.
func (r *request) sees(domain string) bool { return MayDecide(r.who, domain) == nil }

func (r *request) filter() (lock.Filter, error) {
	all, err := r.flag("all")
	return lock.Filter{Domain: r.text("domain"), User: r.text("user"), All: all}, err
}

func (r *request) locks() error {
	f, err := r.filter()
	if err != nil {
		return err
	}
	all := []Lock{}
	now := r.s.o.Now()
	for _, l := range lock.List(r.s.o.Store.Snapshot(), f, now) {
		if r.sees(l.Domain) {
			all = append(all, Lock{Target{l.Domain, l.User, l.Identity}, l.Held(now), l.Until, l.Code, l.Rule, decided(l.Last)})
		}
	}
	return r.json(all)
}

// targets are those of an order, all of which the asker may decide about.
func (r *request) targets(named []Target) ([]lock.Target, error) {
	if len(named) == 0 {
		return nil, problemf(http.StatusBadRequest, "no target is named")
	}
	var all []lock.Target
	for _, t := range named {
		parsed, err := lock.NewTarget(t.Domain, t.User, t.Identity)
		if err != nil {
			return nil, badRequest(err)
		}
		if err := MayDecide(r.who, parsed.Domain); err != nil {
			return nil, err
		}
		all = append(all, parsed)
	}
	return all, nil
}

func (r *request) by() state.By { return By(r.who, state.API) }

func (r *request) done(result lock.Result, err error) error {
	if err != nil {
		return err
	}
	return r.json(Done{Done: result.Done, Unchanged: append([]string{}, result.Unchanged...)})
}

func (r *request) lock() error {
	var order LockOrder
	if err := r.into(&order); err != nil {
		return err
	}
	if order.Reason == "" {
		return problemf(http.StatusBadRequest, "reason is missing: whoever unlocks wants to know why")
	}
	targets, sent, err := r.toLock(order.Targets)
	if err != nil {
		return err
	}
	result, err := lock.Lock(r.Context(), r.s.o.Store, r.by(), targets, lock.Options{Reason: order.Reason, Until: order.Until, Code: order.Code})
	if err != nil {
		return err
	}
	return r.json(Done{result.Done, append([]string{}, result.Unchanged...), sent})
}

// toLock are the targets of an order, those of its messages last; sent are the latter.
func (r *request) toLock(named []LockTarget) (targets []lock.Target, sent []Target, err error) {
	var names []Target
	var messages []guard.MessageRef
	for _, t := range named {
		switch {
		case t.Message == "" && t.Recipient != "":
			return nil, nil, problemf(http.StatusBadRequest, "a target has the recipient %q and no message", t.Recipient)
		case t.Message == "":
			names = append(names, Target{t.Domain, t.User, t.Identity})
		case t.Domain+t.User+t.Identity != "":
			return nil, nil, problemf(http.StatusBadRequest, "the target with message %q has names too: want the one or the other", t.Message)
		default:
			messages = append(messages, guard.MessageRef{ID: t.Message, Recipient: t.Recipient})
		}
	}
	snapshot := r.s.o.Store.Snapshot()
	if len(names) > 0 || len(messages) == 0 {
		if targets, err = r.targets(names); err != nil {
			return nil, nil, err
		}
		for i := range targets {
			if targets[i], err = lock.Resolve(snapshot, targets[i]); err == nil {
				err = MayDecide(r.who, targets[i].Domain)
			}
			if err != nil {
				return nil, nil, err
			}
		}
	}
	if len(messages) == 0 {
		return targets, nil, nil
	}
	scope, err := r.who.Scope().Narrow(r.s.database())
	if err != nil {
		return nil, nil, err
	}
	found, err := guard.FindMessages(r.Context(), r.s.o.Query, snapshot, messages, scope)
	var none *guard.NoTargetError
	if errors.As(err, &none) {
		return nil, nil, problemf(http.StatusConflict, "%v", err)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, m := range found {
		if err := MayDecide(r.who, m.Target.Domain); err != nil {
			return nil, nil, err
		}
		if t := (Target{m.Target.Domain, m.Target.User, m.Target.Identity}); !slices.Contains(sent, t) {
			sent, targets = append(sent, t), append(targets, m.Target)
		}
	}
	return targets, sent, nil
}

func (r *request) unlock() error {
	var order UnlockOrder
	if err := r.into(&order); err != nil {
		return err
	}
	targets, err := r.targets(order.Targets)
	if err != nil {
		return err
	}
	return r.done(lock.Unlock(r.Context(), r.s.o.Store, r.by(), targets, order.Reason))
}

func (r *request) blocks() error {
	f, err := r.filter()
	if err != nil {
		return err
	}
	all := []Block{}
	for _, b := range lock.Blocked(r.s.o.Store.Snapshot(), f) {
		if r.sees(b.Domain) {
			all = append(all, Block{b.Domain, b.User, b.Sender, b.Blocked, b.Rule, decided(b.Last)})
		}
	}
	return r.json(all)
}

// senders are those of an order, all of which the asker may decide about.
func (r *request) senders() (order BlockOrder, all []lock.Sender, err error) {
	if err := r.into(&order); err != nil {
		return order, nil, err
	}
	if len(order.Senders) == 0 {
		return order, nil, problemf(http.StatusBadRequest, "no sender is named")
	}
	for _, t := range order.Senders {
		parsed, err := lock.NewSender(t.Domain, t.User, t.Sender)
		if err != nil {
			return order, nil, badRequest(err)
		}
		if err := MayDecide(r.who, parsed.Domain); err != nil {
			return order, nil, err
		}
		all = append(all, parsed)
	}
	return order, all, nil
}

func (r *request) block() error {
	order, senders, err := r.senders()
	if err != nil {
		return err
	}
	return r.done(lock.Block(r.Context(), r.s.o.Store, r.by(), senders, order.Reason, ""))
}

func (r *request) unblock() error {
	order, senders, err := r.senders()
	if err != nil {
		return err
	}
	return r.done(lock.Unblock(r.Context(), r.s.o.Store, r.by(), senders, order.Reason))
}

func outgoingUser(u state.OutgoingUser) OutgoingUser {
	method := u.Identification
	if u.Header != "" {
		method += ":" + u.Header
	}
	return OutgoingUser{u.Domain, u.User, method, u.LockAutomatically, u.ResponseCode}
}

func (r *request) outgoingUsers() error {
	all := []OutgoingUser{}
	for _, u := range r.s.o.Store.Snapshot().OutgoingUsers() {
		if r.sees(u.Domain) && (r.text("domain") == "" || r.text("domain") == u.Domain) {
			all = append(all, outgoingUser(u))
		}
	}
	return r.json(all)
}

func (r *request) setOutgoingUser() error {
	var order OutgoingUser
	if err := r.into(&order); err != nil {
		return err
	}
	targets, err := r.targets([]Target{{Domain: order.Domain, User: order.User}})
	if err != nil {
		return err
	}
	method, header, err := lock.ParseIdentification(order.Identification)
	if order.Identification == "" {
		method, header, err = "", "", nil
	}
	if err != nil {
		return badRequest(err)
	}
	t := targets[0]
	err = lock.SetOutgoingUser(r.Context(), r.s.o.Store, r.by(), t.Domain, t.User, "", func(u *state.OutgoingUser) error {
		u.Identification, u.Header, u.LockAutomatically, u.ResponseCode = method, header, order.LockAutomatically, order.ResponseCode
		return nil
	})
	if err != nil {
		return err
	}
	set, _ := lock.Settings(r.s.o.Store.Snapshot(), t.Domain, t.User)
	return r.json(outgoingUser(set))
}

func (r *request) history() error {
	n, err := r.number("limit", 100, 1, 1000)
	if err != nil {
		return err
	}
	var kinds []string
	if k := r.text("kind"); k != "" {
		kinds = []string{k}
	}
	if r.s.o.History == nil {
		return problemf(http.StatusNotImplemented, "this server has no history")
	}
	all, err := r.s.o.History(r.Context(), kinds, n)
	if err != nil {
		return err
	}
	return r.json(all)
}
