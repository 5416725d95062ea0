package migrate

import (
	"context"
	"fmt"

	"millrace/schema"
)

// Views are not part of a migration either: what they say is the version's and the
// configuration's, and no row depends on it. The server writes a view's text in its own
// words, so that the comment tells which definition it is of.

func (s Settings) createView(v schema.View) string {
	return v.Create(s.Views, s.Database, s.onCluster(), true)
}

func (s Settings) createReadView(v schema.View) string {
	views := s.Views
	views.Home = s.Database
	return v.Create(views, s.readDatabase(), s.everywhere(), true)
}

// createRefresh are the statements that make what counts. On a cluster a message and its
// statuses may lie on different shards: each server counts those of all, for itself, so that
// whoever is asked has the whole.
func (s Settings) createRefresh(f schema.Refresh) []string {
	events := s.Database
	if s.Cluster != "" {
		events = s.readDatabase()
	}
	return f.Create(s.Views, events, s.Database, s.onCluster())
}

func refreshes() (all []schema.Refresh) {
	for _, r := range schema.Rollups() {
		all = append(all, r.Refreshes()...)
	}
	return all
}

// planRefreshes makes what counts, where it is not there or of another definition.
func (m *Migrator) planRefreshes(ctx context.Context, servers uint64) ([]Step, error) {
	have, err := m.commentsOf(ctx, m.settings.Database)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, f := range refreshes() {
		if why := have.differs(servers, f.Name, f.Comment(m.settings.Views)); why != "" {
			steps = append(steps, Step{Kind: StepRollup, Name: f.Name, Reason: why, Statements: m.settings.createRefresh(f)})
		}
	}
	return steps, nil
}

const missingView = "does not exist on all servers"

// planViews makes the views that are not there, or are of another definition.
func (m *Migrator) planViews(ctx context.Context, servers uint64) ([]Step, error) {
	have, err := m.commentsOf(ctx, m.settings.Database)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, v := range schema.Views() {
		if why := have.differs(servers, v.Name, v.Comment(m.settings.Views)); why != "" {
			steps = append(steps, Step{Kind: StepView, Name: v.Name, Reason: why, Statements: []string{m.settings.createView(v)}})
		}
	}
	return steps, nil
}

// comments are those of a database's tables and views, of each server one.
type comments map[string][]string

func (m *Migrator) commentsOf(ctx context.Context, database string) (comments, error) {
	s := m.settings
	s.Database = database
	rows, err := m.conn.Query((&Migrator{settings: s}).params(ctx, ""), "SELECT name, comment FROM "+s.system("tables")+" WHERE database = {database:String}")
	if err != nil {
		return nil, fmt.Errorf("cannot read the description of database %s: %w", database, err)
	}
	defer rows.Close()
	all := comments{}
	for rows.Next() {
		var name, comment string
		if err := rows.Scan(&name, &comment); err != nil {
			return nil, fmt.Errorf("cannot read the description of database %s: %w", database, err)
		}
		all[name] = append(all[name], comment)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the description of database %s: %w", database, err)
	}
	return all, nil
}

// differs says why a view has to be made on one of the servers; empty: it need not.
func (c comments) differs(servers uint64, name, want string) string {
	same := uint64(0)
	for _, comment := range c[name] {
		if comment == want {
			same++
		}
	}
	switch {
	case uint64(len(c[name])) < servers:
		return missingView
	case same < servers:
		return "is of another version or configuration"
	}
	return ""
}
