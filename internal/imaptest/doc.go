// Package imaptest gives tests a real mail server, Debian's dovecot: IMAP with mail that the
// test puts there, and SMTP that it relays. Nothing else imports it.
//
// The packages are unpacked under .tools and not installed, and dovecot wants to be at
// home in /usr. So each server has a directory with copies of what it runs: its place for
// modules, which is compiled in, is written over there, and its settings reach it as those
// of a restarted dovecot do. It runs as the user of the test, or as nobody for root, whom
// dovecot refuses.
package imaptest
