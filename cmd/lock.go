package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/internal/mailname"
	"millrace/query/lock"
	"millrace/query/state"
	"millrace/query/state/trail"
)

const bulk = `Several may be given; - reads them from standard input, one a line.`

func newLock() *cobra.Command {
	var by found
	c := group(&cobra.Command{
		Use:   "lock",
		Short: "Lock an identity or an outgoing user, with a reason",
		Long: `Lock an identity or a whole outgoing user, with a reason. The lock is recorded with your name, and every instance of
Millrace knows it at once.

Who is meant is named, or found: --message takes the one who has sent a message, as its outgoing user's identification
method tells it; --from takes rows in JSON of millrace report (their column targets), of millrace search (the messages
with their id), of millrace identities or locks, or your own with domain, user and identity. Of rows that name nobody
nothing is locked, unless --skip leaves them out. On a terminal it asks before it locks who was found.`,
		Example: `  millrace lock identity example.com/192.0.2.1/bob@example.com --reason "spam run"
  millrace lock user example.com/192.0.2.1 --reason "hacked" --until 24h
  millrace lock --message 1phfsb-0004M4-O4 --reason "phishing"
  millrace report top_spammers --group-by identity --format ndjson | millrace lock --from - --reason "spam run" --dry-run
  millrace search 'class_norm is phish' --direction outgoing --format ndjson | millrace lock --from - --reason "phishing"`,
	})
	c.RunE = func(c *cobra.Command, _ []string) error { return by.run(c) }
	by.flags(c)
	c.AddCommand(
		lockVerb("identity DOMAIN/USER/IDENTITY...|-", "Lock identities of an outgoing user", lock.ParseIdentity,
			`  millrace lock identity example.com/192.0.2.1/bob@example.com --reason "spam run"
  millrace lock identity "example.com/*/bob@example.com" --until 24h --reason "until he has a new password"
  millrace lock identity - --reason "phishing, case 4711" < identities.txt`),
		lockVerb("user DOMAIN/USER...|-", "Lock whole outgoing users", lock.ParseUser,
			`  millrace lock user example.com/192.0.2.1 --reason "hacked"`),
	)
	return c
}

func lockFlags(c *cobra.Command, reason, until, code *string) {
	f := c.Flags()
	f.StringVar(reason, "reason", "", "why (`TEXT`)")
	f.StringVar(until, "until", "", "it ends by itself at `TIME`, or so long from now: 24h, 7d")
	f.StringVar(code, "code", "", "the answer to the sender: a `CODE` 4xx or 5xx, or blackhole")
}

func lockVerb(use, short string, parse func(string) (lock.Target, error), example string) *cobra.Command {
	var path, reason, until, code string
	c := &cobra.Command{
		Use: use, Short: short, Example: example,
		Long: short + `. In the place of USER, * is all outgoing users of the domain. ` + bulk,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			args, err := arguments(c, args)
			if err != nil {
				return err
			}
			targets, err := parseAll(args, parse)
			if err != nil {
				return err
			}
			if reason == "" {
				return usagef("--reason is missing: whoever unlocks wants to know why")
			}
			end, err := parseEnd("until", until, time.Now())
			if err != nil {
				return err
			}
			return withState(c, path, func(ctx context.Context, _ *config.Config, s *state.Store) error {
				r, err := lock.Lock(ctx, s, operator(), targets, lock.Options{Reason: reason, Until: end, Code: code})
				if err != nil {
					return err
				}
				tell(c, "locked", r, "is locked already, for the same reason")
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	lockFlags(c, &reason, &until, &code)
	return c
}

func newUnlock() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "unlock",
		Short: "Unlock an identity or an outgoing user",
		Long:  `Unlock an identity or a whole outgoing user. The history keeps who had locked it, and why.`,
		Example: `  millrace unlock identity example.com/192.0.2.1/bob@example.com --reason "new password"
  millrace unlock user example.com/192.0.2.1`,
	})
	c.AddCommand(
		unlockVerb("identity DOMAIN/USER/IDENTITY...|-", "Unlock identities of an outgoing user", lock.ParseIdentity,
			`  millrace unlock identity example.com/192.0.2.1/bob@example.com --reason "new password"`),
		unlockVerb("user DOMAIN/USER...|-", "Unlock whole outgoing users", lock.ParseUser,
			`  millrace unlock user example.com/192.0.2.1`),
	)
	return c
}

