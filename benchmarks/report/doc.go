// Package report is what the benchmark programs make of their measurements: medians over
// rounds in which programs took turns, goals and by how much they are missed, and tables
// for the terminal, for files (text, JSON, CSV) and for a page of the documentation, of
// which the program writes what stands between two marks. A figure reaches a page in no
// other way.
package report
