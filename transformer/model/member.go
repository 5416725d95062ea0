package model

// next gives the states that one step leads to.
type next struct {
	c    *Config
	s    *State
	emit func(Step, State)
}

// each calls emit with every step that is possible in s.
func each(c *Config, s *State, emit func(Step, State)) {
	n := next{c, s, emit}
	for who := range s.m {
		n.member(who)
	}
	n.inserts()
	n.group()
	n.grow()
	n.time()
	if s.left > 0 {
		n.faults()
	}
}

// member gives the steps of one member: those of its program.
func (n next) member(who int) {
	s, rules := *n.s, &n.c.Rules
	m := &s.m[who]
	step := Step{Member: name(who)}
	switch m.pc {
	case looking:
		m.found, m.first, m.last, m.log = s.committed, s.first, s.end, s.log
		m.pc = comparing
		n.emit(step.of("looked", "asks Kafka: offset %d, the log ends at %d", int(s.committed.offset), int(s.end)), s)
		return
	case comparing, redoing, remaking, asking, querying, consuming:
		if m.log != s.log && n.c.World.NoticedRemake {
			m.again()
			n.emit(step.of("", "learns that the log is another one, and looks again"), s)
			return
		}
	}
	switch m.pc {
	case comparing:
		n.compare(s, who)
	case redoing:
		n.redo(s, who)
	case remaking:
		n.remake(s, who)
	case redone:
		// The next announcement names no range: it confirms this one.
		n.commit(s, who, m.end, n.mark(m, m.lastBatch()), step.of("", "confirms offset %d", int(m.end)), func(s *State, m *member) {
			m.inserted, m.anchor, m.unconfirmed = m.end, m.lastBatch(), false
			n.ask(s, m)
		})
	case asking:
		n.question(s, who)
	case waiting:
		if m.waited {
			m.pc, m.waited = querying, false
			n.emit(step.of("", "has waited until no INSERT can be under way"), s)
		}
	case querying:
		n.query(s, who)
	case queried:
		n.commit(s, who, m.end, n.mark(m, m.lastBatch()), step.of("", "confirms offset %d", int(m.end)), func(s *State, m *member) {
			m.inserted, m.anchor, m.unconfirmed = m.end, m.lastBatch(), false
			m.pc, m.rows, m.present, m.m = querying, 0, 0, mark{}
			switch {
			case m.inserted < m.to:
			case m.asks:
				n.ask(s, m)
			default:
				m.settle(settling)
			}
		})
	case settling:
		confirmed := !m.unconfirmed
		m.settle(confirming)
		if confirmed {
			m.pc = consuming
		}
		n.emit(step.of("recovered", "has recovered"), s)
	case confirming:
		n.commit(s, who, m.inserted, n.mark(m, m.anchor), step.of("confirmed", "confirms offset %d, epoch %d", int(m.inserted), int(m.epoch)), func(_ *State, m *member) {
			m.unconfirmed = false
			m.settle(consuming)
		})
	case consuming:
		n.consume(s, who)
	case sealed:
		if !rules.AnnounceFirst {
			m.pc, m.fresh = inserting, true
			n.emit(step.of("announced", "begins to insert offsets [%d,%d) without waiting for Kafka", int(m.inserted), int(m.end)), s)
			return
		}
		n.announce(s, who, step.of("announced", "announces offsets [%d,%d)", int(m.inserted), int(m.end)))
	case announcing:
		event := "reannounced"
		if m.mode == forQuery {
			event = "reconciling"
		}
		n.announce(s, who, step.of(event, "announces offsets [%d,%d)", int(m.inserted), int(m.end)))
	case inserting:
		n.attempt(s, who)
	case flying:
		if n.s.left > 0 && n.c.Bounds.Kinds&LostAnswer != 0 {
			s.left--
			for i := range s.flights {
				if s.flights[i].waiter == uint8(who+1) {
					s.flights[i].waiter = 0
				}
			}
			m.pc, m.retried = inserting, true
			s.order()
			n.emit(step.of("failed", "gets no answer to its INSERT"), s)
		}
	case leaving:
		if s.gen == m.gen {
			s.gen, s.owner = s.gen+1, 0
		}
		m.stop()
		n.emit(step.of("", "leaves the group, because a commit's outcome is unknown"), s)
	}
	// What it knows of the partition may be out of date for other reasons: it looks again.
	switch m := &s.m[who]; m.pc {
	case comparing, redoing, remaking, asking, waiting, querying, announcing, consuming:
		s := *n.s
		s.m[who].again()
		n.emit(step.of("", "gets an error, and looks again"), s)
	}
	n.notice(who)
}

