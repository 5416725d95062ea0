package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/internal/config"
	"millrace/query/guard"
	"millrace/query/lock"
	"millrace/query/state"
)

// found are the flags of millrace lock without identity or user: who is locked is found by
// messages, or by rows of a report or a search.
type found struct {
	path, data, from, recipient, reason, until, code string
	messages                                         []string
	wholeUser, skip, dry, yes                        bool
}

func (l *found) flags(c *cobra.Command) {
	configFlag(c, &l.path, theDefaults)
	f := c.Flags()
	f.StringArrayVar(&l.messages, "message", nil, "who has sent the message `ID`; may be repeated")
	f.StringVar(&l.recipient, "recipient", "", "with --message: as it is for this `ADDRESS`")
	f.StringVar(&l.from, "from", "", "rows of a report, a search or a list in JSON, from `FILE` or - (standard input)")
	f.BoolVar(&l.skip, "skip", false, "with --from: leave out rows that name nobody, in place of locking nothing at all")
	f.BoolVar(&l.wholeUser, "outgoing-user", false, "the whole outgoing user, not the identity alone")
	lockFlags(c, &l.reason, &l.until, &l.code)
	f.BoolVar(&l.dry, "dry-run", false, "print what would be locked, and lock nothing")
	f.BoolVar(&l.yes, "yes", false, "do not ask, on a terminal, whether it is meant")
	f.StringVar(&l.data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	_ = c.MarkFlagDirname("data")
	_ = c.MarkFlagFilename("from", "json", "ndjson")
}

func (l *found) run(c *cobra.Command) error {
	switch {
	case len(l.messages) == 0 && l.from == "":
		for _, name := range []string{"reason", "until", "code", "recipient", "outgoing-user", "dry-run", "skip", "yes"} {
			if c.Flags().Changed(name) {
				return usagef("--%s: of whom? millrace lock identity, lock user, --message ID or --from FILE", name)
			}
		}
		return c.Help()
	case l.reason == "" && !l.dry:
		return usagef("--reason is missing: whoever unlocks wants to know why")
	case l.recipient != "" && len(l.messages) == 0:
		return usagef("--recipient is for --message")
	case l.skip && l.from == "":
		return usagef("--skip is for --from")
	}
	end, err := parseEnd("until", l.until, time.Now())
	if err != nil {
		return err
	}
	rows := lockRows{}
	for _, id := range l.messages {
		rows.messages = append(rows.messages, guard.MessageRef{ID: strings.TrimSpace(id), Recipient: l.recipient})
	}
	if l.from != "" {
		if err := rows.readFile(c, l.from); err != nil {
			return err
		}
		if err := rows.refused(c.ErrOrStderr(), l.skip); err != nil {
			return err
		}
	}
	return withState(c, l.path, func(ctx context.Context, cfg *config.Config, s *state.Store) error {
		targets, why, err := l.targets(ctx, cfg, s.Snapshot(), rows)
		if err != nil {
			return err
		}
		if l.dry || !l.yes && asks(c) {
			for _, t := range targets {
				fmt.Fprintln(c.OutOrStdout(), described(t, why[t]))
			}
		}
		if l.dry {
			return nil
		}
		if !l.yes && asks(c) {
			question := "Lock it?"
			if len(targets) != 1 {
				question = fmt.Sprintf("Lock these %d?", len(targets))
			}
			if ok, err := confirm(c, question); err != nil || !ok {
				return err
			}
		}
		r, err := lock.Lock(ctx, s, operator(), targets, lock.Options{Reason: l.reason, Until: end, Code: l.code})
		if err != nil {
			return err
		}
		tell(c, "locked", r, "is locked already, for the same reason")
		return nil
	})
}

// targets are those of the rows, each once, and by which message.
func (l *found) targets(ctx context.Context, cfg *config.Config, s *state.Snapshot, rows lockRows) ([]lock.Target, map[lock.Target]string, error) {
	var all []lock.Target
	why := map[lock.Target]string{}
	add := func(t lock.Target, because string) {
		if l.wholeUser {
			t.Identity = ""
		}
		if !slices.Contains(all, t) {
			all = append(all, t)
			why[t] = because
		}
	}
	for _, t := range rows.targets {
		resolved, err := lock.Resolve(s, t)
		if err != nil {
			return nil, nil, err
		}
		add(resolved, "")
	}
	if len(rows.messages) > 0 {
		reader, err := readerOptions(cfg, l.data)
		if err != nil {
			return nil, nil, err
		}
		messages, err := guard.FindMessages(ctx, reader, s, rows.messages, nil)
		if err != nil {
			return nil, nil, err
		}
		for _, m := range messages {
			add(m.Target, fmt.Sprintf("message %s from %s to %s", m.ID, m.Sender, m.Recipient))
		}
	}
	return all, why, nil
}

func described(t lock.Target, why string) string {
	text := "domain " + t.Domain + ", user " + t.User
	switch {
	case t.Identity != "":
		text += ", identity " + t.Identity
	case t.User == state.AllUsers:
		text = "domain " + t.Domain + ", all its outgoing users"
	default:
		text += ", all its identities"
	}
	if why != "" {
		text += " (" + why + ")"
	}
	return oneLine(text)
}

// asks tells whether there is somebody at a terminal to ask.
func asks(c *cobra.Command) bool {
	in, ok := c.InOrStdin().(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// confirm asks; anything but y or yes is no.
func confirm(c *cobra.Command, question string) (bool, error) {
	fmt.Fprint(c.ErrOrStderr(), question+" [y/N] ")
	line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("cannot read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	fmt.Fprintln(c.ErrOrStderr(), "nothing was locked")
	return false, nil
}

// lockRows are what rows name.
type lockRows struct {
	targets  []lock.Target
	messages []guard.MessageRef
	nameless []string // rows that name nobody, with why
}

func (r *lockRows) readFile(c *cobra.Command, name string) error {
	in := c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("cannot read rows: %w", err)
		}
		defer f.Close()
		in = f
	}
	return r.read(in)
}

// lockRow has the columns that say who is meant, in the order of preference.
type lockRow struct {
	Targets *[]struct{ Domain, User, Identity string } `json:"targets"`

	ID        string `json:"id"`
	Recipient string `json:"recipient"`

	Domain   string `json:"domain"`
	User     string `json:"user"`
	AuthUser string `json:"auth_user"`
	Identity string `json:"identity"`

	Who *string `json:"who"`
}

// read takes objects one after another, or in an array.
func (r *lockRows) read(in io.Reader) error {
	d := json.NewDecoder(in)
	n := 0
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot read rows, after row %d: %w; want JSON, as --format ndjson or json writes it", n, err)
		}
		list := []json.RawMessage{raw}
		if raw[0] == '[' {
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("cannot read rows: %w", err)
			}
		}
		for _, one := range list {
			n++
			var row lockRow
			if err := json.Unmarshal(one, &row); err != nil {
				return fmt.Errorf("cannot read row %d: %w", n, err)
			}
			r.take(n, row)
		}
	}
}

