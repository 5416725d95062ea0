package state

import "maps"

// entry is what holds for a key. It is never changed, only replaced.
type entry struct {
	key     Key
	kind    string
	env     *envelope
	version Version
	value   any // nil: of a kind or in a form that a newer version knows
	public  func(any) any
}

// machine makes the state of the log, record by record. What it decides depends on
// nothing but the records that it was given.
type machine struct {
	entries map[string]map[Key]*entry // by kind; removed keys too, until their tombstone
	gone    map[Key]Version           // tombstones: a late record must not bring the key back
	spoiled map[Key]struct{}          // the last record of these keys had no effect
	next    Version
	term    int64
	ids     recent
	changed map[string]bool // kinds, since the last snapshot
	last    *Snapshot
}

func newMachine() *machine {
	return &machine{
		entries: map[string]map[Key]*entry{}, gone: map[Key]Version{}, spoiled: map[Key]struct{}{},
		ids: recent{places: map[string]int{}}, changed: map[string]bool{},
	}
}

// apply takes the next record of the log.
func (m *machine) apply(offset int64, key, value []byte) Record {
	at := Version(offset)
	m.next = at + 1
	r := Record{Offset: offset, Key: Key(key), Effect: Unreadable}
	name, parts, ok := r.Key.Split()
	if !ok {
		return r
	}
	current := m.entries[name][r.Key]
	r.old, r.new = current, current
	if value == nil {
		r.Effect = m.forget(name, current, r.Key, at)
		r.new = m.entries[name][r.Key]
		return r
	}
	env, err := decodeEnvelope(value)
	if err != nil {
		return r // a newer version has written it: it is not ours to put right
	}
	r.Mark, r.ID, r.Term = env.mark(at), env.ID, env.Term
	switch {
	case m.ids.has(env.ID):
		r.Effect = Duplicate
		if current != nil && current.env.ID == env.ID {
			// Compaction may keep this copy alone: its place counts, for all readers.
			m.put(name, parts, r.Key, env, at)
			return r
		}
	case env.Term > 0 && env.Term < m.term:
		r.Effect = Fenced
	case env.Since != nil && m.changedSince(r.Key, current, *env.Since):
		r.Effect = Conflict
	default:
		m.ids.add(env.ID)
		delete(m.spoiled, r.Key)
		r.new = m.put(name, parts, r.Key, env, at)
		r.Effect = Applied
		if env.Repair {
			r.Effect = Repaired
		}
		return r
	}
	m.spoiled[r.Key] = struct{}{}
	return r
}

func (m *machine) changedSince(key Key, current *entry, since Version) bool {
	gone, was := m.gone[key]
	return current != nil && current.version >= since || was && gone >= since
}

func (m *machine) put(name string, parts []string, key Key, env *envelope, at Version) *entry {
	e := &entry{key: key, kind: name, env: env, version: at}
	if k, known := lookUp(name, parts); known {
		// A form that cannot be read is kept and passed over, like an unknown kind.
		if v, err := k.read(parts, env.State, env.mark(at)); err == nil {
			e.value, e.public = v, k.public
		}
	}
	if l, ok := e.value.(leaderState); ok {
		m.term = max(m.term, l.Term)
	}
	if m.entries[name] == nil {
		m.entries[name] = map[Key]*entry{}
	}
	m.entries[name][key] = e
	m.changed[name] = true
	delete(m.gone, key)
	return e
}

// forget takes a tombstone, which has effect on what was removed before it alone.
func (m *machine) forget(name string, current *entry, key Key, at Version) Effect {
	if current != nil && !current.env.Removed {
		m.spoiled[key] = struct{}{}
		return Conflict
	}
	m.gone[key] = at
	delete(m.spoiled, key)
	if current != nil {
		delete(m.entries[name], key)
		m.changed[name] = true
	}
	return Forgotten
}

// snapshot is the present state; what has not changed is shared with the last one.
func (m *machine) snapshot() *Snapshot {
	if m.last != nil && m.last.version == m.next {
		return m.last
	}
	s := &Snapshot{version: m.next, kinds: map[string]map[Key]*entry{}}
	if m.last != nil {
		maps.Copy(s.kinds, m.last.kinds)
	}
	for name := range m.changed {
		s.kinds[name] = maps.Clone(m.entries[name])
	}
	clear(m.changed)
	m.last = s
	return s
}

// recent remembers the ids of the last records. Copies come within the time of a retry.
type recent struct {
	places map[string]int
	ring   []string
	at     int
}

const recentIDs = 16384

func (r *recent) has(id string) bool { _, ok := r.places[id]; return ok }

func (r *recent) add(id string) {
	if len(r.ring) < recentIDs {
		r.ring = append(r.ring, id)
	} else {
		delete(r.places, r.ring[r.at])
		r.ring[r.at] = id
	}
	r.places[id] = r.at
	r.at = (r.at + 1) % recentIDs
}
