package traffic

import (
	"fmt"
	"strconv"
	"time"
)

// HostLog is one of the logs that a mail host keeps of its messages.
type HostLog int

// The logs of a qmail-based server, and the abuse reports about what left it.
const (
	SMTPLog       HostLog = iota // of port 25
	SubmissionLog                // of port 587
	DeliveryLog
	SpamdykeLog
	Reports // an mbox of ARF
	hostLogs
)

// File is the usual name of a log's file.
func (l HostLog) File() string {
	return [...]string{"smtp-25.log", "smtp-587.log", "delivery.log", "spamdyke.log", "abuse.mbox"}[l]
}

// HostTexts are what is appended to each log.
type HostTexts [hostLogs][]byte

// HostLogStep is the time between two messages where Options.Step says nothing.
const HostLogStep = 250 * time.Millisecond

// HostLogs makes the logs of a host: of each message what every log says of it. It is for
// one goroutine.
type HostLogs struct {
	g       *Generator
	zone    *time.Location
	attempt uint64
	pid     uint64
	waiting []deferredTry
}

// deferredTry is an attempt whose result comes later.
type deferredTry struct {
	number uint64
	text   string
}

// NewHostLogs returns a generator of logs whose stamps are in a zone; nil is UTC.
func NewHostLogs(o Options, zone *time.Location) (*HostLogs, error) {
	if o.Step == 0 {
		o.Step = HostLogStep
	}
	g, err := New(o)
	if err != nil {
		return nil, err
	}
	if zone == nil {
		zone = time.UTC
	}
	return &HostLogs{g: g, zone: zone, pid: 2000}, nil
}

// Next appends what the logs say of the next message, each to its own slice, and returns
// how many lines that are.
func (h *HostLogs) Next(logs *HostTexts) (lines int) {
	g := h.g
	g.tick()
	g.compose()
	h.pid = 2000 + (h.pid-2000+1+uint64(g.r.below(7)))%30_000
	m := &g.m
	at := time.Unix(g.second, 0).In(h.zone)
	stamp := at.Format(time.DateTime)
	sender, ip, rdns := string(m.part(m.sender)), string(m.part(m.ip)), string(m.part(m.rdns))
	recipient := m.rcptLocal + "@" + m.rcptDomain
	taken := m.status != "rejected"
	accepted := fmt.Sprintf("250 ok %d qp %d", g.second, h.pid)

	add := func(l HostLog, format string, args ...any) {
		logs[l] = append(fmt.Appendf(logs[l], format, args...), '\n')
		lines++
	}
	if !m.story.outgoing {
		code, reason, name := "ALLOWED", accepted, rdns
		filter := ""
		switch {
		case !taken && rdns == "":
			code, reason, filter = "DENIED_RDNS_MISSING", "(empty)", "FILTER_RDNS_MISSING ip: "+ip
		case !taken:
			code, reason, filter = "DENIED_RBL_MATCH", "bl.example.net", "FILTER_RBL_MATCH ip: "+ip+" rbl: bl.example.net"
		}
		if filter != "" && m.number%8 == 0 { // as where spamdyke's log-level is verbose, but not as many
			add(SpamdykeLog, "%s mx1 spamdyke[%d]: %s", at.Format(time.Stamp), h.pid+1, filter)
		}
		add(SpamdykeLog, "%s mx1 spamdyke[%d]: %s from: %s to: %s origin_ip: %s origin_rdns: %s auth: (unknown) encryption: %s reason: %s",
			at.Format(time.Stamp), h.pid+1, code, orUnknown(sender), recipient, ip, orUnknown(name), [...]string{"(none)", "TLS"}[g.r.below(2)], underscored(reason))
	}
	log := SMTPLog
	if m.story.outgoing {
		log = SubmissionLog
	}
	say := func(key, text string) { add(log, "%s, %s, %s", stamp, key, text) }
	say("from", sender)
	say("resp", "250 ok")
	say("to", "<"+recipient+">")
	if !taken {
		say("resp", `554 "Refused. Contact abuse@example.com for details."`)
		if m.story.outgoing && m.class == spam {
			h.report(logs, at, sender, ip, recipient)
		}
		return lines
	}
	brief, detail := "accepted rcpt", "found existing recipient"
	if m.story.outgoing {
		brief, detail = "relaying rcpt", "client allowed to relay"
	}
	say("check", brief+", "+orUnknownName(rdns)+":"+ip+", "+recipient+", "+detail)
	say("resp", "250 ok")
	say("size", strconv.FormatUint(m.in, 10))
	say("resp", accepted)

	h.attempt++
	channel, result := "local", "success, did_1+0+0/"
	if m.story.outgoing {
		channel, result = "remote", "success, 192.0.2.25_accepted_message./Remote_host_said:_250_2.0.0_ok/"
	}
	switch g.r.below(40) {
	case 0:
		result = "deferral, Connected_to_192.0.2.25_but_connection_died._(#4.4.2)/"
	case 1:
		result = "failure, 192.0.2.25_does_not_like_recipient./Remote_host_said:_550_5.1.1_unknown/Giving_up_on_192.0.2.25./"
	}
	add(DeliveryLog, "%s, init, <%s>", stamp, sender)
	add(DeliveryLog, "%s, try, %d, %s, %s", stamp, h.attempt, channel, recipient)
	h.waiting = append(h.waiting, deferredTry{h.attempt, result})
	for len(h.waiting) > 20 || len(h.waiting) > 0 && g.r.below(4) != 0 {
		i := g.r.below(len(h.waiting))
		add(DeliveryLog, "%s, result, %d, %s", stamp, h.waiting[i].number, h.waiting[i].text)
		h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
	}
	return lines
}

