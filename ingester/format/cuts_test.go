package format

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzCuts: the assembly, its twin in Go and a search byte by byte find the same.
func FuzzCuts(f *testing.F) {
	f.Add(frame(f, "m1"), []byte(`","`), 0)
	f.Add(bytes.Repeat([]byte(`,`), 200), []byte(`,,,`), 1)
	f.Add(bytes.Repeat([]byte(`,"`), 60), []byte(`,",`), 2)
	f.Add(bytes.Repeat([]byte("\x00\x01\x80\xff"), 50), []byte("\xff\x00\x01"), 3)
	f.Add(bytes.Repeat([]byte(`","`), 23), []byte(`","`), 0)
	f.Fuzz(func(t *testing.T, text, sep []byte, from int) {
		if len(sep) != 3 || from < 0 || from > len(text) || len(text)-from < minCuttable {
			return
		}
		text = slices.Clip(text[from:])
		var want []uint32
		for i := 0; i+3 <= len(text); i++ {
			if bytes.Equal(text[i:i+3], sep) {
				want = append(want, uint32(i))
			}
		}
		for name, find := range map[string]func([]byte, *[3]byte, *cuts) int{"the fastest": findCuts, "plain Go": findCutsGo} {
			var at cuts
			n := find(text, (*[3]byte)(sep), &at)
			if n > maxCuts && len(want) > maxCuts {
				continue
			}
			if !slices.Equal(at[:n], want) {
				t.Errorf("%s finds %q in %q at %v, it is at %v", name, sep, text, at[:n], want)
			}
		}
	})
}

func BenchmarkCuts(b *testing.B) {
	text := frame(b, "m1", "subject_header", string(bytes.Repeat([]byte("Re: offer "), 12)))
	for name, find := range map[string]func([]byte, *[3]byte, *cuts) int{"fastest": findCuts, "go": findCutsGo} {
		b.Run("by="+name, func(b *testing.B) {
			var at cuts
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				find(text, (*[3]byte)([]byte(`","`)), &at)
			}
		})
	}
}
