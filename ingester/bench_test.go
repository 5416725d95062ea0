package ingester

import "testing"

// BenchmarkFrame is a frame's way from the reader's buffer to the open batch, with
// sealing and compressing on the way and a cluster that costs nothing.
func BenchmarkFrame(b *testing.B) {
	frames := mixed(b, 10_000)
	size := 0
	for _, f := range frames {
		size += len(f.Bytes)
	}
	s := newSink(b, true, nil)
	b.SetBytes(int64(size / len(frames)))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := s.Frame(benchPeer, frames[n%len(frames)]); err != nil {
			b.Fatal(err)
		}
		if n%50 == 49 {
			s.Flush()
		}
	}
	s.Flush()
}

// BenchmarkFrameParallel is the same with as many connections as there are cores.
func BenchmarkFrameParallel(b *testing.B) {
	frames := mixed(b, 10_000)
	size := 0
	for _, f := range frames {
		size += len(f.Bytes)
	}
	in := newSink(b, true, nil).in
	b.SetBytes(int64(size / len(frames)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		s := &sink{in: in}
		for n := 0; pb.Next(); n++ {
			if err := s.Frame(benchPeer, frames[n%len(frames)]); err != nil {
				b.Error(err)
				return
			}
			if n%50 == 49 {
				s.Flush()
			}
		}
		s.Flush()
	})
}
