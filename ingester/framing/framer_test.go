package framing

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"millrace/schema"
)

// got is a frame whose bytes are the test's own.
type got struct {
	text   string
	flags  schema.Flag
	reason schema.Reason // Reject or Drop
	size   int
	close  bool
}

func (g got) String() string {
	s := fmt.Sprintf("%q", g.text)
	if g.reason != "" {
		s = fmt.Sprintf("%s(%d) %s", g.reason, g.size, s)
	}
	for _, w := range g.flags.Words() {
		s += " " + w
	}
	if g.close {
		s += " close"
	}
	return s
}

// feed gives the framer the input in the pieces stated, an Idle where a piece is "",
// and EOF at the end, as a connection does. It fails when the framer breaks its promises.
func feed(t testing.TB, f *Framer, pieces ...string) []got {
	t.Helper()
	var frames []got
	var buf []byte
	total, accounted := 0, 0
	take := func(end End) {
		for {
			skippedBefore := f.skip.size
			wasSkipping := f.open == skipping
			frame, n, ok := f.Next(buf, end)
			if n < 0 || n > len(buf) {
				t.Fatalf("advance %d of %d bytes", n, len(buf))
			}
			raw := buf[:n]
			accounted += n
			switch {
			case !ok && !f.dead && f.open != skipping:
				if len(Strip(raw)) != 0 {
					t.Fatalf("%q was consumed without a frame", raw)
				}
			case !ok:
			case frame.Reject != "" && !wasSkipping && frame.Size > n:
				t.Fatalf("a reject of %d bytes took %d", frame.Size, n)
			case frame.Reject != "":
				if frame.Size < skippedBefore || len(frame.Bytes) > frame.Size {
					t.Fatalf("reject: Size %d, skipped %d, Bytes %d", frame.Size, skippedBefore, len(frame.Bytes))
				}
			default:
				// count, bytes, trailers: nothing else may be in what was consumed.
				rest := Strip(bytes.TrimLeft(raw, "\r\n\x00"))
				i := len(rest) - len(frame.Bytes)
				if i < 0 || !bytes.Equal(rest[i:], frame.Bytes) || len(bytes.Trim(rest[:i], "0123456789 ")) != 0 {
					t.Fatalf("frame %q out of %q", frame.Bytes, raw)
				}
				if frame.Size != len(frame.Bytes) {
					t.Fatalf("Size %d of %q", frame.Size, frame.Bytes)
				}
			}
			if ok {
				if frame.Size > f.max && frame.Reject == "" {
					t.Fatalf("a frame of %d bytes passed the limit %d", frame.Size, f.max)
				}
				if frame.Reject != "" && frame.Drop != "" {
					t.Fatalf("both a reject and a drop")
				}
				frames = append(frames, got{string(frame.Bytes), frame.Flags, frame.Reject + frame.Drop, frame.Size, frame.Close})
			}
			buf = buf[n:]
			if !ok {
				break
			}
			if n == 0 && !wasSkipping {
				t.Fatalf("a frame of no bytes: it would come again for ever")
			}
		}
		if len(buf) >= BufferSize(f.max) {
			t.Fatalf("%d bytes wait: more than BufferSize(%d)", len(buf), f.max)
		}
	}
	for _, p := range pieces {
		if p == "" {
			take(Idle)
			continue
		}
		// No more at a time than the buffer has room for, as a connection reads.
		for len(p) > 0 {
			k := min(len(p), BufferSize(f.max)-len(buf))
			buf = append(bytes.Clone(buf), p[:k]...)
			total += k
			p = p[k:]
			take(More)
		}
	}
	take(EOF)
	if accounted != total || len(buf) != 0 {
		t.Fatalf("%d of %d bytes accounted, %d wait", accounted, total, len(buf))
	}
	return frames
}

func show(frames []got) string {
	var b strings.Builder
	for _, g := range frames {
		fmt.Fprintln(&b, g)
	}
	return b.String()
}

