// Package mailname writes domains, addresses and identities in the one form in which they
// are compared: domains as lower-case A-labels (IDNA), addresses in lower case.
package mailname
