package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// LibraryEnv names the environment variable that says where libchdb is.
const LibraryEnv = "MILLRACE_LIBCHDB"

// ErrNoLibrary is in the error of a start without libchdb.
var ErrNoLibrary = errors.New("libchdb is not installed")

// packageNames are the npm packages that carry libchdb, by platform.
var packageNames = map[string]string{
	"linux/amd64":  "lib-linux-x64-gnu",
	"linux/arm64":  "lib-linux-arm64-gnu",
	"darwin/amd64": "lib-darwin-x64",
	"darwin/arm64": "lib-darwin-arm64",
}

// FindLibrary returns the path of libchdb: the given one, else the one that
// MILLRACE_LIBCHDB names, else beside the executable (./ and ../lib/), else
// where `make libchdb` puts it: .tools of the executable's parent directory, or
// of the working directory or one above it.
func FindLibrary(given string) (string, error) {
	for _, explicit := range []struct{ path, from string }{{given, "the given path"}, {os.Getenv(LibraryEnv), LibraryEnv}} {
		if explicit.path == "" {
			continue
		}
		if isFile(explicit.path) {
			return filepath.Abs(explicit.path)
		}
		return "", fmt.Errorf("cannot find libchdb at %q (%s): %w", explicit.path, explicit.from, ErrNoLibrary)
	}

	platform := runtime.GOOS + "/" + runtime.GOARCH
	name, supported := packageNames[platform]
	if !supported {
		return "", fmt.Errorf("cannot run the embedded ClickHouse on %s: %w: it exists for Linux with glibc and for macOS, on amd64 and arm64; use a ClickHouse server instead", platform, ErrNoLibrary)
	}
	inTools := filepath.Join(".tools", "libchdb", "node_modules", "@chdb", name, "libchdb.so")

	var candidates []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		candidates = append(candidates,
			filepath.Join(dir, "libchdb.so"),
			filepath.Join(dir, "..", "lib", "libchdb.so"),
			filepath.Join(dir, "..", inTools))
	}
	if dir, err := os.Getwd(); err == nil {
		for {
			candidates = append(candidates, filepath.Join(dir, inTools))
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	for _, c := range candidates {
		// A library that somebody else put in a shared directory is not loaded.
		if isFile(c) && ownedByUsOrRoot(c) {
			return filepath.Abs(c)
		}
	}
	return "", fmt.Errorf("cannot start the embedded ClickHouse: %w: run `make libchdb` (npm package @chdb/%s, made for Linux with glibc on x86-64), or set %s to the path of libchdb.so",
		ErrNoLibrary, name, LibraryEnv)
}

func ownedByUsOrRoot(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Getuid())
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