func TestFramer(t *testing.T) {
	t.Parallel()
	const max = 64
	long := "<14>" + strings.Repeat("x", 100)
	f := func(name string, mode Mode, input []string, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			have := show(feed(t, New(mode, max), input...))
			if w := strings.Join(append(want, ""), "\n"); have != w {
				t.Errorf("%s, input %q\nhave:\n%swant:\n%s", mode, input, have, w)
			}
		})
	}
	in := func(s ...string) []string { return s }

	f("case 3 LF NUL", Auto, in("<14>A\n\x00<14>B\n\x00"), `"<14>A"`, `"<14>B"`)
	f("case 3 NUL LF", Auto, in("<14>A\x00\n<14>B\x00\n"), `"<14>A"`, `"<14>B"`)
	f("case 3 CRLF", Auto, in("<14>A\r\n<14>B\r\n"), `"<14>A"`, `"<14>B"`)
	f("case 3 in nul mode", NUL, in("<14>A\x00\n<14>B\n\x00"), `"<14>A"`, `"<14>B"`)
	f("case 4", Auto, in("<14>A\x00<14>B\x00"), `"<14>A"`, `"<14>B"`)
	f("case 5", Auto, in("<1", "4>A", "\x00"), `"<14>A"`)
	f("case 6 auto", Auto, in("<14>one\ntwo\x00<14>B\n<14>not one\x00"), `"<14>one\ntwo"`, `"<14>B\n<14>not one"`)
	f("case 6 the first frame can forge in auto", Auto, in("<14>one\n<14>forged\x00"), `"<14>one"`, `"<14>forged"`)
	f("case 6 not in nul", NUL, in("<14>one\n<14>forged\x00"), `"<14>one\n<14>forged"`)
	f("case 7", Auto, in("<14>A\n<14>B\n"), `"<14>A"`, `"<14>B"`)
	f("case 7 idle", Auto, in("<14>A\n", "", "<14>B\n", ""), `"<14>A"`, `"<14>B"`)
	f("case 8", Auto, in("17 <14>\"seven\",\"a\nb\"17 <14>\"seven\",\"a\nb\""), `"<14>\"seven\",\"a\nb\""`, `"<14>\"seven\",\"a\nb\""`)
	f("case 9", Auto, in("99999999999999999999 <14>x"), `frame_too_big(26) "99999999999999999999 <14>x" close`)
	f("case 9 a GiB", Auto, in("1073741824 <"), `frame_too_big(12) "1073741824 <" close`)
	f("case 9 octet", Octet, in("99999999999999999999999999 <14>x"), `frame_too_big(32) "99999999999999999999999999 <14>x" close`)
	f("one above the limit", Auto, in("65 "+long), `frame_too_big(107) "65 `+long+`" close`)
	f("the limit", Auto, in("64 "+long[:64]), `"`+long[:64]+`"`)
	f("case 10 short count", Auto, in("15 <14>\"seven\",\"abc\"19 <14>x"), `"<14>\"seven\",\"ab"`, `bad_frame(10) "c\"19 <14>x" close`)
	f("case 10 long count", Octet, in("7 <14>A7 <14>B5 <14>C"), `"<14>A7 "`, `bad_frame(12) "<14>B5 <14>C" close`)
	f("count then garbage, the rest is not read as frames", Auto, in("1 <23>41 <23>4"), `"<"`, `bad_frame(11) "23>41 <23>4" close`)
	f("case 11 octet", Auto, in("17 <14>A"), `truncated_eof(8) "17 <14>A"`)
	f("case 11 octet, in the count", Octet, in("5 <14>A1"), `"<14>A"`, `truncated_eof(1) "1"`)
	f("case 11 delimiter", Auto, in("<14>A"), `"<14>A" no_trailer`)
	f("case 11 nul", NUL, in("<14>A\n"), `"<14>A" no_trailer`)
	f("case 12 nul", NUL, in(long+"\x00<14>B\x00"), fmt.Sprintf("oversize(104) %q", long), `"<14>B"`)
	f("case 12 lf", LF, in(long+"\n<14>B\n"), fmt.Sprintf("oversize(104) %q", long), `"<14>B"`)
	f("case 12 auto", Auto, in(long+"\n<14>B\n"), fmt.Sprintf("oversize(104) %q", long), `"<14>B"`)
	f("case 12 eof", Auto, in(long), fmt.Sprintf("oversize(104) %q", long))
	f("case 12 idle", Auto, in(long, "", "<14>B\n"), fmt.Sprintf("oversize(104) %q", long), `"<14>B"`)
	f("limit and CRLF", Auto, in(long[:64]+"\r\n<14>B\n"), fmt.Sprintf("%q", long[:64]), `"<14>B"`)
	f("limit and LF NUL", NUL, in(long[:64]+"\n\x00<14>B\x00"), fmt.Sprintf("%q", long[:64]), `"<14>B"`)
	f("limit and one", LF, in(long[:65]+"\n<14>B\n"), fmt.Sprintf("oversize(65) %q", long[:65]), `"<14>B"`)
	f("case 14", Auto, in("<14>\x00"), `empty(4) "<14>"`)
	f("case 14 NULs", Auto, in("\x00\x00\x00"), `empty(0) ""`)
	f("case 14 NULs apart", Auto, in("\x00", "\x00", "\x00"), `empty(0) ""`)
	f("case 14 LF", Auto, in("\n"), `empty(0) ""`)
	f("case 14 BOM", Auto, in("<14>\xEF\xBB\xBF\x00<14>A\x00"), "empty(7) \"<14>\\ufeff\"", `"<14>A"`)
	f("case 14 octet", Octet, in("4 <14>1 \n5 <14>A"), `empty(4) "<14>"`, `empty(0) ""`, `"<14>A"`)
	f("case 24", Auto, in("<14>\"a\",\"b\x00c\"\x00"), `"<14>\"a\",\"b"`, `"c\""`)

	f("all framings on one connection", Auto, in("<14>A\n6 <14>B\n<14>C\r\n5 <14>D<14>E\x00<14>F\n"),
		`"<14>A"`, `"<14>B"`, `"<14>C"`, `"<14>D"`, `"<14>E"`, `"<14>F"`)
	f("LF of the next frame waits for the digit", Auto, in("<14>A\n<", "x\n<1", "4>B\n"), `"<14>A\n<x"`, `"<14>B"`)
	f("LF and a count that is none", Auto, in("<14>A\n17", " apples\x00"), `"<14>A\n17 apples"`)
	f("LF, BOM, PRI", Auto, in("<14>A\n\xEF", "\xBB\xBF<14>B\n"), `"<14>A"`, "\"\\ufeff<14>B\"")
	f("idle ends a frame without delimiter", Auto, in("<14>A", "", "<14>B", ""), `"<14>A" no_trailer`, `"<14>B" no_trailer`)
	f("idle ends none in nul", NUL, in("<14>A", "", "B\x00"), `"<14>AB"`)
	f("idle ends none in lf", LF, in("<14>A", "", "B\n"), `"<14>AB"`)
	f("idle ends no counted frame", Auto, in("6 <14>A", "", "B"), `"<14>AB"`)
	f("idle ends one on a NUL connection too", Auto, in("<14>A\x00<14>B", "", "<14>C\x00"), `"<14>A"`, `"<14>B" no_trailer`, `"<14>C"`)
	f("text that begins with digits", Auto, in("2021-03-09 12:43:51, from, \x002021 was a year\x00"), `"2021-03-09 12:43:51, from, "`, `"2021 was a year"`)
	f("digits alone", Auto, in("123456789012345678901234567890", ""), `"123456789012345678901234567890" no_trailer`)
	f("zero is no count", Auto, in("0 <14>A\x00"), `"0 <14>A"`)
	f("no PRI", Auto, in("\"id\",\"x\"\n", "", "\"id2\"\x00"), `"\"id\",\"x\""`, `"\"id2\""`)
	f("garbage, then a frame", Auto, in("\x16\x03\x01\x02\x00\x01\x00<14>A\x00"), `bad_frame(7) "\x16\x03\x01\x02\x00\x01\x00"`, `"<14>A"`)
	f("garbage, then a count", Auto, in("\x80\x81\x82", "5", " <14>A<14>B\n"), `bad_frame(3) "\x80\x81\x82"`, `"<14>A"`, `"<14>B"`)
	f("garbage, then text", Auto, in("\x01\x02\x00\x03\x00\"i", "d\"\x00"), `bad_frame(5) "\x01\x02\x00\x03\x00"`, `"\"id\""`)
	f("garbage alone", Auto, in("\x01\x02\x03", "", "<14>A\n"), `bad_frame(3) "\x01\x02\x03"`, `"<14>A"`)
	f("octet mode wants counts", Octet, in("<14>A\n"), `bad_frame(6) "<14>A\n" close`)
	f("octet mode takes a trailer", Octet, in("5 <14>A\n5 <14>B\r\n"), `"<14>A"`, `"<14>B"`)
	f("lf mode keeps NUL", LF, in("<14>A\x00B\n\x00<14>C\n"), `"<14>A\x00B"`, `"<14>C"`)
}

