// Package schema is the one place that says what an event is.
//
// An event KIND (Message, Status, Reject) is a table: a name, a Kafka topic, a
// ClickHouse table and its fields in order. From that table follow the record
// encoding (protobuf wire format, field number = protobuf number), the DDL, the
// columns of an insert, docs/schema.md and docs/events.proto. Nothing else in
// the program knows a field's number, type or codec.
//
// Event is the form that both daemons share: the ingester fills one and writes
// it with AppendRecord, the transformer reads it back with Reader. Its values
// are views of somebody else's bytes (the frame, the record) and live until the
// next Reset; AppendRecord makes the one copy.
//
// An absent value and a type's default are the same thing: nothing is Nullable,
// and `flags` and `bad_fields` tell why a value is missing.
//
// To add a field: a line in the kind's table with the next free number, then
// `make generate`, which also writes the ledger line that forbids changing it
// later. The package imports the standard library only.
package schema

//go:generate go test . -run ^TestGolden -update
