//go:build !race

package ingester

const poolAllocs = 0