func TestModes(t *testing.T) {
	t.Parallel()
	for _, m := range []Mode{Auto, NUL, LF, Octet} {
		if back, err := ParseMode(m.String()); err != nil || back != m {
			t.Errorf("ParseMode(%q) = %v, %v", m, back, err)
		}
	}
	if _, err := ParseMode("newline"); err == nil || !strings.Contains(err.Error(), `"newline"`) || !strings.Contains(err.Error(), "auto, nul, lf, octet") {
		t.Errorf("ParseMode(newline): %v", err)
	}
}

// soup is random input made of the pieces that framing decides on.
func soup(r *rand.Rand, n int) string {
	atoms := []string{"<14>", "<", "1", "5 <14>A", "17 ", "9999 <", "\n", "\r\n", "\x00", "\x00\x00", "A", "text, \"quoted\"", "\xEF\xBB\xBF", "\xEF", "\x01", "\x80", " ",
		"<14>event\x00", "<14>event\n", "12 <14>counted!", strings.Repeat("long", 20), "0", "\t", ">"}
	var b strings.Builder
	for range n {
		b.WriteString(atoms[r.IntN(len(atoms))])
	}
	return b.String()
}

// sameFrames: where a connection is given up, how much of it had been read is chance.
func sameFrames(a, b []got) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.close && y.close {
			x.text, y.text, x.size, y.size = "", "", 0, 0
		}
		if x != y {
			return false
		}
	}
	return true
}

