package traffic

import (
	"math"

	"millrace/internal/eximid"
)

type class uint8

const (
	notSpam class = iota
	spam
	phish
	virus
	unsure
	allowList
	blockList
	failure
	unknown
)

// classWords spells a class in the fields of both generations of templates.
var classWords = [...]struct {
	main           string   // main_class
	classification string   // classification
	code           string   // classification_code
	subs           []string // sub_class
}{
	notSpam:   {"not-spam", "Not spam", "", []string{"statistical-method1-cluster", "statistical-method1-global", "contact-box", "contact-box-internal"}},
	spam:      {"spam", "Combined", "spam", []string{"statistical-method1-cluster", "match-set1", "match-set2", "dnsbl"}},
	phish:     {"phish", "Phishing", "phish", []string{"match-set1", "match-set2"}},
	virus:     {"virus", "Virus", "virus", []string{"contains-macro", "match-set1"}},
	unsure:    {"unsure", "Unsure", "", []string{"statistical-method1-cluster", "statistical-method1-global"}},
	allowList: {"allow list", "whitelisted", "", []string{"recipient", "sender"}},
	blockList: {"block list", "blacklisted", "blacklisted", []string{"sender", "recipient"}},
	failure:   {"error", "Error", "deferred", []string{"rate-limit", "invalid-recipient"}},
	unknown:   {"unknown", "Unknown", "", []string{""}},
}

// status is a status word with how the try to deliver ended that it tells of.
type status struct {
	word string
	try  try
}

type try uint8

const (
	noTry try = iota
	tryTaken
	tryDeferred
	tryRefused
)

var (
	delivered = status{"delivered", tryTaken}
	deferred  = status{"queued", tryDeferred}

	// What may follow a message that was queued, quarantined or released.
	endDelivered  = []status{delivered}
	endSecondTry  = []status{deferred, delivered}
	endThirdTry   = []status{deferred, deferred, delivered}
	endBounced    = []status{{"bounced", tryRefused}}
	endFrozen     = []status{deferred, {"queue-frozen", tryDeferred}, {"queue-bounced", tryRefused}}
	endExpired    = []status{deferred, {"queue-expired", tryDeferred}}
	endRemoved    = []status{{"queue-removed", noTry}}
	endReleased   = []status{{"released", noTry}, delivered}
	endAuto       = []status{{"auto-released", noTry}, delivered}
	endQuarantine = []status{{"quarantine-removed", noTry}}
	endForgotten  = []status{{"quarantine-expired", noTry}}
)

// story is what a message and its status events share, and what is still to
// come.
type story struct {
	second     int64
	number     uint64
	long       bool
	host       uint8
	outgoing   bool
	domain     string
	rcptLocal  string
	rcptDomain string
	format     *pair
	rest       []status
}

// span is a part of message.text.
type span struct{ from, to int32 }

// message is the message in hand: one for each generator, filled anew each time.
type message struct {
	story
	class    class
	sub      string
	code     string
	status   string
	in, out  uint64
	country  string
	text     []byte
	sender   span
	ip       span
	rdns     span
	helo     span
	extra    span
	details  span
	auth     span
	identity span
	from     span
	to       span
	cc       span
	subject  span
}

// run is an account of a customer that was taken over and sends spam.
type run struct {
	local, domain string
	subject       *pattern
	size          uint64
	sent, length  int
}

const (
	runs      = 3
	runMin    = 50
	runMax    = 2_000
	runUnseen = 10  // the first messages of a run pass as unsure,
	runLocked = 100 // and after these the identity is locked
)

func (g *Generator) startRun(u *run) {
	length := runMin * math.Pow(runMax/runMin, float64(g.r.below(1<<20))/(1<<20))
	*u = run{
		local:   g.words.locals[g.words.local.draw(&g.r)],
		domain:  g.words.customers[g.words.customer.draw(&g.r)],
		subject: &g.words.spam[g.r.below(len(g.words.spam))],
		size:    g.size(),
		length:  int(length),
	}
}

func (g *Generator) size() uint64 {
	return g.words.sizes[g.r.below(sizeSteps)] + uint64(g.r.below(97))
}

