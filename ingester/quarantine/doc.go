// Package quarantine reads the mail filter's quarantine over IMAP: which messages came into
// a folder within a time, and of each what its header says in the twelve columns of the
// vendor's retrieve_quarantine_info.py.
//
// It changes nothing there: folders are opened with EXAMINE, headers are fetched with PEEK,
// bodies are not fetched at all. A client is Dial, Open, Find, Headers, Close, in one goroutine.
//
// Time. IMAP searches by whole days, in a zone that is the server's affair. Find asks for a
// day more on either side, then for INTERNALDATE alone, and keeps what is within the Window
// to the second. Only headers of those are fetched.
//
// Memory. Headers are handed over one by one as they come, each cut at Options.MaxHeader,
// and nothing of a message is kept. What Find returns has 24 bytes a message.
//
// Silence. A server that says nothing for Options.Timeout while an answer is due is given
// up; the time that the receiver of a header takes does not count. The end of Dial's context
// closes the connection.
//
// Headers are the spammers'. Decode takes any bytes: a line that is no field is left out, an
// encoded word that does not decode stays as it is, and both are flagged (bad_header). A
// value is one line of valid UTF-8 without control characters, of 4 KiB at most.
package quarantine
