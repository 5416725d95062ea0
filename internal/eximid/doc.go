// Package eximid reads and writes Exim's message ids, which begin with the second that the
// message came in: six digits in base62, a dash, the process, a dash, the fraction of the
// second (Exim's specification, "Message identification"). Before Exim 4.97 they are of
// 6-6-2 digits, as 1phfsb-0004M4-O4, since then of 6-11-4.
//
// The filter's messages and their statuses are stored under that second, so that an id says
// where its rows are.
package eximid
