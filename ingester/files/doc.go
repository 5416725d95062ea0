// Package files follows log files: it finds those that paths name, reads their lines, and
// remembers how far each was read.
//
// A source is a file by what it begins with, not by its name: its fingerprint is a hash of
// the first kilobyte. A log that is renamed, copied, or compressed when it is rotated stays
// the source that it was, and is read on where it was left, wherever a path finds it.
//
// What it promises: the lines of a source come in their order, each with the offset of its
// first byte (of what was compressed, in the uncompressed text), and each once, as long as
// the program runs; a file that is cut short and written anew is a new source; a line
// without an end is given when nothing can follow it. What happens over a restart is the
// Taker's affair: it says where reading begins, and saves a Checkpoint when it is safe.
package files
