//go:build race

package publish

// poolAllocs: with the race detector sync.Pool forgets on purpose.
const poolAllocs = 0.01
