package format

import (
	"bytes"

	"millrace/schema"
)

// Domains are those whose mail the installation handles, lower case, in all their spellings.
type Domains map[string]struct{}

var (
	incoming = schema.Padded("incoming")
	outgoing = schema.Padded("outgoing")
)

// way is the event's direction: outgoing where there is an authenticated user or an identity;
// else, where the domains are known, incoming when its recipient is of one, and outgoing when
// its sender is; else what the listener is for. A sender is believed last: whoever sends spam
// to a domain writes the domain itself there.
func (d *Decoder) way(s *Set, b *bound, e *schema.Event) []byte {
	for _, f := range b.userFields {
		if f >= 0 && e.Has(f) {
			return outgoing
		}
	}
	if len(s.own) == 0 {
		return s.direction
	}
	for _, of := range []struct {
		field int
		way   []byte
	}{{b.recipientField, incoming}, {b.senderField, outgoing}} {
		if of.field < 0 || !e.Has(of.field) {
			continue
		}
		address := e.Text(of.field)
		domain := address[bytes.LastIndexByte(address, '@')+1:]
		var name []byte
		name, d.scratch = lower(domain, d.scratch)
		if _, own := s.own[string(name)]; own {
			return of.way
		}
	}
	return s.direction
}
