package format

import "math/bits"

// maxCuts is how many separators the quick way through a frame can use: one fewer
// than a format can have columns, and one more to tell that there are too many.
const maxCuts = maxVariables

// cuts are the places of separators in a body. Behind maxCuts there is room for what
// the last block of 64 places may hold.
type cuts [maxCuts + 64 + atOnce]uint32

// atOnce is how many places of a block are written without a look whether there are
// so many. Their number is different in every block, and a branch on it would be
// guessed wrong in most.
const atOnce = 4

// minCuttable is the shortest text in which separators are found by the block: it
// holds 64 places of three bytes.
const minCuttable = 64 + 2

// findCutsGo writes the places of sep in text, which has minCuttable bytes at least, to
// at: those that share bytes with others too. It returns how many there are, or a
// number above maxCuts when there are too many.
//
// This is the plain Go twin of what cuts_amd64.s does.
func findCutsGo(text []byte, sep *[3]byte, at *cuts) (n int) {
	q := [3]uint64{uint64(sep[0]) * ones, uint64(sep[1]) * ones, uint64(sep[2]) * ones}
	for i := 0; i+3 <= len(text) && n <= maxCuts; i += 64 {
		// The last look reaches back over places that were looked at.
		base := min(i, len(text)-minCuttable)
		found := places((*[minCuttable]byte)(text[base:]), &q) >> (i - base) << (i - base)
		count := bits.OnesCount64(found)
		for k := range atOnce {
			at[n+k] = uint32(base + bits.TrailingZeros64(found))
			found &= found - 1
		}
		for k := n + atOnce; found != 0; k++ {
			at[k] = uint32(base + bits.TrailingZeros64(found))
			found &= found - 1
		}
		n += count
	}
	return n
}