func (r *lockRows) take(n int, row lockRow) {
	user := row.User
	if user == "" {
		user = row.AuthUser
	}
	nobody := func(why string) { r.nameless = append(r.nameless, fmt.Sprintf("row %d %s", n, why)) }
	switch {
	case row.Targets != nil && len(*row.Targets) == 0:
		who := ""
		if row.Who != nil {
			who = fmt.Sprintf(" (who is %q)", *row.Who)
		}
		nobody("has no targets" + who + ": it is neither an identity, nor an outgoing user, nor a domain of outgoing mail")
	case row.Targets != nil:
		for _, t := range *row.Targets {
			r.add(n, t.Domain, t.User, t.Identity)
		}
	case row.ID != "":
		r.messages = append(r.messages, guard.MessageRef{ID: row.ID, Recipient: row.Recipient})
	case row.Domain == "":
		nobody("names no domain: want a column targets, or id, or domain with user or identity")
	case user == "" && row.Identity == "":
		nobody("names no user and no identity: want a column user, auth_user or identity beside the domain")
	default:
		r.add(n, row.Domain, user, row.Identity)
	}
}

func (r *lockRows) add(n int, domain, user, identity string) {
	t, err := lock.NewTarget(domain, user, identity)
	if err != nil {
		r.nameless = append(r.nameless, fmt.Sprintf("row %d: %v", n, err))
		return
	}
	r.targets = append(r.targets, t)
}

// refused is the error for rows that name nobody, unless they are to be left out.
func (r *lockRows) refused(w io.Writer, skip bool) error {
	if len(r.nameless) == 0 {
		if len(r.targets)+len(r.messages) == 0 {
			fmt.Fprintln(w, "millrace: there are no rows")
		}
		return nil
	}
	if skip {
		for _, why := range r.nameless {
			fmt.Fprintln(w, "millrace: left out: "+oneLine(why))
		}
		return nil
	}
	const most = 5
	text := strings.Join(r.nameless[:min(most, len(r.nameless))], "; ")
	if more := len(r.nameless) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return fmt.Errorf("cannot lock by these rows: %s; nothing was locked; --skip leaves such rows out", text)
}
