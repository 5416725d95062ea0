//go:build race

package ingester

// poolAllocs is for what sync.Pool forgets, on purpose, under the race detector.
const poolAllocs = 2
