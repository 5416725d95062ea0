package mailing

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/internal/config"
	"millrace/internal/mailname"
	"millrace/query/state"
)

// Log is what schedules are written to: a state.Store, or a state.Term of it.
type Log interface {
	Snapshot() *state.Snapshot
	Append(ctx context.Context, by state.By, changes ...state.Change) error
}

// Schedule is who gets a report about an outgoing user.
type Schedule struct {
	Report    string
	Domain    string
	User      string // state.AllUsers: all of the domain
	Recipient string // empty: nobody

	Set time.Time // when it was set; zero: the configuration has it
	By  string    // who has set it; config: the configuration
}

// ByConfig is Schedule.By of what the configuration has.
const ByConfig = "config"

// maxText bounds names that go into keys.
const maxText = 1024

// normalise brings the names into the form of keys.
func normalise(report, domain, username string) (string, string, error) {
	if report != Daily && report != Identities {
		return "", "", fmt.Errorf("there is no report %q by mail: want %s or %s", report, Daily, Identities)
	}
	d, err := mailname.Domain(domain)
	if err != nil {
		return "", "", err
	}
	user := cmp.Or(mailname.Identity(username), state.AllUsers)
	if len(user) > maxText {
		return "", "", fmt.Errorf("cannot use a user's name of more than %d bytes", maxText)
	}
	if strings.ContainsFunc(user, isControl) {
		return "", "", fmt.Errorf("cannot use user %q: it has a control character", username)
	}
	return d, user, nil
}

// SetRecipient says who gets a report about an outgoing user, or, without username, about all
// of the domain; api_set_outgoing_report_recipient is of report Daily, and
// api_set_outgoing_report2_recipient of Identities. An empty recipient: nobody, whatever the
// configuration says.
func SetRecipient(ctx context.Context, log Log, by state.By, report, domain, username, recipient string) error {
	domain, user, err := normalise(report, domain, username)
	if err != nil {
		return fmt.Errorf("cannot set who gets a report: %w", err)
	}
	action := "disable"
	if strings.TrimSpace(recipient) != "" {
		action = "set"
		if recipient, err = mailname.Mailbox(recipient); err != nil {
			return fmt.Errorf("cannot set who gets report %s of %s/%s: %w", report, domain, user, err)
		}
	} else {
		recipient = ""
	}
	if is, ok := log.Snapshot().Schedule(report, domain, user); ok && is.Recipient == recipient {
		return nil
	}
	return log.Append(ctx, by, state.Change{Key: state.ScheduleKey(report, domain, user), Action: action, Value: state.Schedule{Recipient: recipient}})
}

// RemoveRecipient takes back what SetRecipient has set: then what the configuration says
// holds. It tells whether there was something.
func RemoveRecipient(ctx context.Context, log Log, by state.By, report, domain, username string) (bool, error) {
	domain, user, err := normalise(report, domain, username)
	if err != nil {
		return false, fmt.Errorf("cannot remove who gets a report: %w", err)
	}
	key := state.ScheduleKey(report, domain, user)
	version, ok := log.Snapshot().VersionOf(key)
	if !ok {
		return false, nil
	}
	return true, log.Append(ctx, by, state.Change{Key: key, Action: "remove", If: state.At(version)})
}

// Schedules are all that are set, also those without a recipient: by report, domain and user.
func Schedules(snap *state.Snapshot, configured []config.Recipient) []Schedule {
	type name struct{ report, domain, user string }
	all := map[name]Schedule{}
	for _, c := range configured {
		domain, user, err := normalise(c.Report, c.Domain, c.Username)
		if err != nil {
			continue // a loaded configuration was checked
		}
		recipient, err := mailname.Mailbox(c.Recipient)
		if err != nil {
			recipient = ""
		}
		all[name{c.Report, domain, user}] = Schedule{Report: c.Report, Domain: domain, User: user, Recipient: recipient, By: ByConfig}
	}
	for _, s := range snap.Schedules() {
		if s.Report == Daily || s.Report == Identities {
			all[name{s.Report, s.Domain, s.User}] = Schedule{s.Report, s.Domain, s.User, s.Recipient, s.Last.At, s.Last.Actor}
		}
	}
	list := make([]Schedule, 0, len(all))
	for _, s := range all {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Schedule) int {
		return cmp.Or(cmp.Compare(a.Report, b.Report), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.User, b.User))
	})
	return list
}

func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029'
}
