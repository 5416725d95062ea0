// Package search answers the log search: rules over the columns of any kind of event, joined
// by and, or and not, in a period and a direction, sorted, by pages.
//
// What it promises:
//   - Every value goes to the server as a typed query parameter. Of the SQL that it writes,
//     nothing but names of columns, which it looks up, comes from the one who asks.
//   - What is asked is asked through an [access.Scope], and sees no row outside of it.
//   - Texts compare without regard to case, ids of messages with it; domains in both of their
//     IDNA forms.
//   - A page costs two readings of the columns that decide, and one of the rows that it has:
//     the period and the domain are on the primary key.
//   - Pages by cursor are stable: rows that come meanwhile shift none, and each row of the
//     time of asking is on exactly one page. Where rows change their place in the order
//     meanwhile, because what they are sorted by changes, they can be missed or come twice.
//
// [Parse] reads rules as people write them; [Rule] has JSON for programs.
package search
