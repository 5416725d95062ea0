package qmail

import (
	"bytes"

	"millrace/schema"
)

// report reads what qmail-local, qmail-remote and their patches say of an attempt. All
// blanks are _ and all line ends / (qsutil.c, logsafe), so that what is cut here are
// the words of qmail-local.c and qmail-remote.c as they are then.
func report(e *schema.Event, text []byte) {
	if rest, ok := bytes.CutPrefix(text, smtpAuth); ok {
		e.SetUint(dvSMTPAuth, 1)
		text = rest
	}
	did(e, text)
	if at := bytes.Index(text, enhanced); at >= 0 {
		if v, _, ok := upTo(text[at+len(enhanced):], closing); ok && isEnhanced(v) {
			e.SetText(dvEnhanced, v)
		}
	}
	if _, said, ok := upTo(text, remoteSaid); ok {
		said, _, _ = upTo(said, givingUp)
		said = bytes.TrimRight(said, "/")
		e.SetText(dvReply, said)
		c, rest := code(said)
		e.SetUint(dvCode, uint64(c))
		if c != 0 {
			if v, _, _ := upTo(rest, underscore); isEnhanced(v) {
				e.SetText(dvEnhanced, v)
			}
		}
	}
	who := text
	if _, rest, ok := upTo(text, connectedTo); ok {
		who = rest
	}
	who, _, _ = upTo(who, underscore)
	if a, ok := ip(who); ok {
		e.SetIP(dvRemoteIP, a)
	}
	if _, host, ok := upTo(text, hostNamed); ok {
		host, _, _ = upTo(host, hostEnd)
		e.SetText(dvRemoteHost, host)
	}
}

var (
	smtpAuth    = []byte("smtp_auth/")
	didWord     = []byte("did_")
	enhanced    = []byte("(#")
	closing     = []byte(")")
	remoteSaid  = []byte("Remote_host_said:_")
	givingUp    = []byte("/Giving_up_on_")
	connectedTo = []byte("Connected_to_")
	hostNamed   = []byte("_any_host_named_")
	hostEnd     = []byte("._(")
	underscore  = []byte("_")
)

// did reads did_F+W+P/: deliveries into files, forwards and programs (qmail-local.c).
func did(e *schema.Event, text []byte) {
	at := bytes.Index(text, didWord)
	if at < 0 || at > 0 && text[at-1] != '/' {
		return
	}
	b := text[at+len(didWord):]
	var counts [3]uint64
	for i, end := range [...]byte{'+', '+', '/'} {
		v, n := number(b)
		if n == 0 || n == len(b) || b[n] != end {
			return
		}
		counts[i], b = v, b[n+1:]
	}
	e.SetUint(dvFiles, counts[0])
	e.SetUint(dvForwards, counts[1])
	e.SetUint(dvPrograms, counts[2])
}

// isEnhanced tells whether b is an enhanced status code, class.subject.detail (RFC 3463).
func isEnhanced(b []byte) bool {
	dots := 0
	for i, c := range b {
		switch {
		case c == '.' && i > 0 && b[i-1] != '.':
			dots++
		case c-'0' > 9:
			return false
		}
	}
	return dots == 2 && len(b) <= 9 && (b[0] == '2' || b[0] == '4' || b[0] == '5') && b[len(b)-1] != '.'
}