// compose fills g.m with the next message.
func (g *Generator) compose() {
	m, r := &g.m, &g.r
	m.text = m.text[:0]
	m.second = g.second
	m.number = g.walk.next()
	m.long = r.below(5) == 0
	m.host = uint8(r.below(len(filteringHosts)))
	m.format = g.pairs[r.below(len(g.pairs))]
	m.auth, m.identity, m.cc = span{}, span{}, span{}
	m.rest = nil
	switch roll := r.below(100); {
	case roll < 5:
		g.composeRun(&g.runs[r.below(runs)])
	case roll < 20:
		g.composeOutgoing()
	default:
		g.composeIncoming()
	}
}

func (g *Generator) composeRun(u *run) {
	m := &g.m
	if u.sent == u.length {
		g.startRun(u)
	}
	u.sent++
	m.class = spam
	if u.sent <= runUnseen {
		m.class = unsure
	}
	g.classify()
	if u.sent > runLocked {
		m.code = "locked"
	}
	g.outgoing(u.local, u.domain)
	m.in = u.size + uint64(g.r.below(64))
	m.subject = m.add(u.subject.append(m.text, &g.r, m.number))
	if m.class == spam {
		m.status = "rejected"
	} else {
		g.deliver()
	}
	m.finish()
}

func (g *Generator) composeOutgoing() {
	m, r, w := &g.m, &g.r, g.words
	switch roll := r.below(100); {
	case roll < 92:
		m.class = notSpam
	case roll < 97:
		m.class = spam
	case roll < 98:
		m.class = unsure
	default:
		m.class = failure
	}
	g.classify()
	g.outgoing(w.locals[w.local.draw(r)], w.customers[w.customer.draw(r)])
	m.in = g.size()
	g.appendSubject()
	g.decide()
	m.finish()
}

// outgoing fills in who sends and who receives: the sender is an account of a
// customer's domain.
func (g *Generator) outgoing(local, domain string) {
	m, r, w := &g.m, &g.r, g.words
	m.story.outgoing = true
	m.domain = domain
	m.rcptLocal, m.rcptDomain = w.locals[w.local.draw(r)], w.others[w.other.draw(r)]
	m.sender = m.add(appendAddress(m.text, local, domain))
	home := mix(uint64(len(local)*131+len(domain))) ^ uint64(domain[0])<<8
	m.ip = m.add(appendIPv4(m.text, 198, byte(18+home&1), byte(home>>8), byte(home>>16)))
	m.rdns = m.add(append(append(m.text, "gw."...), domain...))
	m.helo = m.rdns
	m.country = countries[home%8]
	if r.below(10) == 0 { // a smarthost that gives its address for a user
		at := len(m.text)
		m.text = append(append(m.text, m.text[m.ip.from:m.ip.to]...), "@smtp."...)
		m.text = append(m.text, domain...)
		m.auth = span{int32(at), int32(len(m.text))}
	} else {
		m.auth = m.sender
	}
	m.identity = m.sender
	g.appendHeaders()
}

func (g *Generator) composeIncoming() {
	m, r, w := &g.m, &g.r, g.words
	m.story.outgoing = false
	m.domain = w.customers[w.customer.draw(r)]
	m.rcptLocal, m.rcptDomain = w.locals[w.local.draw(r)], m.domain
	if r.permille(60) {
		g.composeBounce()
		return
	}
	switch roll := r.below(1000); {
	case roll < 550:
		m.class = notSpam
	case roll < 820:
		m.class = spam
	case roll < 850:
		m.class = phish
	case roll < 862:
		m.class = virus
	case roll < 912:
		m.class = unsure
	case roll < 952:
		m.class = allowList
	case roll < 987:
		m.class = blockList
	case roll < 995:
		m.class = failure
	default:
		m.class = unknown
	}
	g.classify()
	domain := w.others[w.other.draw(r)]
	bot := m.class == spam || m.class == phish || m.class == virus
	switch {
	case bot && r.below(4) != 0:
		text := append(m.text, w.locals[w.local.draw(r)]...)
		text = eximid.AppendDigits(text, m.number, 6)
		m.sender = m.add(append(append(text, '@'), domain...))
	case m.class == notSpam && r.below(5) < 2:
		text := append(m.text, "bounces+"...)
		text = eximid.AppendDigits(text, m.number, 6)
		text = append(append(text, '-'), m.rcptLocal...)
		m.sender = m.add(append(append(text, '@'), domain...))
	default:
		m.sender = m.add(appendAddress(m.text, w.locals[w.local.draw(r)], domain))
	}
	if bot {
		g.fromBot(domain)
	} else {
		g.fromServer(domain)
	}
	m.in = g.size()
	g.appendHeaders()
	switch {
	case m.class == phish:
		m.subject = m.add(w.phish[r.below(len(w.phish))].append(m.text, r, m.number))
	case m.class == virus:
		m.subject = m.add(w.virus[r.below(len(w.virus))].append(m.text, r, m.number))
	case m.class == spam && r.below(8) != 0:
		m.subject = m.add(w.spam[r.below(len(w.spam))].append(m.text, r, m.number))
	default:
		g.appendSubject()
	}
	g.decide()
	m.finish()
}

