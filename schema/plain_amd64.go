package schema

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

func plainPrefix(v []byte) int {
	if len(v) < 32 || !hasAVX2 {
		return plainPrefixGo(v)
	}
	return plainPrefixAVX2(&v[0], len(v))
}

// plainPrefixAVX2 is plainPrefixGo in steps of 32, the last of which reaches back so
// that it ends with v. There must be 32 bytes.
//
//go:noescape
func plainPrefixAVX2(v *byte, length int) int
