package querytest

import (
	"testing"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/migrate"
	"millrace/query"
	"millrace/schema"
)

// Tables makes all tables and views in a database of its own, and runs the inserts.
func Tables(t testing.TB, inserts ...string) (database string) {
	t.Helper()
	database = embeddedtest.Database(t)
	admin := embeddedtest.Connect(t, database)
	m, err := migrate.New(admin, migrate.Settings{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, k := range schema.Kinds() {
		all = append(all, k.CreateTable(schema.Layout{Database: database}))
	}
	trail, err := m.StateTable()
	if err != nil {
		t.Fatal(err)
	}
	all = append(append(all, trail), schema.Derived(schema.Layout{Database: database}, schema.DefaultRetention, schema.ViewSettings{})...)
	// The rollups' views would count in each of a package's databases every minute.
	for _, r := range schema.Rollups() {
		for _, view := range []string{"_refresh", "_heal"} {
			all = append(all, "SYSTEM STOP VIEW "+r.View.Name+view)
		}
	}
	for _, sql := range append(all, inserts...) {
		if err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return database
}

// Reader asks the database as the user that can only read.
func Reader(t testing.TB, database string) query.Options {
	t.Helper()
	s := embeddedtest.ClickHouse(t)
	return query.Options{Addresses: []string{s.NativeAddr}, Database: database, User: s.Reader.User, Password: s.Reader.Password}
}
