package clean

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// prefix is a length up to which v is ASCII without NUL; more may follow.
func prefix(v []byte) int {
	if len(v) < 32 || !hasAVX2 {
		return 0
	}
	return prefixAVX2(&v[0], len(v))
}

// prefixAVX2 looks in steps of 32, the last of which reaches back so that it ends
// with v. There must be 32 bytes.
//
//go:noescape
func prefixAVX2(v *byte, length int) int
