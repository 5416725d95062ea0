package model

// Sizes of a State: what is longer is a bug of the bounds, and Explore says so.
const (
	MaxRecords = 5
	maxEpochs  = 4 // epoch 0 is none
	maxTokens  = 8
	maxFlights = 4
)

// pc is where a member is in its program.
type pc uint8

const (
	idle       pc = iota // has no share: not started, fenced, or waiting to be given one
	looking              // recover.go: look
	comparing            // identify
	redoing              // redo: are the tokens remembered, what is there
	remaking             // redo: the rows again, the fingerprint
	redone               // redo: the range is in ClickHouse and to be confirmed
	asking               // LastFrom
	waiting              // reconcile: until no insert can be under way
	querying             // reconcileOne: what is missing
	queried              // reconcileOne: that is in ClickHouse
	settling             // settle
	confirming           // settle: to be confirmed
	consuming            // partition.go: consume, with an empty open range
	sealed               // flush: before the announcement
	announcing           // redo, reconcileOne: before theirs
	inserting            // insertBlock: between attempts
	flying               // an attempt is under way
	leaving              // a commit's outcome is unknown
)

// mode is for whom rows are inserted.
type mode uint8

const (
	forFlush mode = iota
	forRedo
	forQuery
)

// anchor is mark.go's: the last batch before an offset.
type anchor struct {
	known         bool
	base, version uint8
}

// mark is mark.go's. Its times are what became of them.
type mark struct {
	ours    bool
	query   bool
	old     bool // ReconcileAfter has passed since it was last announced
	first   since
	epoch   uint8
	end     uint8 // 0: no intent
	reader  uint8
	missing uint8 // of a query: part of its fingerprint
	anchor  anchor
	print   uint16 // the versions of the range's records
}

// since is what has happened since a moment.
type since struct {
	aged      bool // ReconcileAfter has passed
	restarted bool // ClickHouse was started again
}

type commit struct {
	offset int8 // -1: none
	mark   mark
}

// late is a commit that Kafka may still get.
type late struct {
	used bool
	gen  uint8
	commit
}

type token struct {
	epoch, start, end, missing uint8
	query                      bool
	salt                       uint8 // not 0 only where a rule is left out
	print                      uint16
}

// entry is what ClickHouse remembers of an inserted part.
type entry struct {
	used, old bool
	part      uint8
	token     token
}

// flight is an INSERT that is sent and not over.
type flight struct {
	used   bool
	waiter uint8 // 1 + member that waits for its answer, or 0
	part   uint8
	rows   uint8 // offsets, as bits
	token  token
}

type member struct {
	pc          pc
	mode        mode
	gen         uint8
	reader      uint8 // version of the program
	log         uint8 // the log it began to read
	epoch       uint8
	inserted    uint8
	end         uint8 // of the open range
	to          uint8 // of a reconciliation
	part        uint8
	rows        uint8 // to insert
	present     uint8
	unconfirmed bool
	fresh       bool // the lease
	retried     bool
	waited      bool
	asks        bool  // recovery goes on with LastFrom behind a reconciliation
	since       since // the look at ClickHouse on which the attempt rests
	anchor      anchor
	first, last uint8 // found: the log's bounds
	found       commit
	m           mark // the announced or to be announced
}

// State is everything, by value: equal states are equal values.
type State struct {
	// The log: versions of the records of [first, end).
	log, first, end uint8
	version         [MaxRecords]uint8
	newest          uint8 // version

	gen, owner uint8 // owner: 1 + member, or 0
	committed  commit
	late       late

	rows    [maxEpochs][MaxRecords]uint8 // versions, as bits
	tokens  [maxTokens]entry
	flights [maxFlights]flight

	m    [2]member
	left uint8 // faults

	// For the check alone: removed by retention before they had a row, and counted.
	due, counted uint8
}

func initial(b Bounds) State {
	s := State{log: 1, end: uint8(b.Records), newest: 1, committed: commit{offset: -1}, left: uint8(b.Faults)}
	for o := range s.end {
		s.version[o] = 1
	}
	for i := range s.m {
		s.m[i].stop()
	}
	return s
}

