package migrate

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"millrace/schema"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migration is one file.
type Migration struct {
	Version    uint32
	Name       string // the file's name without .sql: 0001_events
	Checksum   string // of the file, line ends and trailing spaces aside
	Server     string // the oldest ClickHouse that it runs on
	Statements []string
}

var fileName = regexp.MustCompile(`^([0-9]{4})_[a-z0-9_]+$`)

func readMigrations(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []Migration
	for i, file := range names {
		text, err := fs.ReadFile(files, file)
		if err != nil {
			return nil, fmt.Errorf("cannot read migration %s: %w", file, err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		m, err := parseMigration(name, string(text))
		if err != nil {
			return nil, err
		}
		if m.Version != uint32(i+1) {
			return nil, fmt.Errorf("cannot use migration %s: its number should be %04d", name, i+1)
		}
		list = append(list, m)
	}
	return list, nil
}

func parseMigration(name, text string) (Migration, error) {
	m := Migration{Name: name}
	match := fileName.FindStringSubmatch(name)
	if match == nil {
		return m, fmt.Errorf("cannot use migration %q: want NNNN_name", name)
	}
	n, err := strconv.ParseUint(match[1], 10, 32)
	if err != nil {
		return m, fmt.Errorf("cannot use migration %q: %w", name, err)
	}
	m.Version = uint32(n)

	// An editor's line ends must not make a migration another one.
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t")
	}
	normal := strings.TrimSpace(strings.Join(lines, "\n")) + "\n"
	sum := sha256.Sum256([]byte(normal))
	m.Checksum = hex.EncodeToString(sum[:])

	var statement []string
	for _, line := range strings.Split(normal, "\n") {
		if v, ok := strings.CutPrefix(line, "-- server:"); ok {
			m.Server = strings.TrimSpace(v)
		}
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		statement = append(statement, line)
		if strings.HasSuffix(line, ";") {
			m.Statements = append(m.Statements, strings.TrimSuffix(strings.Join(statement, "\n"), ";"))
			statement = nil
		}
	}
	if len(statement) > 0 {
		return m, fmt.Errorf("cannot use migration %s: its last statement has no ';'", name)
	}
	if len(m.Statements) == 0 {
		return m, fmt.Errorf("cannot use migration %s: it has no statement", name)
	}
	if _, err := parseVersion(m.Server); err != nil {
		return m, fmt.Errorf("cannot use migration %s: -- server: %w", name, err)
	}
	return m, nil
}

// render fills the placeholders in.
func (s Settings) render(statement string) (string, error) {
	out := strings.NewReplacer(
		"{{database}}", s.Database,
		"{{on_cluster}}", s.onCluster(),
		"{{engine}}", s.engine(),
		"{{replacing}}", schema.Replacing(s.engine()),
	).Replace(statement)
	if i := strings.Index(out, "{{"); i >= 0 {
		return "", fmt.Errorf("cannot render a statement: unknown placeholder %q", out[i:min(i+20, len(out))])
	}
	return out, nil
}

// version is a server's version; the fourth number says nothing about features.
type version struct{ major, minor int }

func parseVersion(s string) (version, error) {
	parts := strings.SplitN(strings.TrimSpace(s), ".", 3)
	if len(parts) < 2 {
		return version{}, fmt.Errorf("cannot read the version %q: want MAJOR.MINOR", s)
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil {
		return version{}, fmt.Errorf("cannot read the version %q: want MAJOR.MINOR", s)
	}
	return version{major, minor}, nil
}

func (v version) less(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}
