package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	accounts "millrace/query/account"
	"millrace/query/state"
)

// withAccounts is withState for users and tokens.
func withAccounts(c *cobra.Command, path string, f func(context.Context, *accounts.Accounts) error) error {
	return withState(c, path, func(ctx context.Context, _ *config.Config, s *state.Store) error {
		return f(ctx, accounts.New(s, accounts.Options{}))
	})
}

func roleNames() []string {
	var names []string
	for _, r := range accounts.Roles() {
		names = append(names, string(r))
	}
	return names
}

func newUser() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "user",
		Short: "Who may ask over HTTP: users, their roles and passwords",
		Long: `Who may ask over HTTP. A user's role says what it sees: admin all, domain its domains, email its addresses. The command
writes to Kafka, so it needs no user itself.`,
		Example: `  millrace user add joe --role domain --domain example.com
  millrace user list`,
	})
	c.AddCommand(newUserAdd(), newUserList(), newUserSet(), newUserRemove(), newUserPassword())
	return c
}

func newUserAdd() *cobra.Command {
	var path, role, file string
	var domains, addresses []string
	var without bool
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user",
		Long:  `Add a user. The password is asked for, or read from a file; without one only tokens let the user in.`,
		Example: `  millrace user add joe --role domain --domain example.com --domain example.org
  millrace user add bob@example.com --role email --address bob@example.com --password-file -
  millrace user add exporter --role admin --no-password`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if without && file != "" {
				return usagef("either --password-file or --no-password")
			}
			password := ""
			if !without {
				var err error
				if password, err = readPassword(c, file); err != nil {
					return err
				}
			}
			return withAccounts(c, path, func(ctx context.Context, a *accounts.Accounts) error {
				u := state.User{Name: args[0], Role: role, Domains: domains, Addresses: addresses}
				if err := a.Add(ctx, operator(), u, password); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "user %s added\n", strings.ToLower(args[0]))
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.StringVar(&role, "role", string(accounts.Domain), "what the user sees: "+strings.Join(roleNames(), ", "))
	f.StringSliceVar(&domains, "domain", nil, "of the role domain: a `DOMAIN`; may be repeated")
	f.StringSliceVar(&addresses, "address", nil, "of the role email: an `ADDRESS`; may be repeated")
	f.StringVar(&file, "password-file", "", "read the password from the first line of `FILE`; - is standard input")
	f.BoolVar(&without, "no-password", false, "only tokens let the user in")
	oneOfFlag(c, "role", roleNames()...)
	return c
}

func newUserList() *cobra.Command {
	var path, format string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the users",
		Long:    `List the users.`,
		Example: `  millrace user list --format json`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withAccounts(c, path, func(_ context.Context, a *accounts.Accounts) error {
				return printList(c.OutOrStdout(), format, []string{"name", "role", "sees", "disabled", "changed", "by"}, a.Users(), func(u state.User) []string {
					return []string{u.Name, u.Role, strings.Join(append(u.Domains, u.Addresses...), " "), yesNo(u.Disabled), timeCell(u.Last.At), u.Last.Actor}
				})
			})
		},
	}
	configFlag(c, &path, theDefaults)
	listFlag(c, &format)
	return c
}

