package frames

import (
	"bytes"
	"math"
	"testing"
)

func TestNew(t *testing.T) {
	t.Parallel()
	in, err := New(300)
	if err != nil {
		t.Fatal(err)
	}
	again, err := New(300)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(in.Block, again.Block) {
		t.Error("the frames differ from run to run")
	}
	if len(in.Frames) != 300 || math.Abs(in.MeanBytes()-Mean) > 2 {
		t.Errorf("%d frames of %.1f bytes on average", len(in.Frames), in.MeanBytes())
	}
	for _, f := range in.Frames {
		if bytes.Count(f, []byte(`","`)) != 17 || !bytes.HasSuffix(f, []byte("\"\n")) || bytes.Count(f, []byte("\n")) != 1 {
			t.Fatalf("a frame is %q", f)
		}
	}
	frames, size := 0, 0
	for _, p := range in.Pieces {
		frames, size = frames+p.Frames, size+len(p.Bytes)
		if bytes.Count(p.Bytes, []byte("\n")) != p.Frames {
			t.Errorf("a piece of %d frames has another number of them", p.Frames)
		}
	}
	if frames != len(in.Frames) || size != len(in.Block) {
		t.Errorf("the pieces hold %d frames and %d bytes of %d and %d", frames, size, len(in.Frames), len(in.Block))
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	frame := []byte(`<14>x: "a","Re: [frame 12] of [frame ` + "\"\n")
	marked := AppendMarked([]byte("before"), frame, 4711)
	if n, ok := Mark(marked); !ok || n != 4711 {
		t.Errorf("%q has the number %d, %v", marked, n, ok)
	}
	if n, ok := Mark(frame); ok {
		t.Errorf("%q has the number %d", frame, n)
	}
}
