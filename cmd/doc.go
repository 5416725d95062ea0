// Package cmd is the command line: one file per sub-command, flags in, output
// out. What a command does is in the packages behind it.
//
// It promises: output goes to standard output, everything else to standard
// error; an error is printed once, as "millrace: cannot ..."; the exit code is 0
// for success, 1 for a failure, 2 for wrong usage or configuration (and for a
// port that is taken). Every command has an example in its help.
//
// To add a command: a file with a function that returns it, a line in New.
package cmd
