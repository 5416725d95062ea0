package query

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/schema"
)

// Answers over messages, from their states.

// letters are the messages of the period that the report is on and that have a message event.
func (q askedOf) letters(c *corpus) []state {
	return filter(c.states(), func(s state) bool { return s.hasMessage && q.within(s.idTime) && q.fits(s) })
}

func oracleOutgoing(c *corpus, q askedOf) [][]string {
	return q.answerOf(by(q.letters(c), func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		return line{float64(len(of)), nil, slices.Concat([]string{k[0], i(len(of))}, groups(of), classes(of),
			[]string{i(distinct(of, addressOf)), bytesOf(of), q.millis(earliest(of, firstOf)), q.millis(latest(of, lastOf))}, q.locked(c, k[0], usersOf(of)))}, true
	}))
}

func oracleTopSpammers(c *corpus, q askedOf) [][]string {
	all := filter(c.states(), func(s state) bool {
		return s.hasMessage && q.within(s.idTime) && listed(q.text("domain"), s.domain) && listed(q.text("direction"), s.way)
	})
	return q.answerOf(by(all, func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		bad := filter(of, q.fits)
		if len(bad) == 0 {
			return line{}, false
		}
		return line{float64(len(bad)), nil, slices.Concat([]string{k[0], i(len(bad)), i(len(of)), percent(len(bad), len(of))}, classes(bad),
			[]string{i(distinct(bad, addressOf)), i(distinct(bad, func(s state) string { return s.subject })), q.millis(latest(bad, lastOf))}, q.locked(c, k[0], usersOf(bad)))}, true
	}))
}

// ofHours are the messages of the whole hours of the period.
func (q askedOf) ofHours(c *corpus) []state {
	q.since = q.since.Truncate(time.Hour)
	return filter(c.states(), func(s state) bool { return s.hasMessage && q.within(hourOf(s)) && q.fits(s) })
}

func hourOf(s state) time.Time { return s.idTime.Truncate(time.Hour) }

// invalidSenders counts those that are by the default of reports.invalid_sender.
func invalidSenders(of []state) int {
	return count(of, func(s state) bool {
		return strings.Contains(InvalidWords(schema.DefaultInvalidSenders)+",", "//"+s.sub+",") && s.sub != ""
	})
}

func oracleOutgoingHourly(c *corpus, q askedOf) [][]string {
	return q.answerOf(by(q.ofHours(c), func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		return line{float64(len(of)), nil, slices.Concat([]string{k[0], i(len(of))}, groups(of), classes(of),
			[]string{i(invalidSenders(of)), i(distinct(of, addressOf)), bytesOf(of), q.seconds(earliest(of, hourOf)), q.seconds(latest(of, hourOf))}, q.locked(c, k[0], usersOf(of)))}, true
	}))
}

func oracleTopSpammersHourly(c *corpus, q askedOf) [][]string {
	return q.answerOf(by(q.ofHours(c), func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		rejected, quarantined := filter(of, func(s state) bool { return s.group == "rejected" }), filter(of, func(s state) bool { return s.group == "quarantined" })
		bad := slices.Concat(rejected, quarantined)
		if len(bad) == 0 {
			return line{}, false
		}
		return line{float64(len(bad)), nil, slices.Concat([]string{k[0], i(len(bad)), i(len(of)), percent(len(bad), len(of)), i(len(rejected)), i(len(quarantined)),
			i(invalidSenders(of)), i(distinct(of, addressOf)), q.seconds(latest(bad, hourOf))}, q.locked(c, k[0], usersOf(bad)))}, true
	}))
}

func oracleSendersOver(c *corpus, q askedOf) [][]string {
	window, threshold := time.Duration(q.number("window"))*time.Second, int(q.number("threshold"))
	return q.answerOf(by(q.letters(c), func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		most, at, since := 0, time.Time{}, time.Time{}
		slices.SortFunc(of, func(a, b state) int { return a.idTime.Compare(b.idTime) })
		for _, end := range of {
			n := count(of, func(s state) bool { return !s.idTime.After(end.idTime) && end.idTime.Sub(s.idTime) <= window })
			if n > most {
				most, at = n, end.idTime
			}
			if n > threshold && since.IsZero() {
				since = end.idTime
			}
		}
		return line{float64(most), nil, slices.Concat([]string{k[0], i(most), q.seconds(at), q.seconds(since), i(len(of))}, q.locked(c, k[0], usersOf(of)))}, most > threshold && k[0] != ""
	}))
}

func oracleInvalidSenders(c *corpus, q askedOf) [][]string {
	return q.answerOf(by(q.letters(c), func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		bad := filter(of, func(s state) bool {
			for _, rule := range strings.Split(q.text("invalid_sender"), ",") {
				part := append(strings.Split(rule, "/"), "", "")
				if (part[0] == "" || part[0] == s.status) && (part[1] == "" || part[1] == s.class) && (part[2] == "" || part[2] == s.sub) {
					return true
				}
			}
			return false
		})
		if len(bad) == 0 {
			return line{}, false
		}
		one := senderOf(slices.MinFunc(bad, func(a, b state) int { return strings.Compare(senderOf(a), senderOf(b)) }))
		return line{float64(len(bad)), nil, slices.Concat([]string{k[0], i(len(bad)), i(len(of)), percent(len(bad), len(of)), i(distinct(bad, senderOf)), one, q.millis(latest(bad, lastOf))}, q.locked(c, k[0], usersOf(of)))}, true
	}))
}

