package format

import (
	"encoding/binary"

	"millrace/schema"
)

// statusWord brings a status into one spelling. The words are an open set: one
// that is not known is made lower case with hyphens. The result is v itself, a
// constant, or in scratch.
func statusWord(v []byte, scratch []byte) (word, rest []byte) {
	if isStatus(v) {
		return v, scratch
	}
	word, rest = lexical(v, scratch)
	// Spellings of before queued and frozen were told apart (2015), and of APIs.
	switch string(word) {
	case "queued-frozen", "frozen":
		return wordQueueFrozen, rest
	case "queued-bounced":
		return wordQueueBounced, rest
	case "queued-removed":
		return wordQueueRemoved, rest
	case "queued-expired":
		return wordQueueExpired, rest
	case "temp-rejected", "tempfailed", "temporary-rejected":
		return wordTemporarilyRejected, rest
	case "autoreleased":
		return wordAutoReleased, rest
	}
	return word, rest
}

func isStatus(v []byte) bool {
	switch string(v) {
	case "accepted", "auto-released", "blackholed", "bounced", "delivered", "delivery-failed", "not-accepted", "quarantined",
		"quarantine-expired", "quarantine-removed", "queued", "queue-frozen", "queue-bounced", "queue-removed", "queue-expired",
		"rejected", "released", "temporarily-rejected":
		return true
	}
	return false
}

var (
	wordQueueFrozen         = []byte("queue-frozen")
	wordQueueBounced        = []byte("queue-bounced")
	wordQueueRemoved        = []byte("queue-removed")
	wordQueueExpired        = []byte("queue-expired")
	wordTemporarilyRejected = []byte("temporarily-rejected")
	wordAutoReleased        = []byte("auto-released")
)

// className brings a class of either generation into the one spelling of the table of
// classes. They are an open set too. The result is v itself, the table's, or in scratch.
func (s *Set) className(v []byte, scratch []byte) (word, rest []byte) {
	if name := s.classes.Lookup(v); name != nil {
		return name, scratch
	}
	word, rest = lexical(v, scratch)
	if name := s.classes.Lookup(word); name != nil {
		return name, rest
	}
	return word, rest
}

// lexical appends [schema.NormalWord] of v to scratch.
func lexical(v []byte, scratch []byte) (word, rest []byte) {
	at := len(scratch)
	scratch = schema.AppendNormalWord(scratch, v)
	return scratch[at:len(scratch):len(scratch)], scratch
}

// lower returns v in lower case (ASCII; other letters stay): v itself, or a copy
// in scratch, because the frame must stay as it came.
func lower(v []byte, scratch []byte) (text, rest []byte) {
	i := 0
	if readable(v) {
		all := capital(tail(v))
		for ; i+8 <= len(v); i += 8 {
			all |= capital(binary.LittleEndian.Uint64(v[i:]))
		}
		if all == 0 {
			return v, scratch
		}
		i = 0
	}
	for ; i < len(v); i++ {
		if v[i]-'A' < 26 {
			break
		}
	}
	if i == len(v) {
		return v, scratch
	}
	at := len(scratch)
	scratch = append(scratch, v...)
	text = scratch[at:len(scratch):len(scratch)]
	for ; i < len(text); i++ {
		if text[i]-'A' < 26 {
			text[i] += 'a' - 'A'
		}
	}
	return text, scratch
}
