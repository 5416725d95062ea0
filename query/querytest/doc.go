// Package querytest gives tests of answers a database with all tables and views, on the real
// ClickHouse of the test binary (package embeddedtest), and what their borders are tried with:
// hostile texts ([Hostile]), and rows that nobody else may see ([Canaries]).
package querytest