func unlockVerb(use, short string, parse func(string) (lock.Target, error), example string) *cobra.Command {
	return targetVerb(use, short, example, parse, func(ctx context.Context, s *state.Store, targets []lock.Target, reason string) (lock.Result, error) {
		return lock.Unlock(ctx, s, operator(), targets, reason)
	}, "unlocked", "was not locked")
}

// targetVerb is a verb whose only flag is the reason.
func targetVerb[T any](use, short, example string, parse func(string) (T, error),
	verb func(context.Context, *state.Store, []T, string) (lock.Result, error), done, unchanged string) *cobra.Command {
	var path, reason string
	c := &cobra.Command{
		Use: use, Short: short, Example: example,
		Long: short + `. ` + bulk,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			args, err := arguments(c, args)
			if err != nil {
				return err
			}
			targets, err := parseAll(args, parse)
			if err != nil {
				return err
			}
			return withState(c, path, func(ctx context.Context, _ *config.Config, s *state.Store) error {
				r, err := verb(ctx, s, targets, reason)
				if err != nil {
					return err
				}
				tell(c, done, r, unchanged)
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&reason, "reason", "", "why (`TEXT`)")
	return c
}

func newBlock() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "block",
		Short:   "Block a sender of an outgoing user, with a reason",
		Long:    `Block a sender's address within an outgoing user, or all users of a domain.`,
		Example: `  millrace block sender "example.com/*/bob@example.com" --reason "2000 messages in a day"`,
	})
	c.AddCommand(targetVerb("sender DOMAIN/USER/ADDRESS...|-", "Block senders of an outgoing user",
		`  millrace block sender "example.com/*/bob@example.com" --reason "2000 messages in a day"`, lock.ParseSender,
		func(ctx context.Context, s *state.Store, senders []lock.Sender, reason string) (lock.Result, error) {
			return lock.Block(ctx, s, operator(), senders, reason, "")
		}, "blocked", "is blocked already"))
	return c
}

func newUnblock() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "unblock",
		Short:   "Let a blocked sender send again",
		Long:    `Let a blocked sender send again.`,
		Example: `  millrace unblock sender "example.com/*/bob@example.com"`,
	})
	c.AddCommand(targetVerb("sender DOMAIN/USER/ADDRESS...|-", "Let blocked senders send again",
		`  millrace unblock sender "example.com/*/bob@example.com"`, lock.ParseSender,
		func(ctx context.Context, s *state.Store, senders []lock.Sender, reason string) (lock.Result, error) {
			return lock.Unblock(ctx, s, operator(), senders, reason)
		}, "unblocked", "was not blocked"))
	return c
}

// listing are the flags of lists of locks and blocks.
type listing struct {
	path, format, data string
	filter             lock.Filter
	history            bool
	limit              int
}

