package format

import "golang.org/x/sys/cpu"

// hasAVX2 tells whether findCutsAVX2 can run here: every server processor since 2015.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasBMI1 && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT

func findCuts(text []byte, sep *[3]byte, at *cuts) int {
	if !hasAVX2 {
		return findCutsGo(text, sep, at)
	}
	return findCutsAVX2(&text[0], len(text), sep, at)
}

// findCutsAVX2 is findCutsGo, 32 places at a time.
//
//go:noescape
func findCutsAVX2(text *byte, length int, sep *[3]byte, at *cuts) int
