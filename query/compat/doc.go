// Package compat answers the calls of the filter vendor's Software API at /cgi-bin/api, so that
// scripts written for it run with another host name.
//
//	https://USER:PASSWORD@HOST/cgi-bin/api?call=api_find_outgoing_messages&domain=example.com&columns=sender
//
// What it promises:
//   - Rows are lines of plain text: values with commas between them, no header, no quotes. A line
//     break within a value is a blank; a comma stays, as it does there.
//   - Rows are streamed, in the order of time, whatever their number.
//   - Whoever calls is a user of Millrace, and sees and changes what his role may.
//   - An argument that is not known is an error, so that no list is longer than what was asked
//     for. Errors are one line that begins with "error: " and has no @ in it: scripts of that API
//     look for addresses by it.
//
// What is not published of that API is decided here, and docs/compatibility.md says how.
package compat
