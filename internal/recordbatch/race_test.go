//go:build race

package recordbatch_test

// poolAllocs: with the race detector sync.Pool forgets on purpose, and the
// codecs' libraries use it.
const poolAllocs = 4
