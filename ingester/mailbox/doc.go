// Package mailbox reads stored mail: an mbox, a Maildir, a file with one message.
//
// A Reader yields one message after the other, with the byte of its file that it begins
// at: the same message has the same offset each time, so that who reads a file twice
// knows what it has read. What it promises: every byte of a file is in a message, or in
// the line that parts it from the one before, or the blank line behind it; nothing is read
// that is longer than a message may be, of which then the beginning is there and the size;
// and no file makes it panic or hold more than one message.
//
// An mbox has many dialects (RFC 4155, appendix). A message begins at a line with From,
// a blank and the time somewhere behind it, that is the first or behind a blank line; or
// that has a whole date, wherever it stands: some writers leave the blank line out. The >
// that a writer has put before From at the beginning of a line is taken off, one of them,
// as in the dialects mboxo and mboxrd. (mboxo does not quote >From, so that a line of that
// loses its > as well: the file does not tell.) What stands before the first such line is
// a message too.
package mailbox
