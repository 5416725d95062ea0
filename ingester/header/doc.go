// Package header takes the syslog header off a frame and returns the body.
//
// A mail filter's own syslog client writes <PRI> and the body, nothing between; relays and other
// programs put an RFC 3164 or an RFC 5424 header there. The caller strips the
// trailer (StripTrailer), takes PRI and byte order mark off (ParsePRI), asks its
// templates whether a body begins there, and only if none does looks for a header
// (ParseRest). A body may itself look like a header; it is never taken for one when
// a template knows it.
//
// # What it promises
//
// A header costs no event: a PRI or a time that does not parse is marked and the
// body still returned. No input makes it panic. All results are views into the
// frame and live as long as it does; nothing is allocated except by EachParam.
//
// The scanners are our own, because go-syslog v3.0.0 knows no frame without a full
// header, allocates, and gives silently wrong answers (see differential_test.go for
// the list). It is their oracle where it is right, and it reads structured data.
package header