func pieces(r *rand.Rand, s string) []string {
	var p []string
	for len(s) > 0 {
		k := 1 + r.IntN(min(len(s), 1+r.IntN(40)))
		p = append(p, s[:k])
		s = s[k:]
	}
	return p
}

func TestSplittingChangesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		mode := Mode(r.IntN(4))
		max := []int{20, 64, 3000}[r.IntN(3)]
		input := soup(r, 1+r.IntN(60))
		whole := feed(t, New(mode, max), input)
		for range 4 {
			p := pieces(r, input)
			if parts := feed(t, New(mode, max), p...); !sameFrames(whole, parts) {
				t.Fatalf("seed %d, %s, limit %d, input %q\nwhole:\n%spieces %q:\n%s", seed, mode, max, input, show(whole), p, show(parts))
			}
		}
	}
}

func TestLongRejectKeepsItsFirstKiB(t *testing.T) {
	t.Parallel()
	input := strings.Repeat("0123456789", 20000)
	for _, mode := range []Mode{Auto, NUL, LF} {
		frames := feed(t, New(mode, 0), "<14>"+input+"\n\x00", "", "<14>B\n\x00")
		if len(frames) != 2 || frames[0].reason != schema.ReasonOversize || frames[0].size < len(input)+4 || frames[0].text != ("<14>" + input)[:RejectHead] || frames[1].text != "<14>B" {
			t.Errorf("%s: %.300s", mode, show(frames))
		}
	}
}

func TestGarbageIsOneRejectARun(t *testing.T) {
	t.Parallel()
	garbage := bytes.Repeat([]byte{1, 2, 0, 3, '\n', 4, 0x80}, 50000)
	frames := feed(t, New(Auto, 0), string(garbage)+"<14>A\x00")
	if len(frames) != 2 || frames[0].size != len(garbage) || len(frames[0].text) != RejectHead || frames[1].text != "<14>A" {
		t.Errorf("%.300s", show(frames))
	}
}

