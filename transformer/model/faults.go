package model

// inserts: what ClickHouse does with INSERTs that it has been sent.
func (n next) inserts() {
	for i := range n.s.flights {
		f := n.s.flights[i]
		if !f.used {
			return
		}
		s := *n.s
		s.flights[i] = flight{}
		doubled, full := s.insert(&n.c.Rules, f)
		s.order()
		step := Step{}.of("", "ClickHouse takes the INSERT of offsets [%d,%d), part %d", int(f.token.start), int(f.token.end), int(f.part))
		if f.waiter > 0 {
			step = step.of("", "ClickHouse takes the INSERT of offsets [%d,%d), part %d, and answers", int(f.token.start), int(f.token.end), int(f.part))
			step.Member = name(int(f.waiter - 1))
			m := &s.m[f.waiter-1]
			mode := m.mode
			m.part++
			if n.part(&s, m) {
				step.Event = [...]string{forFlush: "inserted", forRedo: "redone", forQuery: "reconciled"}[mode]
			}
		}
		if full {
			step.Event = overflow
		}
		if doubled >= 0 {
			step.problem = "the row of offset " + string(rune('0'+doubled)) + " is doubled"
		}
		n.emit(step, s)
		if f.waiter == 0 {
			s := *n.s
			s.flights[i] = flight{}
			s.order()
			n.emit(Step{}.of("", "the INSERT of offsets [%d,%d), part %d, ends undone", int(f.token.start), int(f.token.end), int(f.part)), s)
		}
	}
}

// group: who owns the partition, and what became of a late commit.
func (n next) group() {
	for who := range n.s.m {
		if n.s.m[who].pc != idle || n.s.owner != 0 || n.s.gen == 0 && who == 1 {
			continue // the first is A: B is its mirror image
		}
		s := *n.s
		s.gen++
		s.owner = uint8(who + 1)
		m := &s.m[who]
		m.gen = s.gen
		m.again()
		n.emit(Step{Member: name(who)}.of("", "gets the partition, generation %d", int(s.gen)), s)
	}
	if s := *n.s; s.owner != 0 && s.left > 0 && n.c.Bounds.Kinds&Rebalance != 0 {
		if n.c.World.SlowTakeover {
			s.m[s.owner-1].fresh = false
		}
		s.left--
		s.gen++
		s.owner = 0
		n.emit(Step{}.of("", "the group's generation is over: members come, or are missed"), s)
	}
	if l := n.s.late; l.used {
		s := *n.s
		s.late = late{}
		if s.gen == l.gen || !n.c.Rules.Fencing {
			s.committed = l.commit
			n.emit(Step{}.of("", "the late commit of offset %d arrives", int(l.offset)), s)
			s.committed = n.s.committed
			n.emit(Step{}.of("", "the late commit of offset %d is lost", int(l.offset)), s)
			return
		}
		n.emit(Step{}.of("", "the late commit of offset %d is refused", int(l.offset)), s)
	}
}

// marks calls f for every mark there is.
func (s *State) marks(f func(*mark)) {
	f(&s.committed.mark)
	if s.late.used {
		f(&s.late.mark)
	}
	for i := range s.m {
		f(&s.m[i].found.mark)
		f(&s.m[i].m)
	}
}

// pass lets ReconcileAfter go by.
func (s *State) pass() {
	s.marks(func(m *mark) {
		if m.ours && m.end > 0 || m.print != 0 {
			m.old, m.first.aged = true, true
		}
	})
	for i := range s.tokens {
		s.tokens[i].old = s.tokens[i].used
	}
	s.order()
	for i := range s.m {
		m := &s.m[i]
		m.fresh = false
		switch m.pc {
		case remaking, announcing, inserting, flying:
			m.since.aged = true
		case waiting:
			m.waited = true
		case redone, queried:
			m.m.old, m.m.first = false, since{}
		}
	}
}

// time: it passes, and what is old may be forgotten.
func (n next) time() {
	s := *n.s
	s.pass()
	under := false
	for _, f := range s.flights {
		under = under || f.used
	}
	if s != *n.s && (!under || !n.c.World.BoundedInsert) {
		n.emit(Step{}.of("", "time passes: more than ReconcileAfter"), s)
	}
	s = *n.s
	if s.forget(func(e entry) bool { return e.old }) {
		n.emit(Step{}.of("", "ClickHouse forgets its old tokens: others were inserted since"), s)
	}
}