func (l *listing) flags(c *cobra.Command) {
	configFlag(c, &l.path, theDefaults)
	f := c.Flags()
	f.StringVar(&l.filter.Domain, "domain", "", "of this `DOMAIN` alone")
	f.StringVar(&l.filter.User, "user", "", "of this outgoing user alone (`NAME`)")
	f.BoolVar(&l.filter.All, "all", false, "also those that hold no more")
	f.BoolVar(&l.history, "history", false, "print every change, the oldest first, in place of what holds")
	f.IntVar(&l.limit, "limit", 1000, "with --history: so many changes at most, the last ones")
	f.StringVar(&l.data, "data", "", "with --history: data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	listFlag(c, &l.format)
	_ = c.MarkFlagDirname("data")
}

func newLocks() *cobra.Command {
	var l listing
	c := &cobra.Command{
		Use:   "locks",
		Short: "List what is locked, or who has locked and unlocked it",
		Long: `List the identities and outgoing users that are locked. --history lists every change of them, from ClickHouse's table
state_changes and, what is not there yet, from Kafka.`,
		Example: `  millrace locks
  millrace locks --domain example.com --format csv
  millrace locks --history --domain example.com`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withState(c, l.path, func(ctx context.Context, cfg *config.Config, s *state.Store) error {
				if l.history {
					return l.printHistory(ctx, c, cfg, s, state.KindLock)
				}
				return printList(c.OutOrStdout(), l.format, []string{"domain", "user", "identity", "locked", "since", "until", "code", "by", "reason"},
					lock.List(s.Snapshot(), l.filter, time.Now()), func(x state.Lock) []string {
						return []string{x.Domain, x.User, x.Identity, yesNo(x.Held(time.Now())), timeCell(x.Last.At), timeCell(x.Until), x.Code, x.Last.Actor, x.Last.Reason}
					})
			})
		},
	}
	l.flags(c)
	return c
}

func newBlocks() *cobra.Command {
	var l listing
	c := &cobra.Command{
		Use:     "blocks",
		Short:   "List the blocked senders, or who has blocked and unblocked them",
		Long:    `List the senders that are blocked. --history lists every change of them, as that of millrace locks.`,
		Example: `  millrace blocks --domain example.com`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withState(c, l.path, func(ctx context.Context, cfg *config.Config, s *state.Store) error {
				if l.history {
					return l.printHistory(ctx, c, cfg, s, state.KindBlock)
				}
				return printList(c.OutOrStdout(), l.format, []string{"domain", "user", "sender", "blocked", "since", "by", "reason"},
					lock.Blocked(s.Snapshot(), l.filter), func(x state.Block) []string {
						return []string{x.Domain, x.User, x.Sender, yesNo(x.Blocked), timeCell(x.Last.At), x.Last.Actor, x.Last.Reason}
					})
			})
		},
	}
	l.flags(c)
	return c
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (l *listing) printHistory(ctx context.Context, c *cobra.Command, cfg *config.Config, s *state.Store, kind string) error {
	conn, err := openReader(cfg, l.data)
	if err != nil {
		return err
	}
	defer conn.Close()
	domain, user := l.filter.Domain, l.filter.User
	if domain != "" {
		if domain, err = mailname.Domain(domain); err != nil {
			return &usageError{err}
		}
	}
	if user != "" {
		user = mailname.Identity(user)
	}
	changes, err := trail.History(ctx, s, conn, cfg.ClickHouse.ReadDatabase(), trail.Filter{
		Kinds: []string{kind}, Limit: l.limit,
		// The parts of a key are its sort, the domain, the user, and what of it.
		Match: func(parts []string) bool {
			return len(parts) >= 3 && (domain == "" || parts[1] == domain) && (user == "" || parts[2] == user)
		},
	})
	if changes == nil && err != nil {
		return err
	}
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "millrace: warning: %s; these are the changes that Kafka still has\n", err)
	}
	return printList(c.OutOrStdout(), l.format, []string{"time", "action", "domain", "user", "of", "by", "how", "reason"}, changes, func(x trail.Change) []string {
		parts := slices.Concat(x.Parts, make([]string, 4))
		return []string{timeCell(x.Time), x.Action, parts[1], parts[2], parts[3], x.Actor, x.How, x.Reason}
	})
}

// openReader is a connection as the user that only reads. It is not made before it is used.
func openReader(cfg *config.Config, data string) (clickhouse.Conn, error) {
	o, err := cfg.ClickHouseReaderOptions()
	if err != nil {
		return nil, err
	}
	as, err := readerOptions(cfg, data)
	if err != nil {
		return nil, err
	}
	o.Auth = clickhouse.Auth{Database: as.Database, Username: as.User, Password: as.Password}
	conn, err := clickhouse.Open(o)
	if err != nil {
		return nil, fmt.Errorf("cannot use the ClickHouse options: %w", err)
	}
	return conn, nil
}

