//go:build race

package model

// underRace: the search is one goroutine, and the detector makes it ten times slower.
const underRace = true
