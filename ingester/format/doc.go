// Package format turns the body of a frame into an event: it compiles the
// templates that a log source was given, finds the one that a body was written
// with, cuts the body into values, and reads them as the types of their fields.
//
// # Templates
//
// A template is the text that the source's API takes: literals, and %(name)s in
// the syntax of Python's %-formatting. The source escapes nothing, so this is not
// CSV: a reader of CSV finds wrong columns in `"He said "hi", ok"` and says
// nothing. A body is cut at the exact literal between two variables. A format
// whose source does double its quotes says so (CSVQuoting).
//
// # Which format
//
// Formats are told apart by the literals they begin and end with, by the number
// of pieces, and by the types of their columns, in this order. A prefix with a
// word in it (as in m3) decides alone; among formats with the same literals the
// number of pieces does. If typed columns (id, numbers, addresses, times) of the
// format with that number do not parse, and they do in a shorter one with its
// surplus joined, that one is taken. Two formats with equal literals and number
// of columns may stand in one set only if they differ in a column that is typed
// in both, with types whose values exclude each other (an id, an address, a
// number or time); a frame in which all such columns are empty is read as the
// format that is configured first and flagged ambiguous.
//
// # Surplus pieces
//
// A value may hold the separator itself. Then there are more pieces than columns,
// nothing in the frame says where to cut, and the event is flagged ambiguous:
//
//  1. Columns that cannot hold the separator pin the frame from the left: ids,
//     numbers, addresses, times, hosts, domains, status and class words. While
//     they have values of their types where they stand, nothing before them is
//     surplus. Where they have not, but have them some pieces further right, those
//     pieces belong to the free text before them (a HELO of `x","y`).
//     Columns behind the last free text are pinned from the right, by the
//     literal that ends the template.
//  2. Among the free-text columns that are left, an address list (from_header,
//     to_header, cc_header, sender, recipient) that a quote opens takes the
//     pieces up to the one in which a quote closes it: `"a@x","b@y"`.
//  3. What is still left over goes to the last free-text column.
//
// What this gets wrong: text that a stranger made to look like all of the pinned
// columns behind it (a HELO of `x","192.0.2.1` cannot move the sizes, but one with
// an address, two numbers and a status, or with four empty values, is believed; a
// subject cannot, it is behind them); a subject with separators when a header
// before it has an odd number of quotes and a later one has too; a separator in a
// free text that is not the last (a classification with one) is given to the last.
// Where formats of several lengths are listed together, as many separators in a
// value as the next format has more columns make a frame of the shorter look
// exactly like one of the longer (m2 with two in the subject is m1): list only
// the formats that a source sends, or use m3 and s3, whose tags decide. And a
// shorter format with a surplus that a longer one with a missing column explains
// as well is rejected as column_count, unless all its typed columns parse and its
// from_header holds an address. A frame that was cut right behind a quote, where
// the number of columns is another format's, is taken for that. No more than 64
// separators in a text before pinned columns are looked through, nor more than
// 1024 in a frame: where that does not find the pinned columns, the frame is
// rejected as column_count.
//
// Two separators can share bytes: `x",","y` is `x` and `,"y`, or `x",` and `y`.
// The first is taken unless the type of the next column speaks for the second;
// the event is flagged ambiguous.
//
// # Values
//
// A value that does not parse as its type never costs the event: the field stays
// empty, is named in bad_fields, and a flag says why. Free text stays as it came.
//
// # Memory
//
// Decode allocates nothing in steady state, and what a frame costs is bounded by
// its length, however it was made. The values of an event are views into
// the body, which is never written to, or into the decoder's own memory: they
// are good until the body is reused or the decoder decodes again. Of the memory
// that a large frame took a decoder keeps 64 KiB from the next frame on.
package format