func stream(trailer string, n int) []byte {
	frame := "<14>" + strings.Repeat(`"some value",`, 30) + `"end"`
	if trailer == "count" {
		frame = fmt.Sprintf("%d %s", len(frame), frame)
		trailer = ""
	}
	return bytes.Repeat([]byte(frame+trailer), n)
}

func TestNextDoesNotAllocate(t *testing.T) {
	for _, trailer := range []string{"\n", "\x00", "\r\n", "count"} {
		data := stream(trailer, 200)
		f := New(Auto, 0)
		frames := 0
		if n := testing.AllocsPerRun(20, func() {
			for rest := data; ; {
				_, n, ok := f.Next(rest, More)
				rest = rest[n:]
				if !ok {
					f.Reset(Auto, 0)
					return
				}
				frames++
			}
		}); n != 0 {
			t.Errorf("trailer %q: %v allocations", trailer, n)
		}
		if frames < 199 {
			t.Errorf("trailer %q: %d frames", trailer, frames)
		}
	}
}

func FuzzFramer(f *testing.F) {
	for i := range uint64(40) {
		r := rand.New(rand.NewPCG(i, 2))
		f.Add(uint8(i%4), uint16(20+i*5), uint64(i), []byte(soup(r, 20)))
	}
	f.Fuzz(func(t *testing.T, mode uint8, max uint16, seed uint64, input []byte) {
		limit := 1 + int(max)%5000
		whole := feed(t, New(Mode(mode%4), limit), string(input))
		r := rand.New(rand.NewPCG(seed, 3))
		p := pieces(r, string(input))
		if parts := feed(t, New(Mode(mode%4), limit), p...); !sameFrames(whole, parts) {
			t.Fatalf("%s, limit %d\nwhole:\n%spieces %q:\n%s", Mode(mode%4), limit, show(whole), p, show(parts))
		}
		// With idle times anywhere the frames may differ; the promises may not.
		for i := range r.IntN(4) {
			k := r.IntN(len(p) + 1)
			p = append(p[:k:k], append(make([]string, 1+i*6), p[k:]...)...)
		}
		feed(t, New(Mode(mode%4), limit), p...)
	})
}

