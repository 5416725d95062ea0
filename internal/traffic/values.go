package traffic

import "strconv"

// add takes text, which is m.text with a value appended, and returns where the
// value stands.
func (m *message) add(text []byte) span {
	s := span{int32(len(m.text)), int32(len(text))}
	m.text = text
	return s
}

func (m *message) get(s span) []byte { return m.text[s.from:s.to] }

// finish fills in what follows from the rest. A message that was refused or is
// kept back has gone nowhere.
func (m *message) finish() {
	switch m.status {
	case "delivered", "queued":
		m.out = m.in + 900 + m.number&255
	default:
		m.out = 0
	}
}

func (g *Generator) classify() {
	m, r := &g.m, &g.r
	words := &classWords[m.class]
	m.sub, m.code = words.subs[r.below(len(words.subs))], words.code
	switch {
	case m.class == failure:
		m.extra = m.add(append(m.text, "10 / 1m / recipient"...))
	case m.sub == "dnsbl":
		m.extra = m.add(append(m.text, "zen.dnsbl.example"...))
	case m.sub == "contains-macro":
		m.extra = m.add(append(m.text, ".xlsm"...))
	case m.class == allowList || m.class == blockList:
		m.extra = m.add(append(append(m.text, "*@"...), wellKnown[r.below(len(wellKnown))]...))
	case m.class == unknown:
		m.extra = span{}
	default:
		text := append(m.text, "0."...)
		if m.class != spam && m.class != phish && m.class != virus {
			text = append(text, "000"...)
		} else {
			text = append(text, '9')
		}
		m.extra = m.add(strconv.AppendUint(text, 1e12+r.next()%9e12, 10))
	}
	at := len(m.text)
	m.text = append(append(append(m.text, words.classification...), " ("...), m.get(m.extra)...)
	m.text = append(m.text, ')')
	m.details = span{int32(at), int32(len(m.text))}
}

// decide draws what becomes of the message; doc.go has the shares.
func (g *Generator) decide() {
	m, r := &g.m, &g.r
	switch m.class {
	case notSpam, allowList, unsure:
		g.deliver()
	case spam, phish:
		switch roll := r.below(1000); {
		case roll < 550:
			m.status = "rejected"
		case roll < 950:
			m.status = "quarantined"
			switch roll = r.below(100); {
			case roll < 5 && m.class == spam:
				m.rest = endReleased
			case roll >= 5 && roll < 7 && m.class == spam:
				m.rest = endAuto
			case roll >= 7 && roll < 10:
				m.rest = endQuarantine
			case roll >= 10 && roll < 14:
				m.rest = endForgotten
			}
		default:
			m.status = "blackholed"
		}
	case virus, blockList:
		m.status = "rejected"
	default:
		m.status = "not-accepted"
		if r.below(5) == 0 {
			m.status = "rejected"
		}
	}
}

func (g *Generator) deliver() {
	m, r := &g.m, &g.r
	if r.below(100) < 30 {
		m.status = "delivered"
		return
	}
	m.status = "queued"
	switch roll := r.below(1000); {
	case roll < 820:
		m.rest = endDelivered
	case roll < 920:
		m.rest = endSecondTry
	case roll < 940:
		m.rest = endThirdTry
	case roll < 970:
		m.rest = endBounced
	case roll < 985:
		m.rest = endFrozen
	case roll < 995:
		m.rest = endExpired
	default:
		m.rest = endRemoved
	}
}

func (g *Generator) appendSubject() {
	m, r, w := &g.m, &g.r, g.words
	if g.separators > 0 && r.below(1_000_000) < g.separators {
		m.subject = m.add(strconv.AppendUint(append(m.text, `colours "red","green" no. `...), m.number, 10))
		return
	}
	kind := w.plain
	switch roll := r.below(100); {
	case roll < 12:
		kind = w.foreign
	case roll < 22:
		kind = w.quoted
	case roll < 72:
		kind = w.numbered
	}
	m.subject = m.add(kind[r.below(len(kind))].append(m.text, r, m.number))
}

func (g *Generator) appendHeaders() {
	m, r, w := &g.m, &g.r, g.words
	at := len(m.text)
	m.text = append(append(m.text, w.names[r.below(len(w.names))]...), " <"...)
	m.text = append(append(m.text, m.get(m.sender)...), '>')
	m.from = span{int32(at), int32(len(m.text))}
	text := m.text
	if r.below(3) == 0 {
		text = append(append(text, w.names[r.below(len(w.names))]...), ' ')
	}
	text = append(appendAddress(append(text, '<'), m.rcptLocal, m.rcptDomain), '>')
	if r.below(8) == 0 {
		text = append(append(text, ", "...), w.names[r.below(len(w.names))]...)
		text = append(appendAddress(append(text, " <"...), w.locals[w.local.draw(r)], m.rcptDomain), '>')
	}
	m.to = m.add(text)
	if r.below(7) == 0 {
		text = append(m.text, w.names[r.below(len(w.names))]...)
		m.cc = m.add(append(appendAddress(append(text, " <"...), w.locals[w.local.draw(r)], m.domain), '>'))
	}
}

func appendAddress(dst []byte, local, domain string) []byte {
	return append(append(append(dst, local...), '@'), domain...)
}

func appendByte(dst []byte, v byte) []byte {
	if v >= 100 {
		dst = append(dst, '0'+v/100)
	}
	if v >= 10 {
		dst = append(dst, '0'+v/10%10)
	}
	return append(dst, '0'+v%10)
}

func appendIPv4(dst []byte, a, b, c, d byte) []byte {
	dst = append(appendByte(dst, a), '.')
	dst = append(appendByte(dst, b), '.')
	dst = append(appendByte(dst, c), '.')
	return appendByte(dst, d)
}

// appendIPv6 writes an address of 2001:db8::/32 in its shortest form; the last
// group is made different from zero, for "::" to be right.
func appendIPv6(dst []byte, a, b, last uint16) []byte {
	dst = strconv.AppendUint(append(dst, "2001:db8:"...), uint64(a|1), 16)
	dst = strconv.AppendUint(append(dst, ':'), uint64(b|1), 16)
	return strconv.AppendUint(append(dst, "::"...), uint64(last|1), 16)
}
