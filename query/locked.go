package query

import (
	"context"
	"io"
	"slices"
	"strings"
)

// Column is a text in each row that is not the server's but made of hidden columns.
type Column struct {
	Name   string // of a column of the result, of type String
	Hidden int    // columns that it is made of: the last ones, behind those of [Output.Hidden]
	Text   func(hidden []string) (string, error)
}

// Locks are the locks that hold, from the copy of the state in ClickHouse. They are asked for
// while the question is on its way whose rows they are shown with: within one statement,
// planning theirs took as long as all the rest of a small one.
type Locks struct {
	stop  context.CancelFunc
	ended chan struct{}
	of    map[string][]lock // by domain
	err   error
}

type lock struct{ user, identity, reason string }

// Owner is whose mail it is: an outgoing user, by its domain and its name; * is all of them.
type Owner struct{ Domain, User string }

// AskLocks begins to ask. relation is SQL for the view of that name as the one who asks may
// see it, params are its parameters.
func AskLocks(ctx context.Context, o Options, relation string, params map[string]string, limits Limits) *Locks {
	return askLocks(ctx, o, Statement{SQL: locksOf(relation), Parameters: params, Limits: limits})
}

func locksOf(relation string) string {
	return "SELECT domain, user, identity, reason FROM " + relation + " WHERE locked = 1"
}

func askLocks(ctx context.Context, o Options, st Statement) *Locks {
	ctx, stop := context.WithCancel(ctx)
	l := &Locks{stop: stop, ended: make(chan struct{}), of: map[string][]lock{}}
	go func() {
		defer close(l.ended)
		_, l.err = RunStatement(ctx, o, st, Output{To: io.Discard, Format: TSV, Hidden: 4, Row: func(v []string) bool {
			l.of[v[0]] = append(l.of[v[0]], lock{v[1], v[2], v[3]})
			return false
		}})
	}()
	return l
}

// Stop ends the asking, whether it has come to its end or not.
func (l *Locks) Stop() {
	l.stop()
	<-l.ended
}

// Reasons says why somebody's mail is locked: the reasons of the locks that hold, as
// "identity: REASON" or "user: REASON" with "; " between them; empty: none does. It waits for
// the answer.
//
// The lock may be of any of the owners. What an identity is says the outgoing user's
// identification method, which a lock need not know: identities are all that it may be.
// It is the one definition for a found message and for a report's row; a condition on the
// column is [schema.LockedReasons].
func (l *Locks) Reasons(owners []Owner, identities ...string) (string, error) {
	if <-l.ended; l.err != nil {
		return "", l.err
	}
	var all []string
	for _, o := range owners {
		local, _, _ := strings.Cut(o.User, "@")
		for _, k := range l.of[o.Domain] {
			what := "user"
			switch {
			case k.user != "*" && k.user != o.User && k.user != local:
				continue
			case k.identity == "":
			case slices.ContainsFunc(identities, func(i string) bool { return strings.EqualFold(i, k.identity) }):
				what = "identity"
			default:
				continue
			}
			if k.reason != "" {
				what += ": " + k.reason
			}
			all = append(all, what)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "; "), nil
}
