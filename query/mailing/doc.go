// Package mailing sends reports of outgoing mail as CSV by mail: daily, by outgoing user, and
// identities, every two hours by identity.
//
//	o, err := mailing.FromConfig(cfg, store, queryOptions, log)
//	m := mailing.New(o)
//	registry.MustRegister(m)
//	group.Go(func() error { return m.Run(ctx) }) // beside everything that serve and up run; before store.Close
//
// A nil Options.Relay sends nothing. The same Relay, from [RelayFromConfig], sends the mails
// of package guard, and SetRecipient is what the two calls of package compat do.
//
// Who gets which is the configuration's reports.recipients and, above it, what [SetRecipient]
// has written into the state.
//
// What it promises:
//   - Only the instance that acts (package state) sends, so that several send one mail.
//   - A report is claimed in the state before it is sent, and noted there afterwards, with
//     what came of it. After a crash in between nobody knows whether it was sent: then it is
//     sent once more, with the same Message-ID, counted as resent, and never a third time.
//   - A relay that says no, or cannot be reached, is asked again, less and less often, until
//     the report of the next period is due. Then the state says that it was not sent.
//   - Of the periods that nobody was there for the last one is sent, and the others are
//     counted and noted.
//   - No name of a user or identity gets into a header or another cell of the table: see
//     [Relay.Send] and cell.
//
// Rows are counted from the view messages, hour by hour, so that a day of a large site needs
// the memory of an hour.
package mailing