func (g *Generator) composeBounce() {
	m, r, w := &g.m, &g.r, g.words
	m.class = notSpam
	g.classify()
	domain := w.others[w.other.draw(r)]
	m.sender = span{}
	g.fromServer(domain)
	m.in = 2_000 + uint64(r.below(8_000))
	m.from = m.add(append(append(append(m.text, "Mail Delivery System <MAILER-DAEMON@"...), domain...), '>'))
	m.to = m.add(appendAddress(m.text, m.rcptLocal, m.rcptDomain))
	m.subject = m.add(append(m.text, bounceSubjects[r.below(len(bounceSubjects))]...))
	g.deliver()
	m.finish()
}

// fromServer fills in a mail server in good order.
func (g *Generator) fromServer(domain string) {
	m, r := &g.m, &g.r
	home := mix(uint64(domain[0])<<32 | uint64(domain[len(domain)/2])<<16 | uint64(len(domain)))
	n := byte(r.below(12))
	if r.below(100) < 14 {
		m.ip = m.add(appendIPv6(m.text, uint16(home), uint16(home>>16), uint16(n)+1))
	} else {
		m.ip = m.add(appendIPv4(m.text, 198, byte(18+home>>40&1), byte(home>>8), byte(home)+n))
	}
	at := len(m.text)
	m.text = append(append(append(m.text, "mail-"...), 'a'+n), ".out."...)
	m.text = append(m.text, domain...)
	m.rdns = span{int32(at), int32(len(m.text))}
	m.helo = m.rdns
	m.country = countries[home>>24%uint64(len(countries))]
}

// fromBot fills in a machine that should not send mail at all.
func (g *Generator) fromBot(domain string) {
	m, r, w := &g.m, &g.r, g.words
	v := r.next()
	if v&7 == 0 {
		m.ip = m.add(appendIPv6(m.text, uint16(v>>8), uint16(v>>24), uint16(v>>40)))
	} else {
		m.ip = m.add(appendIPv4(m.text, 100, byte(64+v>>8&63), byte(v>>16), byte(v>>24)))
	}
	m.rdns = span{}
	if r.below(100) >= 15 {
		text := appendIPv4(append(m.text, "dyn-"...), byte(v>>32), byte(v>>16), byte(v>>24), byte(v>>40))
		m.rdns = m.add(append(append(text, ".pool."...), w.others[v>>48%64]...))
	}
	switch r.below(6) {
	case 0:
		at := len(m.text)
		text := append(append(m.text, '['), m.text[m.ip.from:m.ip.to]...)
		m.text = append(text, ']')
		m.helo = span{int32(at), int32(len(m.text))}
	case 1:
		m.helo = m.add(append(m.text, "localhost.localdomain"...))
	case 2:
		text := append(m.text, "WIN-"...)
		m.helo = m.add(eximid.AppendDigits(text, v>>20, 7))
	case 3:
		m.helo = m.add(append(append(m.text, "mail."...), m.domain...)) // names the victim's own domain
	case 4:
		m.helo = m.add(append(m.text, domain...))
	default:
		m.helo = m.rdns
	}
	m.country = countries[w.country.draw(r)]
}
