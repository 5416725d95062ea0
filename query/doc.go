// Package query answers: it runs SQL and the embedded reports on ClickHouse as
// a read-only user and prints the result as a table, TSV, CSV or JSON.
//
// What it promises:
//   - Nothing is changed. Every statement runs with readonly=2, whatever the
//     user it runs as might be allowed.
//   - TSV, CSV and JSON are streamed: rows are written as the server sends
//     them, memory does not grow with the result. A table has to be aligned and
//     is held until its end, up to a bound ([MaxTableRows], [MaxTableBytes]);
//     [Summary.Cut] says when it was cut.
//   - When the context ends, so does the statement on the server.
//   - A table shows no control character of a value: what a sender wrote into a
//     subject cannot drive the terminal of the one who reads it.
//
// What it cannot do: keep the order of the keys of a Map that stands within
// another type (they are sorted), and read the column types that the driver
// does not know, which are an error that names the type.
//
// A report is one file reports/NAME.sql, or one of a folder of the user's own: comment lines
// with its title, its parameters and the columns that it needs, then one SELECT with
// ClickHouse's own {name:Type} parameters. Adding a report needs no Go. Values are query
// parameters, never SQL. [Report.Ask] gives each its value, [Asked.Run] asks, and
// [Asked.Notes] says what the rows do not.
//
// [CheckScoped] judges statements that others than admins may run, and [Scoped] makes the
// names in them stand for what they may see.
package query