func newOutgoingUser() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "outgoing-user",
		Short: "How outgoing users are dealt with: what identifies their senders, automatic locks",
		Long: `How outgoing users are dealt with: what tells their own users apart, whether identities are locked automatically, and
what a locked one is answered.`,
		Example: `  millrace outgoing-user set example.com/192.0.2.1 --identification header:X-AuthUser --lock-automatically=true
  millrace outgoing-user list`,
	})
	c.AddCommand(newOutgoingUserSet(), newOutgoingUserList())
	return c
}

func newOutgoingUserSet() *cobra.Command {
	var path, identification, code, reason string
	var automatically bool
	c := &cobra.Command{
		Use:   "set DOMAIN/USER...|-",
		Short: "Change the settings of outgoing users",
		Long: `Change the settings of outgoing users: those that are not given stay. In the place of USER, * is for all users of the
domain that have no settings of their own. ` + bulk,
		Example: `  millrace outgoing-user set example.com/192.0.2.1 --identification header:X-AuthUser
  millrace outgoing-user set "example.com/*" --identification sender --lock-automatically=true`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			args, err := arguments(c, args)
			if err != nil {
				return err
			}
			targets, err := parseAll(args, lock.ParseUser)
			if err != nil {
				return err
			}
			changed := c.Flags().Changed
			if !changed("identification") && !changed("lock-automatically") && !changed("response-code") {
				return usagef("nothing to set: --identification, --lock-automatically or --response-code")
			}
			method, header, err := lock.ParseIdentification(identification)
			if err != nil {
				return &usageError{err}
			}
			return withState(c, path, func(ctx context.Context, _ *config.Config, s *state.Store) error {
				for i, t := range targets {
					err := lock.SetOutgoingUser(ctx, s, operator(), t.Domain, t.User, reason, func(u *state.OutgoingUser) error {
						if changed("identification") {
							u.Identification, u.Header = method, header
						}
						if changed("lock-automatically") {
							u.LockAutomatically = automatically
						}
						if changed("response-code") {
							u.ResponseCode = code
						}
						return nil
					})
					if err != nil {
						return fmt.Errorf("%w (%d of %d were set)", err, i, len(targets))
					}
				}
				fmt.Fprintf(c.OutOrStdout(), "%d set\n", len(targets))
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.StringVar(&identification, "identification", "", "what identifies a sender (`METHOD`): sender, auth-user, header:NAME, or none")
	f.BoolVar(&automatically, "lock-automatically", false, "whether rules may lock identities")
	f.StringVar(&code, "response-code", "", "what a locked identity is answered: a `CODE` 4xx or 5xx, or blackhole")
	f.StringVar(&reason, "reason", "", "why (`TEXT`)")
	oneOfFlag(c, "identification", state.BySender, state.ByAuthUser, state.ByHeader+":", "none")
	return c
}

func newOutgoingUserList() *cobra.Command {
	var path, format string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the outgoing users that have settings",
		Long:    `List the outgoing users that have settings. An identity of any other cannot be locked.`,
		Example: `  millrace outgoing-user list --format csv`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withState(c, path, func(_ context.Context, _ *config.Config, s *state.Store) error {
				return printList(c.OutOrStdout(), format, []string{"domain", "user", "identification", "lock_automatically", "response_code", "by", "since"},
					s.Snapshot().OutgoingUsers(), func(u state.OutgoingUser) []string {
						method := u.Identification
						if u.Header != "" {
							method = strings.Join([]string{method, u.Header}, ":")
						}
						return []string{u.Domain, u.User, method, yesNo(u.LockAutomatically), u.ResponseCode, u.Last.Actor, timeCell(u.Last.At)}
					})
			})
		},
	}
	configFlag(c, &path, theDefaults)
	listFlag(c, &format)
	return c
}
