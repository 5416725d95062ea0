//go:build race

package transport

// raceEnabled: under the race detector a sync.Pool forgets some of what it is given.
const raceEnabled = true
