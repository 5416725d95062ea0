package fetch

import (
	"math/bits"
	"sync"
)

// Buffer is pooled memory for one record set. It is returned by Chunk.Release;
// after a request that did not complete it is left to the garbage collector,
// because the connection may still be writing into it.
type Buffer struct{ b []byte }

const (
	minClass = 12 // 4 KiB
	maxClass = 23 // 8 MiB: bigger ones are rare and not kept
)

var pools [maxClass + 1]sync.Pool

// getBuffer returns a buffer of size bytes.
func getBuffer(size int) *Buffer {
	class := max(bits.Len(uint(max(size, 1)-1)), minClass)
	if class > maxClass {
		return &Buffer{make([]byte, size)}
	}
	if p, ok := pools[class].Get().(*Buffer); ok {
		p.b = p.b[:size]
		return p
	}
	return &Buffer{make([]byte, size, 1<<class)}
}

func (b *Buffer) put() {
	class := bits.Len(uint(cap(b.b))) - 1
	if class >= minClass && class <= maxClass && cap(b.b) == 1<<class {
		pools[class].Put(b)
	}
}
