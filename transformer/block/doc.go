// Package block collects the values of events in columns, ready for one INSERT.
//
// A Block belongs to one goroutine. Append copies every value out of the event,
// so that the record it borrows from may be reused at once. Columns keep their
// memory over Reset: a block in steady state allocates nothing. What the
// accessors of Column return are views that are valid until the next Append or
// Reset.
//
// A column that no row has a value for is Empty and need not be sent at all: the
// server then fills in the type's default, which is what an absent value means.
package block
