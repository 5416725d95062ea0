//go:build !amd64

package format

func findCuts(text []byte, sep *[3]byte, at *cuts) int { return findCutsGo(text, sep, at) }