func newUserSet() *cobra.Command {
	var path, role string
	var domains, addresses []string
	var disabled bool
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a user's role, domains or addresses, or disable it",
		Long:  `Change a user: what is not given stays. --domain and --address give the whole list.`,
		Example: `  millrace user set joe --domain example.com,example.net
  millrace user set joe --disabled=true`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			changed := c.Flags().Changed
			if !changed("role") && !changed("domain") && !changed("address") && !changed("disabled") {
				return usagef("nothing to set: --role, --domain, --address or --disabled")
			}
			return withAccounts(c, path, func(ctx context.Context, a *accounts.Accounts) error {
				err := a.Set(ctx, operator(), args[0], func(u *state.User) error {
					if changed("role") {
						u.Role = role
					}
					if changed("domain") {
						u.Domains = domains
					}
					if changed("address") {
						u.Addresses = addresses
					}
					if changed("disabled") {
						u.Disabled = disabled
					}
					return nil
				})
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "user %s set\n", strings.ToLower(args[0]))
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	f := c.Flags()
	f.StringVar(&role, "role", "", "what the user sees: "+strings.Join(roleNames(), ", "))
	f.StringSliceVar(&domains, "domain", nil, "of the role domain: all its `DOMAIN`s")
	f.StringSliceVar(&addresses, "address", nil, "of the role email: all its `ADDRESS`es")
	f.BoolVar(&disabled, "disabled", false, "let the user in no more")
	oneOfFlag(c, "role", roleNames()...)
	return c
}

func newUserRemove() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:     "remove NAME...",
		Short:   "Remove users and their tokens",
		Long:    `Remove users and their tokens. The audit trail keeps what they have done.`,
		Example: `  millrace user remove joe`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withAccounts(c, path, func(ctx context.Context, a *accounts.Accounts) error {
				for _, name := range args {
					if err := a.Remove(ctx, operator(), name); err != nil {
						return err
					}
					fmt.Fprintf(c.OutOrStdout(), "user %s removed\n", strings.ToLower(name))
				}
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	return c
}

func newUserPassword() *cobra.Command {
	var path, file string
	c := &cobra.Command{
		Use:   "password NAME",
		Short: "Give a user another password",
		Long:  `Give a user another password, which is asked for, or read from a file. It holds at once, on every instance.`,
		Example: `  millrace user password joe
  millrace user password joe --password-file - < password.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			password, err := readPassword(c, file)
			if err != nil {
				return err
			}
			return withAccounts(c, path, func(ctx context.Context, a *accounts.Accounts) error {
				if err := a.SetPassword(ctx, operator(), args[0], password); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "password of %s set\n", strings.ToLower(args[0]))
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&file, "password-file", "", "read the password from the first line of `FILE`; - is standard input")
	return c
}

func newToken() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "token",
		Short: "API tokens: what lets a program in as a user",
		Long:  `API tokens let a program in as a user, without its password. A token's text is shown once, when it is made.`,
		Example: `  millrace token add joe --label backup --expires 90d
  millrace token list`,
	})
	c.AddCommand(newTokenAdd(), newTokenList(), newTokenRevoke())
	return c
}

func newTokenAdd() *cobra.Command {
	var path, label, expires string
	c := &cobra.Command{
		Use:     "add USER",
		Short:   "Make a token for a user and print it",
		Long:    `Make a token for a user and print it, the only time that it is shown.`,
		Example: `  millrace token add joe --label backup --expires 90d`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			end, err := parseEnd("expires", expires, time.Now())
			if err != nil {
				return err
			}
			return withAccounts(c, path, func(ctx context.Context, a *accounts.Accounts) error {
				text, token, err := a.AddToken(ctx, operator(), args[0], label, end)
				if err != nil {
					return err
				}
				fmt.Fprintln(c.OutOrStdout(), text)
				fmt.Fprintf(c.ErrOrStderr(), "millrace: this is shown once; its id is %s\n", token.ID)
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&label, "label", "", "what it is for (`TEXT`)")
	c.Flags().StringVar(&expires, "expires", "", "it ends at `TIME`, or so long from now: 90d (default: never)")
	return c
}

func newTokenList() *cobra.Command {
	var path, user, format string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the tokens, without their texts",
		Long:    `List the tokens: id, user, and the last four letters of the text.`,
		Example: `  millrace token list --user joe`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withAccounts(c, path, func(_ context.Context, a *accounts.Accounts) error {
				return printList(c.OutOrStdout(), format, []string{"id", "user", "label", "ends_in", "created", "expires", "by"}, a.Tokens(user), func(t state.Token) []string {
					return []string{t.ID, t.User, t.Label, t.Last4, timeCell(t.Created), timeCell(t.Expires), t.Last.Actor}
				})
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&user, "user", "", "of this user alone (`NAME`)")
	listFlag(c, &format)
	return c
}

func newTokenRevoke() *cobra.Command {
	var path, reason string
	c := &cobra.Command{
		Use:     "revoke ID...",
		Short:   "End tokens",
		Long:    `End tokens, named by their ids. It holds at once, on every instance.`,
		Example: `  millrace token revoke k3m9x2ab7c --reason "left the company"`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withAccounts(c, path, func(ctx context.Context, a *accounts.Accounts) error {
				for _, id := range args {
					if err := a.RevokeToken(ctx, operator(), id, reason); err != nil {
						return err
					}
					fmt.Fprintf(c.OutOrStdout(), "token %s revoked\n", id)
				}
				return nil
			})
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&reason, "reason", "", "why (`TEXT`)")
	return c
}