func oracleDeliveryOutcomes(c *corpus, q askedOf) [][]string {
	all := filter(c.states(), func(s state) bool { return q.within(s.idTime) && q.fits(s) })
	return q.answerOf(by(all, func(s state) []string { return []string{q.who(s), s.status} }, func(k []string, of []state) (line, bool) {
		tries, whole := 0, count(all, func(s state) bool { return q.who(s) == k[0] })
		for _, s := range of {
			tries += s.attempts
		}
		return line{float64(len(of)), nil, []string{k[0], k[1], i(len(of)), percent(len(of), whole), bytesOf(of), rounded(float64(tries)/float64(len(of)), 2), q.millis(earliest(of, firstOf)), q.millis(latest(of, lastOf))}}, true
	}))
}

func oracleDeliveryFailures(c *corpus, q askedOf) [][]string {
	type failure struct {
		log, domain, recipient, host, ip, enhanced, words string
		code                                              uint16
		at                                                time.Time
		final                                             bool
	}
	var all []failure
	for _, s := range c.states() {
		final, ok := false, false
		switch s.status {
		case "delivery-failed", "bounced", "queue-bounced", "queue-expired":
			final, ok = true, true
		case "queued", "queue-frozen":
			ok = s.attempts > 0
		}
		if ok && q.within(s.idTime) && q.fits(s) {
			all = append(all, failure{"filter", s.domain, s.recipient, strings.ToLower(s.destination), s.destIP, s.enhanced_, s.reply, s.code, s.last, final})
		}
	}
	for _, d := range c.deliveries {
		if (d.outcome == "failure" || d.outcome == "deferral") && q.text("class") == "" && q.within(d.at) && listed(q.text("domain"), d.domain) && listed(q.text("direction"), d.direction) {
			host, ip := strings.ToLower(d.remote), d.ip
			if ip == "::" {
				ip = ""
			}
			if host == "" && ip == "" {
				host = d.channel
			}
			all = append(all, failure{"qmail", d.domain, d.recipient, host, ip, d.enhanced, d.text, d.code, d.at, d.outcome == "failure"})
		}
	}
	return q.answerOf(by(all, func(f failure) []string {
		what := map[string]string{"remote_host": f.host, "remote_ip": f.ip, "recipient_domain": domainOf(f.recipient), "code": strconv.Itoa(int(f.code)), "enhanced_code": f.enhanced, "domain": f.domain}[q.text("group_by")]
		if q.text("group_by") == "code" && f.code == 0 {
			what = ""
		}
		return []string{what, f.log}
	}, func(k []string, of []failure) (line, bool) {
		final := count(of, func(f failure) bool { return f.final })
		at := func(f failure) time.Time { return f.at }
		last := slices.MaxFunc(of, func(a, b failure) int {
			if n := a.at.Compare(b.at); n != 0 {
				return n
			}
			return strings.Compare(a.words, b.words)
		})
		return line{float64(len(of)), nil, []string{k[0], k[1], i(final), i(len(of) - final), i(distinct(of, func(f failure) string { return strings.ToLower(f.recipient) })), i(distinct(of, func(f failure) string { return f.domain })), last.words, q.millis(latest(of, at))}}, true
	}))
}

func oracleDeferralAge(c *corpus, q askedOf) [][]string {
	steps := []struct {
		under time.Duration
		name  string
	}{{15 * time.Minute, "under 15 minutes"}, {time.Hour, "15 minutes to 1 hour"}, {4 * time.Hour, "1 to 4 hours"}, {24 * time.Hour, "4 to 24 hours"}, {96 * time.Hour, "1 to 4 days"}, {math.MaxInt64, "over 4 days"}}
	step := func(s state) int {
		for n, st := range steps {
			if q.until.Sub(s.idTime) < st.under {
				return n
			}
		}
		panic("no step")
	}
	all := filter(c.states(), func(s state) bool {
		return q.within(s.idTime) && q.fits(s) && (s.status == "queued" || s.status == "queue-frozen")
	})
	return q.answerOf(by(all, func(s state) []string {
		if q.text("group_by") == "age" {
			return []string{steps[step(s)].name}
		}
		return []string{q.who(s)}
	}, func(k []string, of []state) (line, bool) {
		tries := 0
		for _, s := range of {
			tries += s.attempts
		}
		last := slices.MaxFunc(of, func(a, b state) int {
			if n := a.last.Compare(b.last); n != 0 {
				return n
			}
			return strings.Compare(a.reply, b.reply)
		})
		oldest := earliest(of, idTimeOf)
		weight := float64(len(of))
		if q.text("group_by") == "age" {
			weight = -float64(step(of[0]))
		}
		return line{weight, nil, []string{k[0], i(len(of)), i(count(of, func(s state) bool { return s.status == "queue-frozen" })), i(distinct(of, addressOf)), i(tries), q.seconds(oldest), i(int(q.until.Sub(oldest).Hours())), last.reply}}, true
	}))
}

