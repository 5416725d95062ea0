package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// purposeFile tells in a data directory what its data are.
const purposeFile = "millrace-data"

const (
	purposeReal = "real"
	purposeDemo = "demo"
)

// prepareData makes the directory and marks what its data are. Demo traffic is
// never mixed into real data: a directory that holds these is refused. dir "" is
// a temporary one, for the demo; cleanup removes it.
func prepareData(dir string, demo bool) (path string, cleanup func(), err error) {
	cleanup = func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "millrace-demo-"); err != nil {
			return "", nil, fmt.Errorf("cannot make a directory for the demo's data: %w", err)
		}
		temporary := dir
		cleanup = func() { os.RemoveAll(temporary) }
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", nil, fmt.Errorf("cannot use data directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("cannot make data directory: %w", err)
	}
	was, err := os.ReadFile(filepath.Join(dir, purposeFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("cannot read what is in data directory %q: %w", dir, err)
	}
	purpose := purposeReal
	if demo {
		purpose = purposeDemo
	}
	switch is := strings.TrimSpace(string(was)); {
	case is == "":
		if err := refuseForeign(dir); err != nil {
			return "", nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, purposeFile), []byte(purpose+"\n"), 0o600); err != nil {
			return "", nil, fmt.Errorf("cannot mark data directory: %w", err)
		}
	case is != purpose && demo:
		return "", nil, fmt.Errorf("cannot run the demo on data directory %q: it holds real data (leave --data out, and a temporary one is used)", dir)
	case is != purpose:
		return "", nil, fmt.Errorf("cannot use data directory %q: it holds the data of a demo (choose another with --data, or remove it)", dir)
	}
	return dir, cleanup, nil
}

// refuseForeign refuses a directory with other things in it: a mistyped --data
// must not fill somebody's home with files.
func refuseForeign(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("cannot use data directory %q: it is not empty (%q) and not Millrace's", dir, e.Name())
		}
	}
	return nil
}