// notice: a member learns, in its own time, that its generation is over.
func (n next) notice(who int) {
	s := *n.s
	m := &s.m[who]
	if m.pc == idle || m.pc == leaving || m.gen == s.gen {
		return
	}
	s.land(who)
	m.stop()
	n.emit(Step{Member: name(who)}.of("", "learns that its generation is over"), s)
}

// land: nobody waits for the member's INSERT any more.
func (s *State) land(who int) {
	for i := range s.flights {
		if s.flights[i].waiter == uint8(who+1) {
			s.flights[i].waiter = 0
		}
	}
	s.order()
}

// lastBatch is the last batch before end, by what the member has read.
func (m *member) lastBatch() anchor {
	if m.end == 0 {
		return anchor{}
	}
	if v := versionIn(m.m.print, m.end-1); v != 0 {
		return anchor{true, m.end - 1, v}
	}
	return m.anchor
}

// mark is metadata without an intent.
func (n next) mark(m *member, a anchor) mark {
	if !n.c.Rules.Anchor {
		a = anchor{}
	}
	return mark{ours: true, epoch: m.epoch, anchor: a}
}

// intent is the metadata that announces [inserted, end).
func (n next) intent(m *member) mark {
	i := n.mark(m, m.anchor)
	i.end, i.print, i.query, i.missing, i.reader = m.end, m.m.print, m.m.query, m.m.missing, m.reader
	if n.c.Rules.FirstTime {
		i.first = m.m.first
	}
	if !n.c.Rules.Fingerprint {
		i.print = 0
	}
	if !n.c.Rules.Intent {
		i = n.mark(m, m.anchor)
	}
	return i
}

// announce commits the intent; then the rows are inserted.
func (n next) announce(s State, who int, step Step) {
	if m := &s.m[who]; m.mode != forRedo {
		m.m.first = since{}
	}
	i := n.intent(&s.m[who])
	n.commit(s, who, s.m[who].inserted, i, step, func(s *State, m *member) {
		m.m.first = i.first
		m.pc, m.fresh, m.part, m.retried = inserting, true, 0, false
		if m.mode == forFlush || !n.c.Rules.Recheck {
			m.since = since{}
		}
		n.part(s, m)
	})
}

// commit is OffsetCommit: acknowledged, refused, or without an answer.
func (n next) commit(s State, who int, offset uint8, mk mark, step Step, then func(*State, *member)) {
	m := &s.m[who]
	if n.c.Rules.Fencing && m.gen != s.gen {
		m.stop()
		n.emit(Step{Member: name(who)}.of("", "is refused a commit: its generation is over"), s)
		return
	}
	before := s
	c := commit{int8(offset), mk}
	s.committed = c
	then(&s, m)
	n.emit(step, s)
	if s.left == 0 || n.c.Bounds.Kinds&LostCommit == 0 {
		return
	}
	unknown := func(s State, text string) {
		s.left--
		if m := &s.m[who]; n.c.Rules.UnknownEnds {
			gen := m.gen
			m.stop()
			m.pc, m.gen = leaving, gen
		}
		n.emit(Step{Member: name(who)}.of("", text, int(offset)), s)
	}
	s = before
	s.committed = c
	unknown(s, "commits offset %d and gets no answer; Kafka has it")
	if !before.late.used {
		s = before
		s.late = late{true, before.m[who].gen, c}
		unknown(s, "commits offset %d and gets no answer; it is still on its way")
	}
}

