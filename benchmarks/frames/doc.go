// Package frames renders what the benchmarks send: realistic message frames, the same
// ones in the same order for everybody, of a known mean length.
package frames
