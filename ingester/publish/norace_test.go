//go:build !race

package publish

const poolAllocs = 0
