package insert

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"millrace/schema"
)

// Errors of Check, as opposed to a server that does not answer.
var (
	// ErrUnfit: nothing can be inserted.
	ErrUnfit = errors.New("table is not fit")
	// ErrForgetful: it can, but not exactly once: a repeated INSERT would double rows.
	ErrForgetful = errors.New("table forgets its INSERTs")
)

// Check looks whether the tables of kinds are there, and whether they and what
// materialized views make of each block remember tokens. The error names all tables that
// do not, with the statement that mends each.
func (c *ClickHouse) Check(ctx context.Context, kinds []*schema.Kind) error {
	seen := map[string]bool{}
	var forgetful []string
	for _, k := range kinds {
		for _, t := range tables(k) {
			found, err := c.check(ctx, name{c.database, t.Table}, seen)
			if err != nil {
				return err
			}
			forgetful = append(forgetful, found...)
		}
	}
	if len(forgetful) == 0 {
		return nil
	}
	return fmt.Errorf("cannot insert exactly once: %w, so that a repeated one would double rows:\n  %s", ErrForgetful, strings.Join(forgetful, "\n  "))
}

// name is a table's.
type name struct{ database, table string }

func (n name) String() string { return schema.QuoteName(n.database) + "." + schema.QuoteName(n.table) }

// description is what system.tables says of a table.
type description struct {
	engine, full string
	uuid         string
	create       string
	views        []name // materialized views that read what is inserted into it
}

func (c *ClickHouse) describe(ctx context.Context, n name) (description, bool, error) {
	var d description
	found := false
	err := ask(ctx, func(ctx context.Context) error {
		rows, err := c.conn.Query(ctx, "SELECT engine, engine_full, toString(uuid), create_table_query, dependencies_database, dependencies_table"+
			" FROM system.tables WHERE database = ? AND name = ?", n.database, n.table)
		if err != nil {
			return err
		}
		return each(rows, func() error {
			var databases, views []string
			err := rows.Scan(&d.engine, &d.full, &d.uuid, &d.create, &databases, &views)
			for i := range views {
				d.views = append(d.views, name{databases[i], views[i]})
			}
			found = true
			return err
		})
	})
	if err != nil {
		return description{}, false, fmt.Errorf("cannot look for table %s: %w", n, err)
	}
	return d, found, nil
}

// check returns what is wrong with a table that rows are inserted into, and with the
// targets of its views.
func (c *ClickHouse) check(ctx context.Context, n name, seen map[string]bool) (forgetful []string, err error) {
	if seen[n.String()] {
		return nil, nil
	}
	seen[n.String()] = true
	d, found, err := c.describe(ctx, n)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("cannot insert into %s: %w: it does not exist, or the user may not see it; `millrace schema apply` makes it", n, ErrUnfit)
	case !strings.HasSuffix(d.engine, "MergeTree"):
		return nil, fmt.Errorf("cannot insert into %s: %w: its engine is %s, not of the MergeTree family", n, ErrUnfit, d.engine)
	}
	if c.addresses > 1 && !replicated(d.engine) {
		forgetful = append(forgetful, fmt.Sprintf("%s is %s, and there are %d addresses: what one of them has the others do not know; give each address as a shard (clickhouse.shards), or replicate the tables (clickhouse.replication)",
			n, d.engine, c.addresses))
	}
	more, err := c.remembers(ctx, n, d, seen)
	return append(forgetful, more...), err
}

// replicated tells whether a table has copies on other servers.
func replicated(engine string) bool {
	return strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared")
}

