// Package insert writes blocks into ClickHouse, and asks it what is already
// there.
//
// One Insert is one INSERT of exactly one native block under a deduplication
// token: repeated with the same rows and the same token, a block lands once,
// whatever became of the attempts before. Any error leaves the outcome unknown,
// an exception from the server included, because a part may be committed before
// a later step fails.
//
// The driver dials, asks and answers; the block itself goes from its own memory to the
// driver's socket (see lane). A lane belongs to one Insert at a time.
//
// Insert borrows the block until it returns, or for ever when it was cancelled, and
// changes nothing in it. All methods are safe for concurrent use.
package insert
