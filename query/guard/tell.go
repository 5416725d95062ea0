package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/internal/config"
	"millrace/internal/source"
)

// newMail sends a message about the event.
func newMail(c *config.Effect, m Mailer) func(context.Context, Event) error {
	return func(ctx context.Context, ev Event) error {
		if m == nil {
			return fmt.Errorf("cannot send mail of effect %q: no mail server is configured", c.Name)
		}
		var b strings.Builder
		line := func(name, value string) {
			if value != "" {
				fmt.Fprintf(&b, "%-10s%s\n", name+":", strings.Join(strings.Fields(value), " "))
			}
		}
		line("Action", ev.Action)
		line("Domain", ev.Domain)
		line("User", ev.User)
		line("Identity", ev.Identity)
		line("Sender", ev.Sender)
		line("Reason", ev.Reason)
		line("By", ev.Actor)
		line("At", ev.At.UTC().Format(time.RFC3339))
		if !ev.Until.IsZero() {
			line("Until", ev.Until.UTC().Format(time.RFC3339))
		}
		line("Code", ev.Code)
		line("Id", ev.ID)
		for _, to := range c.To {
			if err := m.Send(ctx, to, "Millrace: "+ev.Text(), b.String()); err != nil {
				return fmt.Errorf("cannot send mail of effect %q to %q: %w", c.Name, to, err)
			}
		}
		return nil
	}
}

// newVendor does in the filter's panel what was done here. For whole outgoing users its API
// has no call.
func newVendor(v Vendor) func(context.Context, Event) error {
	return func(ctx context.Context, ev Event) error {
		switch {
		case v == nil:
			return errors.New("cannot call the filter's API: source.url is empty")
		case ev.Object == "identity" && ev.Locked:
			return v.LockIdentity(ctx, ev.Domain, ev.User, ev.Identity)
		case ev.Object == "identity":
			return v.UnlockIdentity(ctx, ev.Domain, ev.User, ev.Identity)
		case ev.Object == "sender" && ev.Locked:
			return v.BlockSender(ctx, ev.Domain, ev.User, ev.Sender)
		case ev.Object == "sender":
			return v.UnblockSender(ctx, ev.Domain, ev.User, ev.Sender)
		}
		return errSkip
	}
}

// vendorOf is the filter's API of the configuration, or nil.
func vendorOf(cfg *config.Config) (*source.Client, error) {
	s := &cfg.Source
	if s.URL == "" {
		return nil, nil
	}
	return source.New(source.Options{Address: s.URL, User: s.Username, Password: source.Secret(s.Password.Reveal()), CAFile: s.CA, Timeout: s.Timeout})
}
