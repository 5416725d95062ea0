// Package block collects the values of events in columns, ready for one INSERT.
//
// A Block belongs to one goroutine. Append and AppendRecord copy every value, so that the
// record may be reused at once. Columns are in the form of ClickHouse's native format and
// keep their memory over Reset: a block in steady state allocates nothing. What Native's
// Encode returns are views of that memory, valid until the next Append or Reset.
//
// A column that no row has a value for is Empty and need not be sent at all: the
// server then fills in the type's default, which is what an absent value means.
//
// Another type of field is a case in column.go (its width, or how it is appended), one in
// native.go, and one in AppendRecord, which the fuzz target holds to Reader and Append.
package block
