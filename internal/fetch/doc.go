// Package fetch reads record batches from Kafka as they lie in the log, without
// an allocation per record.
//
// A request goes through kafka-go's Transport, which routes it, and brings TLS,
// SASL and the connection pool; the message itself writes the request and reads
// the response (protocol.RawExchanger), each partition's record set straight from
// the socket into a pooled Buffer. Nothing is decoded here: checking and parsing
// a batch is internal/recordbatch's work.
//
// A Fetcher keeps one request open per broker for all Streams, one per
// partition, whose leader that broker is. A Stream is seeked and read by one
// goroutine. A Chunk owns its Buffer until Release. What all streams hold, in
// chunks not yet released and in what their readers declare with Hold, is kept
// under one limit: at the limit a stream that holds anything is not fetched for.
// One that holds nothing always may fetch once, so that partitions which cannot
// move on do not starve the others.
package fetch
