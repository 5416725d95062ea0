package model

// Dedup is how ClickHouse tells a block that it has already.
type Dedup uint8

// By token is the protocol. Without a token ClickHouse goes by content.
const (
	ByToken Dedup = iota
	ByContent
	NoDedup
)

// Rules are the protocol's rules. A false one is left out.
type Rules struct {
	Dedup Dedup

	Intent        bool // a commit's metadata names the range that is inserted next
	AnnounceFirst bool // the announcement is acknowledged before the INSERT starts
	Fencing       bool // Kafka refuses commits of another generation than the current one
	UnknownEnds   bool // a commit of unknown outcome ends the generation
	Lease         bool // an attempt starts only while the announcement is young
	RetryToken    bool // a repeated attempt has the token of the first
	SameToken     bool // an announced range is finished under its own token
	Fingerprint   bool // intent and token hold a sum of the range's record batches
	Epoch         bool // a re-created topic's rows get the next epoch
	Anchor        bool // a commit holds the last batch before the offset, and it is compared
	Ask           bool // on assignment ClickHouse is asked what it has
	Wait          bool // what nobody knows the cut of is asked about after inserts cannot run any more
	QueryToken    bool // the token of what was missing names what was missing
	Window        bool // a token is trusted only for a while
	Restart       bool // a token is not trusted after ClickHouse was started again
	FirstTime     bool // both since the range was first announced, not last
	Recheck       bool // both are looked at before each attempt that is not the first ever
	Reader        bool // a range that another version announced is not made again under its token
	Retention     bool // a range that retention removed while it was read is no other log
	CountLost     bool // what retention removed before it was inserted is counted
}

// Protocol is all rules.
func Protocol() Rules {
	return Rules{
		Intent: true, AnnounceFirst: true, Fencing: true, UnknownEnds: true, Lease: true, RetryToken: true, SameToken: true,
		Fingerprint: true, Epoch: true, Anchor: true, Ask: true, Wait: true, QueryToken: true, Window: true, Restart: true,
		FirstTime: true, Recheck: true, Reader: true, Retention: true, CountLost: true,
	}
}

// World is what the protocol assumes of its surroundings. What is false is not
// assumed, and the protocol does not cover it.
type World struct {
	// BoundedInsert: an INSERT is over, done or not, when ReconcileAfter is: the
	// process is not frozen so long between its look at the lease and the sending.
	BoundedInsert bool
	// NoticedRemake: a member that reads the log learns, by an error, that it is not
	// the one it began to read, because the topic was made again meanwhile.
	NoticedRemake bool
	// QuietReset: the group's offsets are lost or reset only ReconcileAfter after
	// the last member's last step.
	QuietReset bool
	// SlowTakeover: Kafka gives a partition to another while its owner is frozen only
	// when the owner's lease is over: RebalanceTimeout is more than Lease.
	SlowTakeover bool
	// PlainRemake: a topic is not deleted and made again while the committed offset
	// has no last batch to compare (after it was lost, and before a block), and
	// retention does not reach into one that was made again.
	PlainRemake bool
	// CleanElection: no election makes Kafka lose what it has acknowledged.
	CleanElection bool
	// OrderedRestart: ClickHouse is not restarted within the moment between the look
	// at its uptime and the INSERT that follows.
	OrderedRestart bool
}

// Assumed is all assumptions.
func Assumed() World {
	return World{BoundedInsert: true, NoticedRemake: true, QuietReset: true, SlowTakeover: true, PlainRemake: true, CleanElection: true, OrderedRestart: true}
}

// Faults are kinds of faults, as a set.
type Faults uint16

// The kinds.
const (
	Crash      Faults = 1 << iota // kill -9; the INSERT under way may still be done
	Upgrade                       // a crash, and another version starts in its place
	Rebalance                     // the other member gets the partition; the old owner may not know yet
	LostAnswer                    // of an INSERT: it may be done, at once or later, or never
	LostCommit                    // the answer of a commit: done, or on its way
	PowerLoss                     // ClickHouse restarts, with all rows and without its newest tokens
	LostOffset                    // the committed offset expires, or an operator resets it
	Remake                        // the topic is deleted and made again
	Truncate                      // retention removes the first records
	Unclean                       // an election loses the last records, and others come in their place
	AllFaults  Faults = 1<<iota - 1
)

// Bounds keep a search finite.
type Bounds struct {
	Records int    // at most MaxRecords; the longest log
	Faults  int    // in one course
	Kinds   Faults // which
	States  int    // give up beyond; 0: never
	Parts   int    // tables that a block's rows go to: 1 or 2 (default)
}

// Config is one question to Explore.
type Config struct {
	Rules  Rules
	World  World
	Bounds Bounds
}
