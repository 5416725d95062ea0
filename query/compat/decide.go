package compat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/internal/mailname"
	"millrace/internal/source"
	"millrace/query/api"
	"millrace/query/lock"
	"millrace/query/state"
	"millrace/query/state/trail"
)

var historyArguments = []string{"domain", "username", "identity", "from_date", "to_date"}

// ok is what a call answers that has done what it was asked.
const ok = "OK"

// owned is the domain that the call is about, which the caller may decide about.
func (c *call) owned() (string, error) {
	text, err := c.need("domain")
	if err != nil {
		return "", err
	}
	domain, err := mailname.Domain(text)
	if err != nil {
		return "", wrongf(http.StatusBadRequest, "%v", err)
	}
	return domain, api.MayDecide(c.who, domain)
}

// reason is why, as the call says or, since the vendor's calls have no such argument, that it was one.
func (c *call) reason() string {
	if r := c.args.Get("reason"); r != "" {
		return r
	}
	return "by " + c.args.Get("call")
}

func (c *call) target() (lock.Target, error) {
	domain, err := c.owned()
	if err != nil {
		return lock.Target{}, err
	}
	identity, err := c.need("identity")
	if err != nil {
		return lock.Target{}, err
	}
	t, err := lock.NewTarget(domain, c.args.Get("username"), identity)
	if err != nil {
		return t, wrongf(http.StatusBadRequest, "%v", err)
	}
	return t, nil
}

func (c *call) lock() error {
	t, err := c.target()
	if err != nil {
		return err
	}
	if _, err := lock.Lock(c.r.Context(), c.o.Store, c.by(), []lock.Target{t}, lock.Options{Reason: c.reason()}); err != nil {
		return err
	}
	return c.print(ok)
}

func (c *call) unlock() error {
	t, err := c.target()
	if err != nil {
		return err
	}
	if _, err := lock.Unlock(c.r.Context(), c.o.Store, c.by(), []lock.Target{t}, c.reason()); err != nil {
		return err
	}
	return c.print(ok)
}

// locked prints the identities that are locked, one a line.
func (c *call) locked() error {
	domain, err := c.owned()
	if err != nil {
		return err
	}
	var all []string
	for _, l := range lock.List(c.o.Store.Snapshot(), lock.Filter{Domain: domain, User: c.args.Get("username")}, c.o.Now()) {
		if l.Identity != "" {
			all = append(all, l.Identity)
		}
	}
	slices.Sort(all)
	return c.print(slices.Compact(all)...)
}

func (c *call) responseCode() error {
	t, err := c.target()
	if err != nil {
		return err
	}
	code := c.args.Get("code")
	if code == "" {
		code = c.args.Get("response_code")
	}
	if err := lock.SetCode(c.r.Context(), c.o.Store, c.by(), t, code); err != nil {
		if api.ProblemOf(err) == nil {
			return wrongf(http.StatusBadRequest, "%v", err)
		}
		return err
	}
	return c.print(ok)
}

// history is who locked and unlocked what of a domain, the oldest first.
func (c *call) history() ([]trail.Change, error) {
	domain, err := c.owned()
	if err != nil {
		return nil, err
	}
	f := trail.Filter{Kinds: []string{state.KindLock}, Match: func(parts []string) bool {
		// identity/DOMAIN/USER/IDENTITY or user/DOMAIN/USER
		if len(parts) < 3 || parts[1] != domain {
			return false
		}
		identity := ""
		if len(parts) > 3 {
			identity = parts[3]
		}
		user, wanted := c.args.Get("username"), c.args.Get("identity")
		return (user == "" || user == parts[2]) && (wanted == "" || strings.EqualFold(wanted, identity))
	}}
	for name, at := range map[string]*time.Time{"from_date": &f.Since, "to_date": &f.Until} {
		if text := c.args.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 || n > 1<<33 {
				return nil, wrongf(http.StatusBadRequest, "%s=%q: want seconds since 1970", name, text)
			}
			if *at = time.Unix(n, 0); name == "to_date" {
				*at = at.Add(time.Second)
			}
		}
	}
	return c.o.History(c.r.Context(), f)
}

func (c *call) locking() error {
	all, err := c.history()
	if err != nil {
		return err
	}
	var lines []string
	for _, h := range all {
		identity := ""
		if len(h.Parts) > 3 {
			identity = h.Parts[3]
		}
		lines = append(lines, strings.Join([]string{strconv.FormatInt(h.Time.Unix(), 10), h.Parts[1], h.Parts[2], identity, h.Action, h.Actor, h.Reason}, ","))
	}
	return c.print(lines...)
}