func ways(of []state) []string {
	in, out := count(of, func(s state) bool { return s.way == "incoming" }), count(of, func(s state) bool { return s.way == "outgoing" })
	return []string{i(in), i(out), i(len(of) - in - out)}
}

func oracleVolume(c *corpus, q askedOf) [][]string {
	rows := q.answerOf(by(q.letters(c), func(s state) []string {
		t := s.idTime.In(q.Zone)
		if q.text("group_by") == "day" {
			return []string{t.Format("2006-01-02") + " 00:00:00"}
		}
		return []string{t.Format("2006-01-02 15") + ":00:00"}
	}, func(k []string, of []state) (line, bool) {
		return line{0, nil, slices.Concat([]string{k[0], i(len(of))}, ways(of), groups(of), []string{bytesOf(of)})}, true
	}))
	return rows
}

func oracleDirections(c *corpus, q askedOf) [][]string {
	return q.answerOf(by(q.letters(c), func(s state) []string { return []string{s.way} }, func(k []string, of []state) (line, bool) {
		return line{0, nil, slices.Concat([]string{k[0], i(len(of))}, groups(of), []string{bytesOf(of), i(distinct(of, func(s state) string { return s.domain })), i(distinct(of, senderOf)), i(distinct(of, addressOf)), q.millis(latest(of, lastOf))})}, true
	}))
}

func oracleClassifications(c *corpus, q askedOf) [][]string {
	all := q.letters(c)
	return q.answerOf(by(all, func(s state) []string {
		return []string{s.class, map[string]string{"class": "", "sub_class": s.sub, "status": s.status, "domain": s.domain}[q.text("group_by")]}
	}, func(k []string, of []state) (line, bool) {
		return line{float64(len(of)), nil, slices.Concat([]string{k[0], k[1], i(len(of)), percent(len(of), len(all))}, ways(of), []string{i(distinct(of, senderOf)), bytesOf(of), q.millis(latest(of, lastOf))})}, true
	}))
}

func oracleDomainGrowth(c *corpus, q askedOf) [][]string {
	start := q.since.Add(-q.until.Sub(q.since))
	all := filter(c.states(), func(s state) bool {
		return s.hasMessage && q.fits(s) && !s.idTime.Before(start) && s.idTime.Before(q.until)
	})
	return q.answerOf(by(all, func(s state) []string { return []string{s.domain} }, func(k []string, of []state) (line, bool) {
		now := filter(of, func(s state) bool { return q.within(s.idTime) })
		before, times := len(of)-len(now), "0"
		if before > 0 {
			times = rounded(float64(len(now))/float64(before), 2)
		}
		return line{float64(len(now) - before), nil, []string{k[0], i(len(now)), i(before), i(len(now) - before), times, i(count(now, refused)), bytesOf(now), q.millis(latest(of, lastOf))}}, true
	}))
}

func (q askedOf) withHistory(c *corpus) []state {
	start := q.since.Add(-time.Duration(q.number("history")) * 24 * time.Hour)
	return filter(c.states(), func(s state) bool {
		return s.hasMessage && q.fits(s) && !s.idTime.Before(start) && s.idTime.Before(q.until) && q.who(s) != ""
	})
}

func oracleNewSenders(c *corpus, q askedOf) [][]string {
	return q.answerOf(by(q.withHistory(c), func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		first := earliest(of, idTimeOf)
		domain := slices.MinFunc(of, func(a, b state) int { return strings.Compare(a.domain, b.domain) }).domain
		return line{float64(len(of)), nil, slices.Concat([]string{k[0], domain, q.seconds(first), i(len(of)), i(count(of, refused)), i(distinct(of, addressOf)), q.millis(latest(of, lastOf))}, q.locked(c, k[0], usersOf(of)))}, !first.Before(q.since)
	}))
}

func oracleSpamRuns(c *corpus, q askedOf) [][]string {
	return q.answerOf(by(q.withHistory(c), func(s state) []string { return []string{q.who(s)} }, func(k []string, of []state) (line, bool) {
		now := filter(of, func(s state) bool { return q.within(s.idTime) })
		usual := math.RoundToEven(100*float64(len(of)-len(now))/(24*q.number("history"))) / 100
		hours := map[time.Time]int{}
		for _, s := range now {
			hours[s.idTime.Truncate(time.Hour)]++
		}
		most, worst, over := 0, time.Time{}, 0
		for hour, n := range hours {
			if n > most || n == most && hour.Before(worst) {
				most, worst = n, hour
			}
			if float64(n) >= q.number("minimum") && float64(n) > q.number("factor")*usual {
				over++
			}
		}
		times := "0"
		if usual > 0 {
			times = rounded(float64(most)/usual, 1)
		}
		return line{float64(most), nil, slices.Concat([]string{k[0], q.seconds(worst), i(most), num(usual), times, i(over), i(len(now)), i(count(now, refused))}, q.locked(c, k[0], usersOf(now)))}, over > 0
	}))
}
