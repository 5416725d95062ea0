package crashpoint

// Points are all there are. A step of the transformer that is not among them ends a
// build with the tag, and a point that no test arms, or that is never reached, fails
// e2e's TestCrashPoints.
var Points = []string{
	// A partition is taken over.
	"looked",    // Kafka's offset, mark and bounds are read
	"recovered", // what ClickHouse has is known and mended; the first commit is next
	"settled",   // that is acknowledged

	// A block goes its way.
	"sealed",    // the range is cut; the intent's commit is next
	"announced", // that is acknowledged
	"insert",    // the INSERTs are next
	"attempt",   // the lease is looked at; the INSERT is next
	"halfsent",  // half of the block's bytes are on their way
	"failed",    // ClickHouse has not taken the block, and it is to be tried again
	"half",      // the events are inserted; the rejects are next
	"inserted",  // both are; no commit says so
	"confirmed", // a commit does, and nothing follows

	// Another's range is finished.
	"found",       // ClickHouse has said which rows of it are there
	"reread",      // its records are fetched and decoded again
	"reannounced", // the intent is committed again
	"redone",      // the rows are inserted, or were there; the commit is next

	// Rows of which no intent tells are compared with the log.
	"reconciling", // what is missing is announced
	"reconciled",  // and inserted
	"between",     // and confirmed; more is to come

	// A stop, and the end of a generation.
	"draining", // a stop was asked for; what is open is not yet inserted
	"drained",  // it is inserted and confirmed; the group is not yet left
	"ending",   // the generation is over, and a commit of what is inserted is next
}