// consume seals a range of any length, or confirms.
func (n next) consume(s State, who int) {
	m := &s.m[who]
	step := Step{Member: name(who)}
	if m.inserted < s.first || m.inserted > s.end {
		m.again()
		n.emit(step.of("", "finds its offset out of range, and looks again"), s)
		return
	}
	for end := m.inserted + 1; end <= s.end; end++ {
		s := s
		m := &s.m[who]
		m.pc, m.mode, m.end, m.rows = sealed, forFlush, end, bits(m.inserted, end)
		m.m.print = s.print(m.inserted, end)
		n.emit(step.of("sealed", "seals offsets [%d,%d)", int(m.inserted), int(end)), s)
	}
	if m.unconfirmed {
		n.commit(s, who, m.inserted, n.mark(m, m.anchor), step.of("confirmed", "confirms offset %d", int(m.inserted)), func(_ *State, m *member) {
			m.unconfirmed = false
			m.settle(consuming)
		})
	}
}

// partOf are the offsets whose rows go to the part.
func (n next) partOf(part, reader uint8) uint8 {
	if n.c.Bounds.Parts == 1 {
		return bits(0, MaxRecords) * (1 - part)
	}
	const even = 0b10101
	if (part+reader)%2 == 0 {
		return even
	}
	return bits(0, MaxRecords) &^ even
}

// part goes to the next part that has rows, or to what follows the last.
func (n next) part(s *State, m *member) (done bool) {
	for ; m.part < 2; m.part++ {
		if m.rows&n.partOf(m.part, m.reader) != 0 {
			m.pc, m.retried = inserting, false
			if m.mode == forFlush || !n.c.Rules.Recheck {
				m.since = since{}
			}
			return false
		}
	}
	switch m.mode {
	case forFlush:
		m.inserted, m.anchor, m.unconfirmed = m.end, m.lastBatch(), true
		m.settle(consuming)
	case forRedo:
		m.pc = redone
		m.idle()
	case forQuery:
		m.pc = queried
		m.idle()
	}
	return true
}

// idle drops what only an INSERT needs.
func (m *member) idle() {
	m.part, m.rows, m.present, m.fresh, m.retried, m.since = 0, 0, 0, false, false, since{}
	m.found, m.m = commit{offset: -1}, mark{print: m.m.print}
}

// attempt begins one INSERT, or does not.
func (n next) attempt(s State, who int) {
	m, rules := &s.m[who], &n.c.Rules
	step := Step{Member: name(who)}
	if m.retried || rules.Recheck && m.mode != forFlush {
		n.emit(step.of("failed", "cannot ask ClickHouse whether it remembers"), s)
		if rules.Restart && m.since.restarted || rules.Recheck && rules.Window && m.since.aged {
			m.again()
			n.emit(step.of("", "does not trust the token any more, and looks again"), s)
			return
		}
	}
	if rules.Lease && !m.fresh {
		i := n.intent(m)
		n.commit(s, who, m.inserted, i, step.of("", "announces offsets [%d,%d) again: the lease is over", int(m.inserted), int(m.end)), func(_ *State, m *member) {
			m.fresh = true
			m.m.first = i.first
		})
		return
	}
	f := flight{used: true, waiter: uint8(who + 1), part: m.part, rows: m.rows & n.partOf(m.part, m.reader), token: n.token(m)}
	for i := range s.flights {
		if !s.flights[i].used {
			s.flights[i] = f
			break
		} else if i == maxFlights-1 {
			n.emit(step.of(overflow, "has too many INSERTs under way"), s)
			return
		}
	}
	s.order()
	m.pc = flying
	n.emit(step.of("attempt", "sends INSERT of offsets [%d,%d), part %d", int(m.inserted), int(m.end), int(m.part)), s)
}

// token is the token of the open range, for its rows.
func (n next) token(m *member) token {
	t := token{epoch: m.epoch, start: m.inserted, end: m.end, query: m.m.query, print: m.m.print}
	if n.c.Rules.QueryToken {
		t.missing = m.m.missing
	}
	switch {
	case n.c.Rules.Dedup == ByContent:
		t = token{epoch: m.epoch}
		for o := range uint8(MaxRecords) {
			if m.rows&n.partOf(m.part, m.reader)&(1<<o) != 0 {
				t.print |= m.m.print & (7 << (3 * o))
			}
		}
	case m.mode == forRedo && !n.c.Rules.SameToken:
		t.salt = m.gen
	case m.retried && !n.c.Rules.RetryToken:
		t.salt = 63
	}
	return t
}
