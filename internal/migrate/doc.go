// Package migrate brings the tables in ClickHouse to what this binary expects.
//
// A migration is a file migrations/NNNN_NAME.sql that is compiled in. Once
// released it is frozen: a ledger, the table schema_migrations in the same
// database, remembers the checksum of each that was applied, and a binary whose
// file differs refuses to go on. A change is a new file.
//
//	-- server: 24.8
//	CREATE TABLE IF NOT EXISTS `{{database}}`.`t`{{on_cluster}} (...) ENGINE = {{engine}} ...;
//	ALTER TABLE ...;
//
// What it promises:
//   - [Migrator.Plan] touches nothing and shows every statement that
//     [Migrator.Apply] would run.
//   - Each statement may be run again (IF NOT EXISTS): an Apply that was cut
//     off between two statements is finished by the next, and two at once do
//     not hurt each other.
//   - A server that is too old, and a database that a newer binary has
//     migrated, are refused before anything is changed.
//   - Retention is not part of a migration, since it changes with the
//     configuration: Apply compares the tables' TTL with it and alters what
//     differs.
//   - Views are not either: Apply compares the fingerprint in each view's comment
//     with this version and configuration, and replaces the view that differs.
//   - [Migrator.Check] compares the live tables with the package schema, and
//     gives for each difference the statement that mends it.
//
// The connection must not name the database as its own: ClickHouse refuses a
// connection whose database does not exist yet.
package migrate
