package source

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Calls about identities and senders of outgoing users. A user of * is all of the domain.

// LockIdentity locks an identity of an outgoing user.
func (c *Client) LockIdentity(ctx context.Context, domain, user, identity string) error {
	return c.do(ctx, "api_lock_outgoing_identity", "domain", domain, "identity", identity, "username", user)
}

// UnlockIdentity ends that.
func (c *Client) UnlockIdentity(ctx context.Context, domain, user, identity string) error {
	return c.do(ctx, "api_unlock_outgoing_identity", "domain", domain, "identity", identity, "username", user)
}

// BlockSender blocks a sender of an outgoing user.
func (c *Client) BlockSender(ctx context.Context, domain, user, sender string) error {
	return c.do(ctx, "api_blacklist_outgoing_sender", "domain", domain, "sender", sender, "username", user)
}

// UnblockSender ends that.
func (c *Client) UnblockSender(ctx context.Context, domain, user, sender string) error {
	return c.do(ctx, "api_unblacklist_outgoing_sender", "domain", domain, "sender", sender, "username", user)
}

// do makes a call that answers with the empty text, which is its word for success.
func (c *Client) do(ctx context.Context, name string, arguments ...string) error {
	body, err := c.call(ctx, name, c.callURL(name, arguments...))
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(body)); text != "" && text != `""` && text != `''` {
		return fmt.Errorf("cannot call %s at %s: the API answered %s; an empty answer means success", name, c.Endpoint, c.quote(text))
	}
	return nil
}

func (e Endpoint) callURL(name string, arguments ...string) string {
	var b strings.Builder
	b.WriteString(e.base + "?call=" + name)
	for pair := range slices.Chunk(arguments, 2) {
		b.WriteString("&" + pair[0] + "=" + Escape(pair[1]))
	}
	return b.String()
}

// LockedIdentities are those of an outgoing user that are locked. The vendor does not
// document the layout; what is read is what its other calls use: a line for each, of which
// the last of the fields (domain, user, identity) counts, or a JSON list of texts or of
// objects with the field identity.
func (c *Client) LockedIdentities(ctx context.Context, domain, user string) ([]string, error) {
	const name = "api_list_locked_identities"
	body, err := c.call(ctx, name, c.callURL(name, "domain", domain, "username", user))
	if err != nil {
		return nil, err
	}
	list, err := parseIdentities(strings.TrimSpace(strings.TrimPrefix(string(body), "\ufeff")), domain, user)
	if err != nil {
		return nil, fmt.Errorf("cannot read the locked identities of %s/%s at %s: %s", domain, user, c.Endpoint, c.redact(err.Error()))
	}
	return list, nil
}

func parseIdentities(text, domain, user string) (list []string, err error) {
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	if strings.HasPrefix(text, "[") {
		var items []json.RawMessage
		if err := json.Unmarshal([]byte(text), &items); err != nil {
			return nil, fmt.Errorf("it begins like a JSON list and is none: %w", err)
		}
		for _, item := range items {
			var s string
			var object struct{ Identity, Domain, Username string }
			switch {
			case json.Unmarshal(item, &s) == nil:
				add(s)
			case json.Unmarshal(item, &object) == nil && object.Identity != "":
				if (object.Username == "" || user == "*" || object.Username == user) && (object.Domain == "" || strings.EqualFold(object.Domain, domain)) {
					add(object.Identity)
				}
			default:
				return nil, fmt.Errorf("cannot read %q: want a text, or an object with the field identity", clip(string(item)))
			}
		}
		return list, nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line == `""` || line == "''" {
			continue
		}
		r := csv.NewReader(strings.NewReader(line))
		r.LazyQuotes, r.TrimLeadingSpace, r.FieldsPerRecord = true, true, -1
		fields, err := r.Read()
		if err != nil || len(fields) > 3 {
			return nil, fmt.Errorf("cannot read line %q: want an identity, or domain, user and identity", clip(line))
		}
		if n := len(fields); n >= 2 && fields[n-2] != user && user != "*" && fields[n-2] != "" {
			continue // of another user
		}
		add(fields[len(fields)-1])
	}
	return list, nil
}