func BenchmarkNext(b *testing.B) {
	for _, c := range []struct{ name, trailer string }{{"LF", "\n"}, {"NUL", "\x00"}, {"CRLF", "\r\n"}, {"count", "count"}} {
		b.Run("trailer="+c.name, func(b *testing.B) {
			data := stream(c.trailer, 256<<10/400)
			f := New(Auto, 0)
			b.SetBytes(int64(len(data)) * int64(1))
			b.ReportAllocs()
			frames := 0
			for b.Loop() {
				rest := data
				for {
					_, n, ok := f.Next(rest, More)
					rest = rest[n:]
					if !ok {
						break
					}
					frames++
				}
				f.Reset(Auto, 0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/frame")
		})
	}
}

// TestDelimiters: how a frame ended and what was stripped around it is told, and does
// not depend on how the network cut the bytes.
func TestDelimiters(t *testing.T) {
	t.Parallel()
	f := func(mode Mode, input, want string) {
		t.Helper()
		for _, step := range []int{len(input), 1, 2, 3} {
			framer, data, got := New(mode, 0), []byte(nil), ""
			for at := 0; ; at += step {
				end := More
				if at >= len(input) {
					end = EOF
				} else {
					data = append(data, input[at:min(at+step, len(input))]...)
				}
				for {
					frame, n, ok := framer.Next(data, end)
					data = data[n:]
					if !ok {
						break
					}
					if frame.Drop == "" {
						got += fmt.Sprintf("(%s) %q %s (%s), ", frame.Lead, frame.Bytes, frame.Ended, frame.Trailer)
					}
				}
				if end == EOF {
					break
				}
			}
			if got = strings.TrimSuffix(got, ", "); got != want {
				t.Errorf("%v, %d bytes a read: %q\n got %s\nwant %s", mode, step, input, got, want)
			}
		}
	}
	f(Auto, "<1>a\x00<2>b\x00", `() "<1>a" nul (NUL), () "<2>b" nul (NUL)`)
	f(Auto, "<1>a\r\n<2>b\n", `() "<1>a" lf (CR LF), () "<2>b" lf (LF)`)
	f(Auto, "<1>a\n\x00<2>b\x00\n\n<3>c", `() "<1>a" nul (LF NUL), () "<2>b" nul (NUL), (LF LF) "<3>c" eof ()`)
	f(Auto, "4 <1>a6 <2>b\r\n", `() "<1>a" octet (), () "<2>b" octet (CR LF)`)
	f(LF, "<1>a\n\x00<2>b\n", `() "<1>a" lf (LF), (NUL) "<2>b" lf (LF)`)
	f(NUL, "<1>a\n\n\n\n\n\n\n\n\n\x00<2>b\x00", `() "<1>a" nul (LF LF LF LF LF LF LF LF), () "<2>b" nul (NUL)`)
	if whole := Whole([]byte("<1>a\n\x00")); whole.Ended != ByTransport || string(whole.Trailer.Append(nil)) != "\n\x00" {
		t.Errorf("a datagram: %v, %v", whole.Ended, whole.Trailer)
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]Mode{
		"":                       LF,
		"<1>a\n<2>b\n":           LF,
		"<1>a\x00<2>b\n\x00":     NUL,
		"4 <1>a6 <2>b\x00\n":     Octet,
		"4 <1>a6 <2>b\x00":       Octet, // cut in its last frame
		"4 abcd3 a\x00b":         Octet, // no PRI
		"4 apples\n12 pears\n":   LF,
		"4 <1>a<2>b":             LF,
		"99999999999999999999 x": LF,
		"10 green bottles\n":     LF,
	} {
		if got := Detect([]byte(input)); got != want {
			t.Errorf("%q: %v, want %v", input, got, want)
		}
	}
}

// FuzzDetect: of any bytes it makes one of three answers, and Octet only where the framer
// finds frames; frames that are counted are found to be, whatever is in them, also when
// the last of several was cut.
func FuzzDetect(f *testing.F) {
	for i := range uint64(20) {
		f.Add(i, []byte(soup(rand.New(rand.NewPCG(i, 4)), 20)))
	}
	for _, s := range []string{"4 <1>a6 <2>b\x00\n", "4 <1>a99999999999999999999999x", "10 green bottles\n", "4 <1>a\x006 <2>b\x00"} {
		f.Add(uint64(0), []byte(s))
	}
	f.Fuzz(func(t *testing.T, seed uint64, input []byte) {
		switch mode, holds := Detect(input), bytes.IndexByte(input, 0) >= 0; mode {
		case Octet:
			frames := feed(t, New(Octet, 1<<20), string(input))
			for i, frame := range frames {
				if cut := frame.reason == schema.ReasonTruncatedEOF || frame.reason == schema.ReasonFrameTooBig; frame.reason == schema.ReasonBadFrame || cut && (i == 0 || i < len(frames)-1) {
					t.Errorf("%q is said to have octet counts\n%s", input, show(frames))
				}
			}
			if len(frames) == 0 {
				t.Errorf("%q is said to have octet counts, and has no frame", input)
			}
		case NUL, LF:
			if holds != (mode == NUL) {
				t.Errorf("%q: %v", input, mode)
			}
		default:
			t.Errorf("%q: %v is no answer", input, mode)
		}

		counted, last := "", 0
		for _, p := range pieces(rand.New(rand.NewPCG(seed, 5)), string(input)) {
			if p != "" {
				last = len(counted)
				counted += fmt.Sprintf("%d %s", len(p), p)
			}
		}
		if counted == "" {
			return
		}
		if mode := Detect([]byte(counted)); mode != Octet {
			t.Errorf("%q: %v", counted, mode)
		}
		if cut := counted[:len(counted)-1]; last > 0 && strings.Contains(cut[last:], " ") && Detect([]byte(cut)) != Octet {
			t.Errorf("%q is cut in its last frame: %v", cut, Detect([]byte(cut)))
		}
	})
}
