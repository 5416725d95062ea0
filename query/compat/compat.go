package compat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"millrace/internal/source"
	"millrace/query"
	"millrace/query/access"
	"millrace/query/account"
	"millrace/query/api"
	"millrace/query/state"
	"millrace/query/state/trail"
	"millrace/schema"
)

// Options say what calls are answered from.
type Options struct {
	Query    query.Options
	Store    *state.Store
	Accounts *account.Accounts
	Limits   query.Limits
	Classes  *schema.ClassTable // nil: the built-in one
	Syslog   source.Settings    // what api_get_remote_syslog_server says until it is set

	History func(context.Context, trail.Filter) ([]trail.Change, error)
	// SetRecipient says who gets a report about an outgoing user; nobody without a recipient.
	SetRecipient func(ctx context.Context, by state.By, report, domain, username, recipient string) error

	Logger *slog.Logger
	Now    func() time.Time // default: time.Now
}

// New is the handler of /cgi-bin/api.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Classes == nil {
		o.Classes = schema.BuiltinClasses()
	}
	return &handler{o}
}

type handler struct{ o Options }

// call is one call with its arguments.
type call struct {
	*handler
	http.ResponseWriter
	r       *http.Request
	who     account.Principal
	args    url.Values
	started bool
}

// function is one of the API's.
type function struct {
	arguments []string
	least     access.Role // AddressUser: everybody; DomainUser: admins too
	do        func(*call) error
}

var functions = func() map[string]function {
	find := append(slices.Clone(findArguments), "columns", "sort_field", "limit", "offset")
	all := map[string]function{
		"api_find_messages":           {find, access.AddressUser, func(c *call) error { return c.find(false) }},
		"api_find_outgoing_messages":  {find, access.AddressUser, func(c *call) error { return c.find(true) }},
		"api_count_messages":          {findArguments, access.AddressUser, func(c *call) error { return c.count(false) }},
		"api_count_outgoing_messages": {findArguments, access.AddressUser, func(c *call) error { return c.count(true) }},

		"api_lock_outgoing_identity":            {[]string{"domain", "identity", "username", "reason"}, access.DomainUser, (*call).lock},
		"api_unlock_outgoing_identity":          {[]string{"domain", "identity", "username", "reason"}, access.DomainUser, (*call).unlock},
		"api_list_locked_identities":            {[]string{"domain", "username"}, access.DomainUser, (*call).locked},
		"api_set_locked_identity_response_code": {[]string{"domain", "identity", "username", "code", "response_code"}, access.DomainUser, (*call).responseCode},
		"api_find_outgoing_user_locking":        {historyArguments, access.DomainUser, (*call).locking},
		"api_count_outgoing_user_locking":       {historyArguments, access.DomainUser, (*call).countLocking},
		"api_blacklist_outgoing_sender":         {[]string{"domain", "sender", "username", "reason"}, access.DomainUser, (*call).block},
		"api_unblacklist_outgoing_sender":       {[]string{"domain", "sender", "username", "reason"}, access.DomainUser, (*call).unblock},
		"api_get_outgoing_sender_blacklist":     {[]string{"domain", "username"}, access.DomainUser, (*call).blocked},
		"api_set_outgoing_sender_blacklist":     {[]string{"domain", "username", "senders", "sender", "blacklist"}, access.DomainUser, (*call).setBlocked},
		"api_set_outgoing_report_recipient":     {[]string{"domain", "recipient", "username"}, access.DomainUser, func(c *call) error { return c.recipient("daily") }},
		"api_set_outgoing_report2_recipient":    {[]string{"domain", "recipient", "username"}, access.DomainUser, func(c *call) error { return c.recipient("identities") }},
		"api_set_remote_syslog_server":          {source.Fields(), access.Admin, (*call).setSyslog},
		"api_get_remote_syslog_server":          {nil, access.Admin, (*call).getSyslog},
	}
	return all
}()

// ignored are arguments that change nothing here.
var ignored = []string{"call", "api_language"}

// wrong is an error of the one who calls.
type wrong struct {
	status int
	text   string
}

func (w *wrong) Error() string { return w.text }

func wrongf(status int, format string, args ...any) error {
	return &wrong{status, fmt.Sprintf(format, args...)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{handler: h, ResponseWriter: w, r: r}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	err := c.do()
	switch {
	case err == nil || r.Context().Err() != nil:
	case c.started:
		h.o.Logger.Warn("an answer was cut off", "call", c.args.Get("call"), "user", c.who.Name, "error", err)
		panic(http.ErrAbortHandler) // nobody takes the part for the whole
	default:
		c.fail(err)
	}
}

func (c *call) fail(err error) {
	status, text := http.StatusInternalServerError, "the cause is in the log"
	var w *wrong
	if p := api.ProblemOf(err); errors.As(err, &w) {
		status, text = w.status, w.text
	} else if p != nil {
		status, text = p.Status, p.Detail
	} else {
		c.o.Logger.Error("cannot answer", "call", c.args.Get("call"), "error", err)
	}
	if status == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", `Basic realm="millrace", charset="UTF-8"`)
	}
	c.WriteHeader(status)
	fmt.Fprintf(c.ResponseWriter, "error: %s\n", strings.ReplaceAll(oneLine(text), "@", "(at)"))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (c *call) do() error {
	// A call that changes something may be a GET there; a browser of another site must not make one.
	if site := c.r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return wrongf(http.StatusForbidden, "another site sent this call")
	}
	if c.r.Header.Get("Authorization") == "" {
		return wrongf(http.StatusUnauthorized, "Basic authentication is missing")
	}
	var err error
	if c.who, err = api.Login(c.o.Accounts, c.r); errors.Is(err, account.ErrDenied) {
		return wrongf(http.StatusUnauthorized, "%v", err)
	} else if err != nil {
		return err
	}
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodPost {
		return wrongf(http.StatusMethodNotAllowed, "use GET or POST")
	}
	if err := c.r.ParseForm(); err != nil {
		return wrongf(http.StatusBadRequest, "cannot read the arguments: %v", err)
	}
	c.args = c.r.Form
	name := c.args.Get("call")
	f, known := functions[name]
	if !known {
		return wrongf(http.StatusNotFound, "there is no call %q; there are %s", name, strings.Join(Calls(), ", "))
	}
	for a, values := range c.args {
		if !slices.Contains(f.arguments, a) && !slices.Contains(ignored, a) {
			return wrongf(http.StatusBadRequest, "%s has no argument %q; it has %s", name, a, strings.Join(f.arguments, ", "))
		}
		if len(values) > 1 {
			return wrongf(http.StatusBadRequest, "the argument %s is there %d times", a, len(values))
		}
	}
	if c.who.Role != access.Admin && f.least != access.AddressUser && c.who.Role != f.least {
		return wrongf(http.StatusForbidden, "%s has the role %s, and may not call %s", c.who.Name, c.who.Role, name)
	}
	return f.do(c)
}

// Calls are the names of all calls.
func Calls() []string {
	var all []string
	for name := range functions {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// print answers with lines.
func (c *call) print(lines ...string) error {
	c.started = true
	for _, l := range lines {
		if _, err := fmt.Fprintln(c.ResponseWriter, oneLine(l)); err != nil {
			return nil // the client is gone
		}
	}
	return nil
}

func (c *call) by() state.By { return api.By(c.who, state.Compat) }

// need is an argument that must be there.
func (c *call) need(name string) (string, error) {
	if v := strings.TrimSpace(c.args.Get(name)); v != "" {
		return v, nil
	}
	return "", wrongf(http.StatusBadRequest, "the argument %s is missing", name)
}