// remembers returns what is wrong with the deduplication windows of a table and of the
// targets of its views.
func (c *ClickHouse) remembers(ctx context.Context, n name, d description, seen map[string]bool) (forgetful []string, err error) {
	switch {
	case d.engine == "Null": // keeps nothing
	case !strings.HasSuffix(d.engine, "MergeTree"):
		forgetful = append(forgetful, fmt.Sprintf("%s has the engine %s, which knows no tokens; let the view that writes it be refreshable (REFRESH EVERY), or drop it", n, d.engine))
	default:
		setting, window, err := c.window(ctx, d)
		if err != nil {
			return nil, err
		}
		if window == "0" {
			advice := 10000
			if setting == replicatedWindow {
				advice = 20000
			}
			forgetful = append(forgetful, fmt.Sprintf("%s has %s = 0; run: ALTER TABLE %s MODIFY SETTING %s = %d", n, setting, n, setting, advice))
		}
	}
	for _, v := range d.views {
		target, err := c.target(ctx, v)
		if err != nil {
			return nil, err
		}
		if target == (name{}) || seen[target.String()] {
			continue
		}
		seen[target.String()] = true
		t, found, err := c.describe(ctx, target)
		if err != nil {
			return nil, err
		}
		if !found {
			continue // the view's INSERTs fail, or we may not see it; the first block tells
		}
		more, err := c.remembers(ctx, target, t, seen)
		if err != nil {
			return nil, err
		}
		forgetful = append(forgetful, more...)
	}
	return forgetful, nil
}

var (
	quoted     = "(?:`(?:[^`\\\\]|\\\\.)*`|\\w+)"
	viewTarget = regexp.MustCompile(`^CREATE MATERIALIZED VIEW ` + quoted + `(?:\.` + quoted + `)? (?:UUID '[^']*' )?TO (?:(` + quoted + `)\.)?(` + quoted + `)`)
	refreshed  = regexp.MustCompile(`^CREATE MATERIALIZED VIEW ` + quoted + `(?:\.` + quoted + `)? (?:UUID '[^']*' )?REFRESH `)
)

// target is the table that a view writes to; none when it does so by itself, at its
// hours, and not with each INSERT.
func (c *ClickHouse) target(ctx context.Context, view name) (name, error) {
	d, found, err := c.describe(ctx, view)
	if err != nil || !found || d.engine != "MaterializedView" || refreshed.MatchString(d.create) {
		return name{}, err
	}
	if m := viewTarget.FindStringSubmatch(d.create); m != nil {
		to := name{unquote(m[1]), unquote(m[2])}
		if to.database == "" {
			to.database = view.database
		}
		return to, nil
	}
	inner := ".inner_id." + d.uuid
	if strings.Trim(d.uuid, "0-") == "" { // of a database that has no UUIDs
		inner = ".inner." + view.table
	}
	return name{view.database, inner}, nil
}

// unquote is a name as it stands in a statement, plain.
func unquote(s string) string {
	if !strings.HasPrefix(s, "`") {
		return s
	}
	return strings.NewReplacer("\\`", "`", `\\`, `\`).Replace(s[1 : len(s)-1])
}

const (
	plainWindow      = "non_replicated_deduplication_window"
	replicatedWindow = "replicated_deduplication_window"
)

var windowSetting = regexp.MustCompile(`\b((?:non_)?replicated_deduplication_window)\s*=\s*(\d+)`)

// window is how many of its last INSERTs a table remembers, and the setting that says so.
func (c *ClickHouse) window(ctx context.Context, d description) (setting, window string, err error) {
	setting, source := plainWindow, "system.merge_tree_settings"
	if replicated(d.engine) {
		setting, source = replicatedWindow, "system.replicated_merge_tree_settings"
	}
	for _, m := range windowSetting.FindAllStringSubmatch(d.full, -1) {
		if m[1] == setting {
			window = m[2]
		}
	}
	if window != "" {
		return setting, window, nil
	}
	var value string
	err = ask(ctx, func(ctx context.Context) error { // the server's default
		return c.conn.QueryRow(ctx, "SELECT value FROM "+source+" WHERE name = ?", setting).Scan(&value)
	})
	if err != nil {
		return "", "", fmt.Errorf("cannot read the default of %s: %w", setting, err)
	}
	return setting, value, nil
}
