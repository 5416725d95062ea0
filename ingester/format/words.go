package format

import "encoding/binary"

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
	wordNotSpam             = []byte("not-spam")
	wordPhish               = []byte("phish")
	wordBlockList           = []byte("block-list")
	wordAllowList           = []byte("allow-list")
)

// classNormal brings a class of either generation into one spelling: the nine
// classes of today, and the codes of 2016 that have no counterpart as they are.
func classNormal(v []byte, scratch []byte) (word, rest []byte) {
	switch string(v) {
	case "spam", "not-spam", "phish", "virus", "error", "unsure", "unknown", "block-list", "allow-list", "oversize", "locked", "deferred":
		return v, scratch
	}
	word, rest = lexical(v, scratch)
	switch string(word) {
	case "ham", "notspam", "clean":
		return wordNotSpam, rest
	case "phishing":
		return wordPhish, rest
	case "blacklisted", "blacklist", "black-list", "blocklist", "blocklisted", "block-listed":
		return wordBlockList, rest
	case "whitelisted", "whitelist", "white-list", "allowlist", "allowlisted", "allow-listed":
		return wordAllowList, rest
	}
	return word, rest
}

// lexical appends v to scratch in lower case, with a hyphen for each stretch of
// blanks, underscores and hyphens.
func lexical(v []byte, scratch []byte) (word, rest []byte) {
	at := len(scratch)
	for _, c := range v {
		switch {
		case c == ' ' || c == '_' || c == '-' || c == '\t':
			if len(scratch) > at && scratch[len(scratch)-1] != '-' {
				scratch = append(scratch, '-')
			}
		case c >= 'A' && c <= 'Z':
			scratch = append(scratch, c+'a'-'A')
		default:
			scratch = append(scratch, c)
		}
	}
	end := len(scratch)
	if end > at && scratch[end-1] == '-' {
		end--
	}
	return scratch[at:end:end], scratch
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