// stop forgets what a process holds in memory for the partition.
func (m *member) stop() {
	*m = member{reader: m.reader, found: commit{offset: -1}}
}

// again is recovery from its beginning.
func (m *member) again() {
	*m = member{pc: looking, gen: m.gen, reader: m.reader, found: commit{offset: -1}}
}

// settle goes on at inserted, without a range of its own.
func (m *member) settle(p pc) {
	*m = member{
		pc: p, gen: m.gen, reader: m.reader, log: m.log, epoch: m.epoch, inserted: m.inserted, anchor: m.anchor,
		unconfirmed: m.unconfirmed, found: commit{offset: -1},
	}
}

func bits(from, to uint8) uint8 {
	if to <= from {
		return 0
	}
	return (1<<to - 1) &^ (1<<from - 1)
}

// print is the fingerprint of [from, to) of the log.
func (s *State) print(from, to uint8) (p uint16) {
	for o := from; o < to; o++ {
		p |= uint16(s.version[o]) << (3 * o)
	}
	return p
}

func versionIn(p uint16, o uint8) uint8 { return uint8(p >> (3 * o) & 7) }

// present are the offsets that have a row.
func (s *State) present(epoch uint8) (p uint8) {
	for o, versions := range s.rows[epoch] {
		if versions != 0 {
			p |= 1 << o
		}
	}
	return p
}

// newestRow is the highest epoch with a row, and the highest offset of it.
func (s *State) newestRow() (epoch, offset uint8, any bool) {
	for e := uint8(maxEpochs - 1); e > 0; e-- {
		for o := MaxRecords - 1; o >= 0; o-- {
			if s.rows[e][o] != 0 {
				return e, uint8(o), true
			}
		}
	}
	return 0, 0, false
}

// has tells whether the record has a row, of whatever epoch.
func (s *State) has(o, version uint8) bool {
	for e := range s.rows {
		if s.rows[e][o]&(1<<version) != 0 {
			return true
		}
	}
	return false
}

// insert is what ClickHouse does with a part. doubled is the first record of which
// there is a second row now, -1 for none.
func (s *State) insert(r *Rules, f flight) (doubled int, full bool) {
	free := -1
	for i, t := range s.tokens {
		if !t.used {
			free = i
			break
		}
		same := t.token == f.token && t.part == f.part
		if r.Dedup != NoDedup && same {
			return -1, false
		}
	}
	doubled = -1
	for o := range uint8(MaxRecords) {
		if f.rows&(1<<o) == 0 {
			continue
		}
		version := versionIn(f.token.print, o)
		if s.has(o, version) {
			doubled = int(o)
		}
		s.rows[f.token.epoch][o] |= 1 << version
		s.due &^= 1 << o
	}
	if free < 0 {
		return doubled, true
	}
	s.tokens[free] = entry{used: true, part: f.part, token: f.token}
	s.order()
	return doubled, false
}

// forget removes tokens for which f is true.
func (s *State) forget(f func(entry) bool) (any bool) {
	n := 0
	for _, t := range s.tokens {
		if t.used && !f(t) {
			s.tokens[n] = t
			n++
		} else if t.used {
			any = true
		}
	}
	clear(s.tokens[n:])
	return any
}

// order makes states equal that differ in the order of things that have none.
func (s *State) order() {
	sorted(s.tokens[:], func(e entry) uint64 {
		return key(e.used, e.token, e.part, 0)<<1 | bit(e.old)
	})
	sorted(s.flights[:], func(f flight) uint64 {
		return key(f.used, f.token, f.part, f.waiter)
	})
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// key orders tokens; what is not used comes last.
func key(used bool, t token, part, waiter uint8) uint64 {
	if !used {
		return 1<<62 - 1
	}
	k := uint64(t.print)
	for _, v := range []uint8{t.epoch, t.start, t.end, t.missing, t.salt} {
		k = k<<6 | uint64(v)
	}
	return (k<<1|bit(t.query))<<3 | uint64(part)<<2 | uint64(waiter)
}

func sorted[T any](s []T, key func(T) uint64) {
	for i := 1; i < len(s); i++ {
		for j := i; j > 0 && key(s[j]) < key(s[j-1]); j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}
