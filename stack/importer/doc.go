// Package importer puts old logs and mails into the pipeline: it asks ClickHouse what is
// there of them already, and hands over to the ingester what is not.
//
// What it promises: an import that is interrupted, or run again, publishes nothing twice,
// as long as Kafka or ClickHouse has what was published before; a file that has been
// followed by an ingester is known too.
package importer
