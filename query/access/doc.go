// Package access holds the one place that decides which rows somebody may see.
//
// A [Scope] is a role and what it is over: admin sees all, domain the mail of its domains,
// email the mail of its addresses. What it promises:
//   - Whoever asks through a scope (search, reports, exports, both APIs) reads each table and
//     view as [Scope.Relation] gives it: the rows of others are not in it, and what of a row
//     is not theirs is empty. Nothing is filtered afterwards.
//   - A relation that package schema gives no owners is refused to all but admins.
//   - Domains and addresses go to the server as query parameters, never as SQL.
//   - Addresses compare without regard to case, and domains in both of their IDNA forms
//     (RFC 5890): whoever writes bücher.example means xn--bcher-kva.example too.
package access
