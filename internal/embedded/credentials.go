package embedded

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Credentials are a user and its password.
type Credentials struct {
	User, Password string
}

// String keeps passwords out of logs.
func (c Credentials) String() string { return c.User + ":(password not shown)" }

// loadCredentials reads "user:password" from the file, or generates a password
// and writes the file, readable by the owner alone.
func loadCredentials(path, user string) (Credentials, error) {
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		gotUser, password, ok := strings.Cut(strings.TrimSpace(string(text)), ":")
		if !ok || gotUser != user || len(password) < 8 {
			return Credentials{}, fmt.Errorf("cannot read credentials from %q: want one line %q with a password of at least 8 characters (remove the file to have a new one made)", path, user+":PASSWORD")
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return Credentials{}, fmt.Errorf("cannot protect credentials: %w", err)
		}
		return Credentials{User: user, Password: password}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Credentials{}, fmt.Errorf("cannot read credentials: %w", err)
	}
	var secret [24]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the process instead
	c := Credentials{User: user, Password: base64.RawURLEncoding.EncodeToString(secret[:])}
	if err := writePrivate(path, []byte(c.User+":"+c.Password+"\n")); err != nil {
		return Credentials{}, fmt.Errorf("cannot write credentials: %w", err)
	}
	return c, nil
}

// writePrivate replaces the file in one step: a reader sees the old or the new
// text whole, and nobody but the owner sees either.
func writePrivate(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// privateDir makes a directory that only the owner can look into.
func privateDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("cannot make data directory: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return fmt.Errorf("cannot protect data directory: %w", err)
	}
	return nil
}
