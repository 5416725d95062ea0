// Package recordbatch writes and reads Kafka record batches, format version 2
// (magic 2): the unit that travels from a producer through a broker's log to a
// consumer, byte for byte.
//
// Writing. A Builder appends records in place into one buffer that the caller
// gives it: Begin returns the place where the next value goes, End closes the
// record around it, Seal back-fills the header, Compressor makes the compressed
// batch in a second buffer of the caller's, Stamp sets the producer's identity
// and the checksum and may be called again before a retry. A record has a value
// and a timestamp, no key and no headers.
//
// Reading. Set iterates the batches of a fetch response's record set and checks
// each CRC-32C, Decompressor yields a batch's records in a buffer that the caller
// owns, Records iterates them as views. Keys and headers of foreign producers are
// tolerated. Any bytes at all may be read: what is no batch is an error that wraps
// one of the Err values, and no size that the bytes claim is allocated before it
// is compared with a limit.
//
// Nothing here allocates in steady state. Builder, Compressor, Decompressor, Set
// and Records are each for one goroutine at a time.
package recordbatch
