//go:build !race

package recordbatch_test

const poolAllocs = 0