// End appends the results that are still to come.
func (h *HostLogs) End(logs *HostTexts) (lines int) {
	stamp := time.Unix(h.g.second, 0).In(h.zone).Format(time.DateTime)
	for _, w := range h.waiting {
		logs[DeliveryLog] = fmt.Appendf(logs[DeliveryLog], "%s, result, %d, %s\n", stamp, w.number, w.text)
		lines++
	}
	h.waiting = nil
	return lines
}

// report appends an abuse report as the filter sends it of a message that it has blocked.
func (h *HostLogs) report(logs *HostTexts, at time.Time, sender, ip, recipient string) {
	date := at.Format("Mon, 02 Jan 2006 15:04:05 -0700")
	boundary := fmt.Sprintf("report-%d", h.g.m.number)
	logs[Reports] = fmt.Appendf(logs[Reports], `From noreply@filter.example.net %[1]s
From: noreply@filter.example.net
To: abuse@example.com
Subject: Spam report
Date: %[2]s
Message-ID: <%[3]s@filter.example.net>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="%[3]s"

--%[3]s
Content-Type: text/plain

An outgoing message was blocked as spam.

--%[3]s
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SpamExperts
Version: 1
Arrival-Date: %[2]s
Source-IP: %[4]s
Original-Mail-From: <%[5]s>
Original-Rcpt-To: <%[6]s>
Authentication-Results: filter.example.net; auth=pass smtp.auth=%[5]s

--%[3]s
Content-Type: text/rfc822-headers

From: <%[5]s>
To: <%[6]s>
Subject: %[7]s
Message-ID: <%[8]d@example.com>

--%[3]s--

`, at.Format(time.ANSIC), date, boundary, ip, sender, recipient, singleLine(h.g.m.part(h.g.m.subject)), h.g.m.number)
}

func (m *message) part(s span) []byte { return m.text[s.from:s.to] }

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

func orUnknownName(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// underscored is text as Spamdyke writes a reason.
func underscored(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == ' ' {
			b[i] = '_'
		}
	}
	return string(b)
}

func singleLine(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		if out[i] = c; c < ' ' {
			out[i] = ' '
		}
	}
	return out
}
