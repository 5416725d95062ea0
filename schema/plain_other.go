//go:build !amd64

package schema

func plainPrefix(v []byte) int { return plainPrefixGo(v) }
