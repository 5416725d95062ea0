package model

// compare is recover.go: identify.
func (n next) compare(s State, who int) {
	m := &s.m[who]
	step := Step{Member: name(who)}
	f := &m.found
	start, same, again := n.identify(&s, m)
	if again {
		m.again()
		n.emit(step.of("", "finds that retention came meanwhile, and looks again"), s)
		return
	}
	m.inserted, m.anchor, m.unconfirmed = start, anchor{}, true
	if !same {
		m.settle(settling)
		n.emit(step.of("", "finds another log: it goes on at offset %d in epoch %d", int(start), int(m.epoch)), s)
		return
	}
	if f.mark.ours {
		m.anchor = f.mark.anchor
		m.unconfirmed = int8(f.mark.end) > f.offset
		if m.unconfirmed {
			m.pc = redoing
			n.emit(step.of("", "finds offsets [%d,%d) announced", int(f.offset), int(f.mark.end)), s)
			return
		}
	}
	n.ask(&s, m)
	n.emit(step.of("", "finds the log it knows: offset %d, epoch %d", int(start), int(m.epoch)), s)
}

// ask: what follows is a question to ClickHouse.
func (n next) ask(s *State, m *member) {
	keep := *m
	m.settle(asking)
	m.first = keep.first
}

func (n next) identify(s *State, m *member) (start uint8, same, again bool) {
	f := &m.found
	if f.mark.ours {
		m.epoch = f.mark.epoch
		if f.offset > int8(m.last) {
			return n.cutOrRemade(s, m)
		}
		a := f.mark.anchor
		switch {
		case !a.known || a.base < m.first:
			return uint8(f.offset), true, false
		case a.base < s.first && n.c.Rules.Retention:
			return 0, false, true
		case a.base >= s.first && a.base < s.end && s.version[a.base] == a.version:
			return uint8(f.offset), true, false
		}
		return n.remade(s, m)
	}
	epoch, last, any := s.newestRow()
	start = m.first
	if f.offset >= 0 {
		start = uint8(f.offset)
	}
	if !any || !n.c.Rules.Ask {
		m.epoch = max(epoch, 1)
		if start > m.last {
			start = m.first
		}
		return start, true, false
	}
	m.epoch = epoch
	if last >= m.last || start > m.last {
		return n.cutOrRemade(s, m)
	}
	if last < m.first {
		if f.offset < 0 {
			start = last + 1
		}
		return start, true, false
	}
	same, again = n.sameRow(s, m, last)
	if same || again {
		return start, same, again
	}
	return n.remade(s, m)
}

func (n next) cutOrRemade(s *State, m *member) (uint8, bool, bool) {
	if m.last > m.first {
		same, again := n.sameRow(s, m, m.last-1)
		if again {
			return 0, false, true
		}
		if same {
			n.nextEpoch(s, m)
			return m.last, false, false
		}
	}
	return n.remade(s, m)
}

func (n next) remade(s *State, m *member) (uint8, bool, bool) {
	n.nextEpoch(s, m)
	return m.first, false, false
}

// nextEpoch finds one that no row has.
func (n next) nextEpoch(s *State, m *member) {
	if !n.c.Rules.Epoch {
		return
	}
	if newest, _, any := s.newestRow(); any && newest > m.epoch {
		m.epoch = newest
	}
	m.epoch++
}

// sameRow tells whether the record at o is the one that ClickHouse has there.
func (n next) sameRow(s *State, m *member, o uint8) (same, again bool) {
	if o < s.first && n.c.Rules.Retention {
		return false, true
	}
	return o >= s.first && o < s.end && s.rows[m.epoch][o] == 1<<s.version[o], false
}

// redo is recover.go: redo, up to the question whether the tokens are remembered.
func (n next) redo(s State, who int) {
	m, rules := &s.m[who], &n.c.Rules
	step := Step{Member: name(who)}
	f := &m.found
	if m.last < f.mark.end {
		n.rewritten(s, who)
		return
	}
	if m.inserted < m.first {
		n.lost(&s, m, min(m.first, f.mark.end))
		if m.inserted >= f.mark.end {
			n.ask(&s, m)
			n.emit(step.of("", "counts the announced range as lost"), s)
			return
		}
	}
	if f.mark.query || rules.Reader && f.mark.reader != m.reader {
		if !f.mark.query && rules.Fingerprint && int8(m.inserted) == f.offset {
			switch {
			case m.inserted < s.first && rules.Retention:
				m.again()
				n.emit(step.of("", "finds that retention came meanwhile, and looks again"), s)
				return
			case m.inserted < s.first || f.mark.end > s.end || f.mark.print != s.print(m.inserted, f.mark.end):
				n.rewritten(s, who)
				return
			}
		}
		m.reconcile(f.mark.end, f.mark.old || !rules.Wait)
		m.asks = true
		n.emit(step.of("", "asks ClickHouse about offsets [%d,%d)", int(m.inserted), int(m.to)), s)
		return
	}
	m.pc, m.mode, m.end, m.m = remaking, forRedo, f.mark.end, f.mark
	m.since = since{}
	if rules.Window && f.mark.first.aged || rules.Restart && f.mark.first.restarted {
		m.present = s.present(m.epoch) & bits(m.inserted, m.end)
		n.emit(step.of("", "asks which rows of offsets [%d,%d) are there", int(m.inserted), int(m.end)), s)
		return
	}
	n.emit(step.of("", "trusts the token of offsets [%d,%d)", int(m.inserted), int(m.end)), s)
}

