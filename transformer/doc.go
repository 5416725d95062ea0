// Package transformer carries records from Kafka into ClickHouse, each exactly
// once.
//
// A range of one partition's records becomes one block, and lands in three steps:
//
//  1. Announce. One OffsetCommit says where the range before ended (its offset)
//     and where this one ends (the intent, in its metadata). It is fenced by the
//     group's generation. Nothing is inserted before it is acknowledged.
//  2. Insert. One INSERT of one native block under a token made of the range, the
//     topic's incarnation and a fingerprint of the record batches. Every error is
//     answered by the same bytes under the same token, and by announcing again
//     when the last announcement is older than the lease.
//  3. Confirm. The next announcement does it, or an empty one when nothing follows.
//
// Whoever is assigned a partition with an open intent reads exactly the announced
// range again, asks ClickHouse which of its rows are there, and inserts the others
// under the same token. Where offsets were lost or moved back, ClickHouse is asked
// what is there already, and only what is missing is inserted. A topic that was
// deleted and made again has the next epoch, so that its offsets are told from the
// old ones.
//
// A record that is no event of its topic's kind becomes a row of `rejects` under
// the same token. A block that ClickHouse refuses is an operator's matter: it is
// tried again and alarmed, and only its partition waits.
//
// Refill is for rows that were there and are gone: below the confirmed offset, where no
// member inserts or asks, it reads the records again and inserts those without a row.
//
// Sub-packages: fetch (record sets out of Kafka), block (columns), insert
// (columns into ClickHouse).
package transformer
