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
	var steps []Step
	for _, f := range refreshes() {
		why, err := m.commentDiffers(ctx, servers, m.settings.Database, f.Name, f.Comment(m.settings.Views))
		if err != nil {
			return nil, err
		}
		if why != "" {
			steps = append(steps, Step{Kind: StepRollup, Name: f.Name, Reason: why, Statements: m.settings.createRefresh(f)})
		}
	}
	return steps, nil
}

const missingView = "does not exist on all servers"

// planViews makes the views that are not there, or are of another definition.
func (m *Migrator) planViews(ctx context.Context, servers uint64) ([]Step, error) {
	var steps []Step
	for _, v := range schema.Views() {
		why, err := m.viewDiffers(ctx, servers, m.settings.Database, v)
		if err != nil {
			return nil, err
		}
		if why != "" {
			steps = append(steps, Step{Kind: StepView, Name: v.Name, Reason: why, Statements: []string{m.settings.createView(v)}})
		}
	}
	return steps, nil
}

// viewDiffers says why the view has to be made on one of the servers; empty: it need not.
func (m *Migrator) viewDiffers(ctx context.Context, servers uint64, database string, v schema.View) (string, error) {
	return m.commentDiffers(ctx, servers, database, v.Name, v.Comment(m.settings.Views))
}

func (m *Migrator) commentDiffers(ctx context.Context, servers uint64, database, name, want string) (string, error) {
	s := m.settings
	s.Database = database
	ctx = (&Migrator{settings: s}).params(ctx, name)
	rows, err := m.conn.Query(ctx, "SELECT comment FROM "+s.system("tables")+" WHERE database = {database:String} AND name = {table:String}")
	if err != nil {
		return "", fmt.Errorf("cannot read the description of view %s.%s: %w", database, name, err)
	}
	defer rows.Close()
	var found, same uint64
	for rows.Next() {
		var comment string
		if err := rows.Scan(&comment); err != nil {
			return "", fmt.Errorf("cannot read the description of view %s.%s: %w", database, name, err)
		}
		found++
		if comment == want {
			same++
		}
	}
	if err := rows.Err(); err != nil {
		return "", fmt.Errorf("cannot read the description of view %s.%s: %w", database, name, err)
	}
	switch {
	case found < servers:
		return missingView, nil
	case same < servers:
		return "is of another version or configuration", nil
	}
	return "", nil
}
