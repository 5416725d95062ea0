package migrate

import (
	"context"
	"fmt"

	"millrace/schema"
)

// Count counts what is not counted yet by the hour, all of it: the views do the same by
// themselves, five million events at a time. progress is called after each step with the
// events of the hours that are counted now.
func (m *Migrator) Count(ctx context.Context, progress func(rollup string, events uint64)) error {
	db := schema.QuoteName(m.settings.Database)
	for _, r := range schema.Rollups() {
		view := db + "." + schema.QuoteName(r.View.Name+"_heal")
		counted := func() (n uint64, err error) {
			if err = m.conn.QueryRow(m.params(ctx, r.View.Name), "SELECT sum(events) FROM "+db+".`rollup_hours` FINAL WHERE rollup = {table:String}").Scan(&n); err != nil {
				err = fmt.Errorf("cannot read what %s has counted: %w", r.View.Name, err)
			}
			return n, err
		}
		before, err := counted()
		for {
			if err != nil {
				return err
			}
			for _, q := range []string{"SYSTEM REFRESH VIEW " + view, "SYSTEM WAIT VIEW " + view} {
				if err := m.conn.Exec(ctx, q); err != nil {
					return fmt.Errorf("cannot count %s: %w (statement: %s)", r.View.Name, err, q)
				}
			}
			var now uint64
			if now, err = counted(); err == nil {
				progress(r.View.Name, now)
			}
			if now == before {
				break
			}
			before = now
		}
		if err != nil {
			return err
		}
	}
	return nil
}
