// Package process runs the programs that the benchmarks measure: started afresh for each
// measurement, ended with the benchmark, their processor time and memory read from the
// kernel, and for our own a profile.
package process
