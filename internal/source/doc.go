// Package source speaks to the mail filter's software API about its remote
// syslog: where the filter sends its log, and with which templates.
//
//	https://HOST/cgi-bin/api?call=api_set_remote_syslog_server&host=...
//	https://HOST/cgi-bin/api?call=api_get_remote_syslog_server
//
// What it promises:
//   - [Client.SetURL] encodes every argument exactly: everything beyond the
//     unreserved characters of RFC 3986 as %XX, a space as %20, never as '+'.
//   - The password travels in the Authorization header only. It is in no URL,
//     no error and no log line, also when the caller put it into the base URL
//     or the API quotes it back.
//   - The certificate is verified, always; a private authority is added with
//     [Options.CAFile].
//   - An answer that is not a success (a status other than 200, HTML, an error
//     text, anything where the documentation says "") is an error that quotes
//     the answer's first line.
//
// The vendor documents that api_get_remote_syslog_server "returns all the
// configuration set before", but not in which layout. [Parse] therefore reads
// the three that its other calls use: key and value lines, JSON, and the text
// of a Python dict.
//
// The package knows no template of its own: the built-in ones are the
// ingester's, and come in as arguments ([Template]).
package source