func (c *call) countLocking() error {
	all, err := c.history()
	if err != nil {
		return err
	}
	return c.print(fmt.Sprint(len(all)))
}

func (c *call) sender() (lock.Sender, error) {
	domain, err := c.owned()
	if err != nil {
		return lock.Sender{}, err
	}
	text, err := c.need("sender")
	if err != nil {
		return lock.Sender{}, err
	}
	// The scripts put an address into the URL as it is, and a + there means a blank, which no address has.
	s, err := lock.NewSender(domain, c.args.Get("username"), strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		return s, wrongf(http.StatusBadRequest, "%v", err)
	}
	return s, nil
}

func (c *call) block() error {
	s, err := c.sender()
	if err != nil {
		return err
	}
	if _, err := lock.Block(c.r.Context(), c.o.Store, c.by(), []lock.Sender{s}, c.reason(), ""); err != nil {
		return err
	}
	return c.print(ok)
}

func (c *call) unblock() error {
	s, err := c.sender()
	if err != nil {
		return err
	}
	if _, err := lock.Unblock(c.r.Context(), c.o.Store, c.by(), []lock.Sender{s}, c.reason()); err != nil {
		return err
	}
	return c.print(ok)
}

func (c *call) blocked() error {
	domain, err := c.owned()
	if err != nil {
		return err
	}
	var all []string
	for _, b := range lock.Blocked(c.o.Store.Snapshot(), lock.Filter{Domain: domain, User: c.args.Get("username")}) {
		all = append(all, b.Sender)
	}
	slices.Sort(all)
	return c.print(slices.Compact(all)...)
}

func (c *call) setBlocked() error {
	domain, err := c.owned()
	if err != nil {
		return err
	}
	text := c.args.Get("senders") + "," + c.args.Get("sender") + "," + c.args.Get("blacklist")
	all := list(strings.NewReplacer("\n", ",", "\r", ",", " ", ",", ";", ",").Replace(text))
	if _, err := lock.SetBlocked(c.r.Context(), c.o.Store, c.by(), domain, c.args.Get("username"), all, c.reason()); err != nil {
		if api.ProblemOf(err) == nil {
			return wrongf(http.StatusBadRequest, "%v", err)
		}
		return err
	}
	return c.print(ok)
}

func (c *call) recipient(report string) error {
	domain, err := c.owned()
	if err != nil {
		return err
	}
	if c.o.SetRecipient == nil {
		return wrongf(http.StatusNotImplemented, "reports are not sent by this server")
	}
	if err := c.o.SetRecipient(c.r.Context(), c.by(), report, domain, c.args.Get("username"), strings.TrimSpace(c.args.Get("recipient"))); err != nil {
		if api.ProblemOf(err) == nil {
			return wrongf(http.StatusBadRequest, "%v", err)
		}
		return err
	}
	return c.print(ok)
}

// syslogKey has what api_set_remote_syslog_server was told.
var syslogKey = state.NewKey("remote-syslog")

// syslog is what a filter is to send, and where: as it was set, else as it is configured.
func (c *call) syslog() (map[string]string, error) {
	all := map[string]string{}
	for _, f := range source.Fields() {
		all[f] = c.o.Syslog.Value(f)
	}
	if raw, _, set := c.o.Store.Snapshot().Raw(syslogKey); set {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, fmt.Errorf("cannot read the settings of the remote syslog: %w", err)
		}
	}
	return all, nil
}

func (c *call) setSyslog() error {
	all, err := c.syslog()
	if err != nil {
		return err
	}
	for _, f := range source.Fields() {
		if c.args.Has(f) {
			all[f] = c.args.Get(f)
		}
	}
	if port, err := strconv.Atoi(all[source.FieldPort]); all[source.FieldPort] != "" && (err != nil || port < 1 || port > 65535) {
		return wrongf(http.StatusBadRequest, "port=%q: want 1 to 65535", all[source.FieldPort])
	}
	if all[source.FieldHost] == "" {
		return wrongf(http.StatusBadRequest, "the argument host is missing")
	}
	if err := c.o.Store.Append(c.r.Context(), c.by(), state.Change{Key: syslogKey, Action: "set", Value: all, Reason: c.reason()}); err != nil {
		return err
	}
	return c.print(ok)
}

func (c *call) getSyslog() error {
	all, err := c.syslog()
	if err != nil {
		return err
	}
	var lines []string
	for _, f := range source.Fields() {
		lines = append(lines, f+": "+all[f])
	}
	return c.print(lines...)
}
