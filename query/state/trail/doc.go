// Package trail copies the log of package state to ClickHouse, table state_changes, and
// reads it there: who has decided what, when, how and why.
//
// What it promises:
//   - Every record of the log is copied, also one that had no effect, with what the key was
//     before and after; passwords and tokens are not, nor their hashes, nor what a newer
//     version has written.
//   - Run does it on the acting instance. Copy goes on behind the last record that is there. Who copies the same record again
//     makes no second row: the table replaces by (epoch, offset), and is read with FINAL, and
//     one row of each, where two shards have it.
//   - History is complete also while nobody copies: it adds what is in the log alone.
package trail
