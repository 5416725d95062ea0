package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"millrace/query/state"
)

// ErrNoUser: there is no user of that name.
var ErrNoUser = errors.New("there is no such user")

// Add makes a user. Without a password only tokens let it in.
func (a *Accounts) Add(ctx context.Context, by state.By, u state.User, password string) error {
	u.Name, u.Password = normalName(u.Name), ""
	if err := checkName(u.Name); err != nil {
		return err
	}
	if err := normalise(&u); err != nil {
		return err
	}
	if _, there := a.store.Snapshot().User(u.Name); there {
		return errThere(u.Name) // and no hash is computed
	}
	if err := a.setHash(ctx, &u, password); err != nil {
		return err
	}
	err := a.store.Append(ctx, by, state.Change{Key: state.UserKey(u.Name), Action: "add", Value: u, If: state.Absent()})
	if errors.Is(err, state.ErrConflict) {
		return errThere(u.Name)
	}
	return err
}

func errThere(name string) error {
	return fmt.Errorf("cannot add user %q: there is one of that name", name)
}

func (a *Accounts) setHash(ctx context.Context, u *state.User, password string) (err error) {
	if password == "" {
		return nil
	}
	if err := checkPassword(password); err != nil {
		return err
	}
	u.Password, err = a.hash.hash(ctx, password)
	return err
}

// Set changes a user: f is given what it is, and changes role, domains, addresses or
// Disabled. It may be called again when somebody else was faster.
func (a *Accounts) Set(ctx context.Context, by state.By, name string, f func(*state.User) error) error {
	return a.change(ctx, by, name, "set", func(u *state.User) error {
		hash := u.Password
		if err := f(u); err != nil {
			return err
		}
		u.Password = hash
		return normalise(u)
	})
}

// SetPassword gives a user another password.
func (a *Accounts) SetPassword(ctx context.Context, by state.By, name, password string) error {
	var made state.User
	if err := checkPassword(password); err != nil {
		return err
	}
	if _, there := a.store.Snapshot().User(normalName(name)); !there {
		return fmt.Errorf("cannot change user %q: %w", normalName(name), ErrNoUser) // and no hash is computed for nobody
	}
	if err := a.setHash(ctx, &made, password); err != nil {
		return err
	}
	return a.change(ctx, by, name, "password", func(u *state.User) error {
		u.Password = made.Password
		return nil
	})
}

func (a *Accounts) change(ctx context.Context, by state.By, name, action string, f func(*state.User) error) error {
	name = normalName(name)
	for {
		u, ok := a.store.Snapshot().User(name)
		if !ok {
			return fmt.Errorf("cannot change user %q: %w", name, ErrNoUser)
		}
		if err := f(&u); err != nil {
			return err
		}
		err := a.store.Append(ctx, by, state.Change{Key: state.UserKey(name), Action: action, Value: u, If: state.At(u.Last.Version)})
		if !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}

// Remove removes a user and its tokens.
func (a *Accounts) Remove(ctx context.Context, by state.By, name string) error {
	name = normalName(name)
	snap := a.store.Snapshot()
	if _, ok := snap.User(name); !ok {
		return fmt.Errorf("cannot remove user %q: %w", name, ErrNoUser)
	}
	changes := []state.Change{{Key: state.UserKey(name), Action: "remove"}}
	for _, t := range snap.Tokens() {
		if t.User == name {
			changes = append(changes, state.Change{Key: state.TokenKey(t.ID), Action: "revoke", Reason: "its user was removed"})
		}
	}
	return a.store.Append(ctx, by, changes...)
}

// Users are all, without their hashes.
func (a *Accounts) Users() []state.User {
	users := a.store.Snapshot().Users()
	for i := range users {
		users[i].Password = ""
	}
	return users
}

// AddToken makes a token for a user and returns its text, which is kept nowhere. A zero
// expires: it does not.
func (a *Accounts) AddToken(ctx context.Context, by state.By, user, label string, expires time.Time) (string, state.Token, error) {
	user = normalName(user)
	if _, ok := a.store.Snapshot().User(user); !ok {
		return "", state.Token{}, fmt.Errorf("cannot add a token for %q: %w", user, ErrNoUser)
	}
	now := a.now().UTC().Truncate(time.Second)
	if !expires.IsZero() && !expires.After(now) {
		return "", state.Token{}, fmt.Errorf("cannot add a token that ends at %s: that is over", expires.UTC().Format(time.RFC3339))
	}
	id := random(idLetters)
	text := tokenPrefix + id + random(secretChars)
	t := state.Token{ID: id, User: user, Label: label, Hash: tokenHash(text), Last4: text[len(text)-4:], Created: now}
	if !expires.IsZero() {
		t.Expires = expires.UTC().Truncate(time.Second)
	}
	if err := a.store.Append(ctx, by, state.Change{Key: state.TokenKey(id), Action: "add", Value: t, If: state.Absent()}); err != nil {
		return "", state.Token{}, err
	}
	t.Hash = ""
	return text, t, nil
}

// RevokeToken ends a token, named by its id.
func (a *Accounts) RevokeToken(ctx context.Context, by state.By, id, reason string) error {
	t, ok := a.store.Snapshot().Token(id)
	if !ok {
		return fmt.Errorf("cannot revoke token %q: there is no token of that id (millrace token list)", id)
	}
	return a.store.Append(ctx, by, state.Change{Key: state.TokenKey(t.ID), Action: "revoke", Reason: reason})
}

// Tokens are all, or those of a user, without their hashes.
func (a *Accounts) Tokens(user string) []state.Token {
	user = normalName(user)
	var list []state.Token
	for _, t := range a.store.Snapshot().Tokens() {
		if user == "" || t.User == user {
			t.Hash = ""
			list = append(list, t)
		}
	}
	return list
}

// The first user, and the file with its password.
const (
	FirstUser    = "admin"
	PasswordFile = "admin-password"
)

// Bootstrap makes the user admin when there is no user at all, with a password that it
// writes to a file of mode 0600 in dir. It returns the file's path, or "" when there was
// nothing to do. Of several instances at once one does it.
func (a *Accounts) Bootstrap(ctx context.Context, dir string) (string, error) {
	if len(a.store.Snapshot().Users()) > 0 {
		return "", nil
	}
	path := filepath.Join(dir, PasswordFile)
	password, err := passwordIn(path)
	if err != nil {
		return "", err
	}
	err = a.Add(ctx, state.By{Actor: "millrace", How: state.System}, state.User{Name: FirstUser, Role: string(Admin)}, password)
	if err == nil {
		return path, nil
	}
	if _, there := a.store.Snapshot().User(FirstUser); there {
		os.Remove(path) // another instance was first: this password is nobody's
		return "", nil
	}
	return "", err
}

// passwordIn makes the file with a new password. One that a start which was cut off has
// left is taken as it is.
func passwordIn(path string) (string, error) {
	password := random(24)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("cannot read the first password: %w", err)
		}
		password = strings.TrimSpace(string(text))
		if err := checkPassword(password); err != nil {
			return "", fmt.Errorf("cannot use the first password in %q: %w (remove the file, and another is made)", path, err)
		}
		return password, os.Chmod(path, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the first password: %w", err)
	}
	_, err = f.WriteString(password + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("cannot write the first password: %w", err)
	}
	return password, nil
}