// remake makes the rows of an announced range again.
func (n next) remake(s State, who int) {
	m := &s.m[who]
	step := Step{Member: name(who)}
	if m.inserted < s.first {
		if n.c.Rules.Retention {
			m.again()
			n.emit(step.of("", "finds that retention came meanwhile, and looks again"), s)
			return
		}
		n.rewritten(s, who)
		return
	}
	if s.end < m.end {
		n.rewritten(s, who)
		return
	}
	f := &m.found
	whole := int8(m.inserted) == f.offset
	print := s.print(m.inserted, m.end)
	if n.c.Rules.Fingerprint && whole && print != m.m.print {
		n.rewritten(s, who)
		return
	}
	m.rows = bits(m.inserted, m.end) &^ m.present
	m.inserted = uint8(f.offset)
	m.m.first = f.mark.first
	if whole {
		m.m.print = print
	} else {
		// The token is the announced one; what is read of the range is its end.
		m.m.print = f.mark.print
	}
	m.present = 0
	if m.rows == 0 {
		m.part = 2
		n.part(&s, m)
		n.emit(step.of("redone", "finds all rows of offsets [%d,%d)", int(m.inserted), int(m.end)), s)
		return
	}
	m.pc = announcing
	m.found = commit{offset: -1}
	n.emit(step.of("", "makes the block of offsets [%d,%d) again", int(m.inserted), int(m.end)), s)
}

// rewritten is recover.go: rewritten.
func (n next) rewritten(s State, who int) {
	m := &s.m[who]
	step := Step{Member: name(who)}
	f := &m.found
	start, same := uint8(f.offset), f.mark.anchor.known && f.mark.anchor.base >= m.first
	if !same && start > m.first {
		var again bool
		if same, again = n.sameRow(&s, m, start-1); again {
			m.again()
			n.emit(step.of("", "finds that retention came meanwhile, and looks again"), s)
			return
		}
	}
	if !same {
		start = m.first
	}
	m.inserted, m.anchor, m.unconfirmed = start, anchor{}, true
	n.nextEpoch(&s, m)
	m.settle(settling)
	n.emit(step.of("", "does not find what was announced: it goes on at offset %d in epoch %d", int(start), int(m.epoch)), s)
}

// lost counts what retention removed.
func (n next) lost(s *State, m *member, first uint8) {
	if n.c.Rules.CountLost {
		s.counted |= bits(m.inserted, first) &^ s.present(m.epoch)
	}
	m.inserted, m.unconfirmed = first, true
}

// reconcile asks about [inserted, to), at once or after a wait.
func (m *member) reconcile(to uint8, waited bool) {
	first := m.first
	m.settle(waiting)
	m.to, m.waited, m.mode, m.first = to, waited, forQuery, first
}

// question is the rest of recover.
func (n next) question(s State, who int) {
	m := &s.m[who]
	step := Step{Member: name(who)}
	if m.inserted < m.first {
		n.lost(&s, m, m.first)
	}
	if last := s.present(m.epoch) &^ bits(0, m.inserted); last != 0 && n.c.Rules.Ask {
		to := m.inserted
		for o := m.inserted; o < MaxRecords; o++ {
			if last&(1<<o) != 0 {
				to = o + 1
			}
		}
		m.reconcile(to, !n.c.Rules.Wait)
		n.emit(step.of("", "finds rows up to offset %d, which nobody announced", int(to)-1), s)
		return
	}
	m.settle(settling)
	n.emit(step.of("", "finds nothing in ClickHouse from offset %d on", int(m.inserted)), s)
}

// query is reconcile.go: reconcileOne.
func (n next) query(s State, who int) {
	m := &s.m[who]
	step := Step{Member: name(who)}
	if m.inserted < s.first {
		m.again()
		n.emit(step.of("", "finds that retention came meanwhile, and looks again"), s)
		return
	}
	for end := m.inserted + 1; end <= m.to; end++ { // as many as make one block
		s := s
		m := &s.m[who]
		end := end
		if end > s.end {
			end = m.to // the rest is not in the log
		}
		missing := bits(m.inserted, min(end, s.end)) &^ s.present(m.epoch)
		m.end, m.mode, m.since = end, forQuery, since{}
		m.m = mark{print: s.print(m.inserted, min(end, s.end)), query: true, missing: missing}
		if missing == 0 {
			m.pc = queried
			m.idle()
			n.emit(step.of("reconciled", "misses nothing of offsets [%d,%d)", int(m.inserted), int(end)), s)
			continue
		}
		m.rows = missing
		m.pc = announcing
		n.emit(step.of("", "misses some of offsets [%d,%d)", int(m.inserted), int(end)), s)
	}
}
