package query

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Answers over the other kinds of events.

func none(ip string) string {
	if ip == "::" {
		return ""
	}
	return ip
}

func (q askedOf) about(at time.Time, domain, direction string) bool {
	return q.within(at) && listed(q.text("domain"), domain) && listed(q.text("direction"), direction)
}

var refusingCheck = regexp.MustCompile(`^(rejected|no auth|must auth|mbx overquota|intrusion)`)

func oracleSMTPRefusals(c *corpus, q askedOf) [][]string {
	type refusal struct {
		smtpRow
		reason, ip, name, recipient string
	}
	var all []refusal
	for _, s := range c.smtp {
		if !q.about(s.at, s.domain, s.direction) {
			continue
		}
		anyIP, anyName := "::", ""
		for _, x := range slices.Backward(s.recipients) {
			if x.ip != "::" {
				anyIP = x.ip
			}
			if x.name != "" {
				anyName = x.name
			}
		}
		before := len(all)
		for _, x := range s.recipients {
			if x.code >= 400 || x.code == 0 && refusingCheck.MatchString(x.check) {
				r := refusal{s, x.check, x.ip, x.name, x.address}
				if x.check == "" || strings.HasPrefix(x.check, "accepted") || strings.HasPrefix(x.check, "relaying") {
					r.reason = fmt.Sprint(x.code, " ", x.reply)
				}
				if x.ip == "::" {
					r.ip = anyIP
				}
				if x.name == "" {
					r.name = anyName
				}
				all = append(all, r)
			}
		}
		if len(all) > before || s.accepted {
			continue
		}
		reason := "no reply"
		if s.senderCode >= 400 {
			reason = fmt.Sprint(s.senderCode, " ", s.senderReply)
		} else if s.code >= 400 {
			reason = fmt.Sprint(s.code, " ", s.reply)
		}
		all = append(all, refusal{s, reason, anyIP, anyName, ""})
	}
	return q.answerOf(by(all, func(r refusal) []string {
		who := map[string]string{"client": none(r.ip), "client_name": strings.ToLower(r.name), "sender": orNull(r.sender), "recipient_domain": domainOf(r.recipient), "domain": r.domain, "session": r.session}[q.text("group_by")]
		return []string{r.reason, who}
	}, func(k []string, of []refusal) (line, bool) {
		at := func(r refusal) time.Time { return r.at }
		return line{float64(len(of)), nil, []string{k[0], k[1], i(len(of)), i(distinct(of, func(r refusal) string { return strings.ToLower(r.sender) })), i(distinct(of, func(r refusal) string { return strings.ToLower(r.recipient) })), q.millis(earliest(of, at)), q.millis(latest(of, at))}}, true
	}))
}

func oracleSpamdykeDenials(c *corpus, q askedOf) [][]string {
	all := filter(c.spamdyke, func(s spamdykeRow) bool { return q.about(s.at, s.domain, s.direction) && s.verdict != "allowed" })
	return q.answerOf(by(all, func(s spamdykeRow) []string {
		return []string{s.code, map[string]string{"code": "", "client": none(s.ip), "client_name": strings.ToLower(s.rdns), "sender": orNull(s.sender), "sender_domain": domainOf(s.sender), "domain": s.domain, "auth_user": s.user, "reason": s.reason}[q.text("group_by")]}
	}, func(k []string, of []spamdykeRow) (line, bool) {
		return line{float64(len(of)), nil, []string{k[0], k[1], of[0].verdict, i(len(of)), percent(len(of), len(all)), i(distinct(of, func(s spamdykeRow) string { return s.ip })), i(distinct(of, func(s spamdykeRow) string { return strings.ToLower(s.sender) })),
			i(distinct(of, func(s spamdykeRow) string { return strings.ToLower(s.recipient) })), q.millis(latest(of, func(s spamdykeRow) time.Time { return s.at }))}}, true
	}))
}

func oracleFeedback(c *corpus, q askedOf) [][]string {
	sentBy, userOf := map[string]string{}, map[string]userKey{}
	for _, s := range c.states() {
		if s.id != "" {
			sentBy[s.id] = max(sentBy[s.id], s.identity)
			if _, known := userOf[s.id]; !known {
				userOf[s.id] = userKey{}
			}
			if is, at := (userKey{s.domain, s.user}), userOf[s.id]; s.way == "outgoing" && (is.domain > at.domain || is.domain == at.domain && is.user > at.user) {
				userOf[s.id] = is
			}
		}
	}
	all := filter(c.feedback, func(f feedbackRow) bool { return q.about(f.at, f.domain, f.direction) })
	return q.answerOf(by(all, func(f feedbackRow) []string {
		return []string{map[string]string{"identity": sentBy[f.id], "auth_user": f.user, "sender": orNull(f.sender), "source_ip": f.ip, "domain": f.domain, "feedback_type": f.kind}[q.text("group_by")]}
	}, func(k []string, of []feedbackRow) (line, bool) {
		var incidents uint64
		types, complainants, users := map[string]bool{}, map[string]bool{}, map[userKey]bool{}
		for _, f := range of {
			incidents += f.incidents
			types[f.kind] = true
			if user, ok := userOf[f.id]; ok && user.domain != "" {
				users[user] = true
			} else if !ok {
				users[userKey{f.domain, f.user}] = true
			}
			for _, r := range f.recipients {
				complainants[r] = true
			}
		}
		var words []string
		for w := range types {
			words = append(words, w)
		}
		slices.Sort(words)
		at := func(f feedbackRow) time.Time { return f.at }
		return line{float64(len(of)), nil, slices.Concat([]string{k[0], i(len(of)), strconv.FormatUint(incidents, 10), strings.Join(words, ","), i(distinct(filter(of, func(f feedbackRow) bool { return f.id != "" }), func(f feedbackRow) string { return f.id })), i(len(complainants)),
			i(distinct(of, func(f feedbackRow) string { return f.subject })), q.millis(earliest(of, at)), q.millis(latest(of, at))}, q.locked(c, k[0], users))}, true
	}))
}

func oracleQuarantine(c *corpus, q askedOf) [][]string {
	seen := map[uint64]bool{}
	var all []quarantineRow
	for _, r := range c.quarantine {
		if !seen[r.uid] && q.about(r.at, r.domain, r.direction) {
			all = append(all, r)
		}
		seen[r.uid] = true
	}
	return q.answerOf(by(all, func(r quarantineRow) []string {
		sender := strings.ToLower(r.authSender)
		if sender == "" {
			sender = strings.ToLower(r.from)
		}
		switch q.text("group_by") {
		case "sender_and_subject":
			return []string{sender, r.subject}
		case "subject":
			return []string{"", r.subject}
		}
		return []string{map[string]string{"sender": sender, "auth_user": r.user, "script": r.script, "client": r.client, "domain": r.domain, "evidence": r.evidence}[q.text("group_by")], ""}
	}, func(k []string, of []quarantineRow) (line, bool) {
		var size uint64
		evidence := ""
		for _, r := range of {
			size += r.size
			evidence = max(evidence, r.evidence)
		}
		at := func(r quarantineRow) time.Time { return r.at }
		return line{float64(len(of)), nil, []string{k[0], k[1], i(len(of)), i(distinct(of, func(r quarantineRow) string { return r.to })), strconv.FormatUint(size, 10), evidence, q.millis(earliest(of, at)), q.millis(latest(of, at))}}, true
	}))
}