// faults: those of the processes, Kafka and ClickHouse. Answers that are lost are
// where the answers are.
func (n next) faults() {
	kinds := n.c.Bounds.Kinds
	fault := *n.s
	fault.left--
	for who := range fault.m {
		if fault.m[who].pc == idle {
			continue
		}
		s := fault
		if s.owner == uint8(who+1) && s.gen == s.m[who].gen {
			s.owner = 0
		}
		s.land(who)
		s.m[who].stop()
		if kinds&Crash != 0 {
			n.emit(Step{Member: name(who)}.of("killed", "is killed"), s)
		}
		if kinds&Upgrade != 0 && s.m[who].reader == 0 {
			s.m[who].reader = 1
			n.emit(Step{Member: name(who)}.of("killed", "is killed, and another version starts"), s)
		}
	}
	for who := range fault.m {
		m := &fault.m[who]
		if m.pc != consuming || m.gen != fault.gen || kinds&Rebalance == 0 {
			continue
		}
		back := fault
		back.owner = 0
		back.m[who].stop()
		if m.unconfirmed {
			back.committed = commit{int8(m.inserted), n.mark(m, m.anchor)}
		}
		n.emit(Step{Member: name(who)}.of("", "stops, and confirms offset %d", int(m.inserted)), back)
	}
	if s := fault; kinds&PowerLoss != 0 {
		s.restart(n.c.World.OrderedRestart)
		n.emit(Step{}.of("", "ClickHouse loses its power, starts again, and lacks its newest tokens"), s)
	}
	n.logFaults(fault, kinds)
}

// restart: rows stay, tokens that are not old are gone, and INSERTs end.
func (s *State) restart(ordered bool) {
	s.forget(func(e entry) bool { return !e.old })
	for i := range s.flights {
		f := &s.flights[i]
		if f.used && (ordered || f.waiter == 0) {
			if f.waiter > 0 {
				m := &s.m[f.waiter-1]
				m.pc, m.retried = inserting, true
			}
			*f = flight{}
		}
	}
	s.order()
	s.marks(func(m *mark) {
		if m.ours && m.end > 0 || m.print != 0 {
			m.first.restarted = true
		}
	})
	for i := range s.m {
		switch m := &s.m[i]; m.pc {
		case remaking, announcing, inserting, flying:
			m.since.restarted = true
		case redone, queried:
			m.m.first = since{}
		}
	}
}

// logFaults are those of the log and of the group's offset.
func (n next) logFaults(fault State, kinds Faults) {
	quiet := true
	for i := range fault.m {
		quiet = quiet && fault.m[i].pc == idle
	}
	for _, f := range fault.flights {
		quiet = quiet && !f.used
	}
	if kinds&LostOffset != 0 && fault.committed.offset >= 0 && (quiet || !n.c.World.QuietReset) {
		for offset := int8(-1); offset < fault.committed.offset; offset++ {
			s := fault
			if n.c.World.QuietReset {
				s.pass()
			}
			s.committed = commit{offset: offset}
			s.due = 0
			n.emit(Step{}.of("", "the group's offset is lost: now %d, without metadata", int(offset)), s)
		}
	}
	if kinds&Remake != 0 && fault.log < 3 && (fault.anchored() || !n.c.World.PlainRemake) {
		s := fault
		s.log++
		s.newest++
		s.first, s.end, s.version, s.due, s.counted = 0, 0, [MaxRecords]uint8{}, 0, 0
		n.emit(Step{}.of("", "the topic is deleted and made again"), s)
	}
	if kinds&Truncate != 0 && (fault.log == 1 || !n.c.World.PlainRemake) {
		for first := fault.first + 1; first <= fault.end; first++ {
			s := fault
			for o := s.first; o < first; o++ {
				if !s.has(o, s.version[o]) && s.committed.offset >= 0 {
					s.due |= 1 << o
				}
				s.version[o] = 0
			}
			s.first = first
			n.emit(Step{}.of("", "retention removes what is before offset %d", int(first)), s)
		}
	}
	if kinds&Unclean != 0 && !n.c.World.CleanElection && fault.newest < 3 {
		for end := fault.first; end < fault.end; end++ {
			s := fault
			s.newest++
			s.log++
			for o := end; o < s.end; o++ {
				s.version[o] = 0
			}
			s.end = end
			n.emit(Step{}.of("", "an election loses what is from offset %d on", int(end)), s)
		}
	}
}

// anchored: wherever an offset is known, so is the batch before it.
func (s *State) anchored() bool {
	for i := range s.m {
		if m := &s.m[i]; m.pc > comparing && (m.inserted > 0 || m.mode == forQuery) && !m.anchor.known {
			return false
		}
	}
	c := &s.committed
	return c.offset <= 0 && !c.mark.query || c.mark.anchor.known
}

// grow: a log that was made again, or cut, gets records until it is as long as before.
func (n next) grow() {
	if s := *n.s; int(s.end) < n.c.Bounds.Records {
		s.version[s.end] = s.newest
		s.end++
		n.emit(Step{}.of("", "a record is produced at offset %d", int(s.end)-1), s)
	}
}
