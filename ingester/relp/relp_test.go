package relp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// all cuts data, given to the Parser in pieces, into frames on one line each. An error
// is the last.
func all(max int, pieces ...[]byte) (lines []string, rest int) {
	p := NewParser(max)
	var data []byte
	for _, piece := range pieces {
		data = append(data, piece...)
		for {
			f, n, ok, err := p.Next(data)
			data = data[n:]
			if err != nil {
				return append(lines, "error: "+err.Error()), len(data)
			}
			if !ok {
				break
			}
			lines = append(lines, fmt.Sprintf("%d %s %d %q", f.TXNR, f.Command, f.Size, f.Data))
		}
	}
	return lines, len(data)
}

func TestParser_Success(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		whole, rest := all(100, []byte(in))
		if !slices.Equal(whole, want) || rest != 0 {
			t.Errorf("%q:\nhave %q, %d left\nwant %q", in, whole, rest, want)
		}
		var bytewise [][]byte
		for i := range len(in) {
			bytewise = append(bytewise, []byte{in[i]})
		}
		if pieces, _ := all(100, bytewise...); !slices.Equal(pieces, whole) {
			t.Errorf("%q by the byte:\nhave %q\nwant %q", in, pieces, whole)
		}
	}
	f("1 open 3 a=b\n2 syslog 6 <14>x\n\n3 close 0\n", `1 open 3 "a=b"`, `2 syslog 6 "<14>x\n"`, `3 close 0 ""`)
	f("999999998 a 1 x\n999999999 b 1 y\n1 c 1 z\n", `999999998 a 1 "x"`, `999999999 b 1 "y"`, `1 c 1 "z"`)
	f("007 Open 01 x\n8 syslog 000000001 y\n", `7 Open 1 "x"`, `8 syslog 1 "y"`)
	f("5 "+strings.Repeat("c", 32)+" 100 "+strings.Repeat("x", 100)+"\n", "5 "+strings.Repeat("c", 32)+` 100 "`+strings.Repeat("x", 100)+`"`)
	f("5 syslog 101 "+strings.Repeat("x", 101)+"\n6 syslog 1 x\n", `5 syslog 101 "`+strings.Repeat("x", 101)+`"`, `6 syslog 1 "x"`)
	f("5 syslog 5000 "+strings.Repeat("x", 5000)+"\n6 syslog 1200 "+strings.Repeat("y", 1200)+"\n",
		`5 syslog 5000 "`+strings.Repeat("x", HeadBytes)+`"`, `6 syslog 1200 "`+strings.Repeat("y", HeadBytes)+`"`)
	f("")
}

func TestParser_Failure(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		lines, _ := all(100, []byte(in))
		if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "error: ") || !strings.Contains(lines[len(lines)-1], want) {
			t.Errorf("%q: %q, want an error with %q", in, lines, want)
		}
	}
	f("x", "transaction number")
	f("\n", "transaction number")
	f("0 open 0\n", "transaction number")
	f("1000000000 open 0\n", "transaction number")
	f("-1 open 0\n", "transaction number")
	f("1\topen 0\n", "transaction number")
	f("1 op3n 0\n", "command")
	f("1  0\n", "command")
	f("1 "+strings.Repeat("c", 33), "command")
	f("1 open x", "data length")
	f("1 open 0 ", "data length")
	f("1 open 5\n", "data length")
	f("1 open 1000000000", "data length")
	f("1 open 1 xy", "no line feed behind the 1 bytes of transaction 1")
	f("1 open 101 "+strings.Repeat("x", 102), "no line feed behind the 101 bytes of transaction 1")
	f("1 open 1 x\n3 syslog 1 x\n", "transaction 3 follows 1")
	f("999999999 open 1 x\n2 syslog 1 x\n", "transaction 2 follows 999999999")
}

// TestParser_Allocs: a frame costs nothing.
func TestParser_Allocs(t *testing.T) {
	p := NewParser(1000)
	data := []byte("1 syslog 20 <14>twenty bytes ...\n")
	if n := testing.AllocsPerRun(100, func() {
		p.last = 0
		if _, _, ok, err := p.Next(data); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a frame", n)
	}
}

func TestOffers(t *testing.T) {
	f := func(in string, version int, failure string) {
		t.Helper()
		o, err := ParseOffers([]byte(in))
		switch {
		case failure == "" && (err != nil || o.Version != version):
			t.Errorf("%q: %+v, %v", in, o, err)
		case failure != "" && (err == nil || !strings.Contains(err.Error(), failure)):
			t.Errorf("%q: %v, want %q", in, err, failure)
		}
	}
	f("relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog", 0, "")
	f("\nrelp_version=1\ncommands=eventlog,syslog\nnews\n", 1, "")
	f("relp_version=7\ncommands=syslog", 1, "")
	f("relp_version=1,0\ncommands=syslog", 1, "")
	f("commands=syslog", 0, "no relp_version")
	f("relp_version=one\ncommands=syslog", 0, `"one"`)
	f("relp_version=-1\ncommands=syslog", 0, `"-1"`)
	f("relp_version=1\ncommands=syslogs", 0, "syslog is not offered")
	f("", 0, "no relp_version")
}

func TestAnswers(t *testing.T) {
	b := AppendAccept(nil, 1, Offers{Version: 1}, "millrace")
	b = AppendOK(b, MaxTXNR)
	b = AppendRefusal(b, 2, "why")
	b = AppendServerClose(b)
	want := "1 rsp 60 200 OK\nrelp_version=1\nrelp_software=millrace\ncommands=syslog\n" +
		"999999999 rsp 6 200 OK\n2 rsp 7 500 why\n0 serverclose 0\n"
	if string(b) != want {
		t.Errorf("have %q\nwant %q", b, want)
	}
}

// FuzzRELP: the frames depend on the bytes alone and not on how they are cut into
// reads; what is a frame is found again when it is written anew; nothing is kept of a
// frame that is too long but its head; and offers are read without harm.
func FuzzRELP(f *testing.F) {
	for _, seed := range []string{
		"1 open 81 relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n2 syslog 6 <14>x\n\n3 close 0\n",
		"999999999 syslog 1 x\n1 syslog 1 y\n",
		"4 syslog 70 " + strings.Repeat("x", 70) + "\n5 syslog 1 z\n",
		"1 open 0\n0 serverclose 0\n",
		"1 open 12345678",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	const max = 64
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		whole, rest := all(max, data)
		pieces := slices.Collect(slices.Chunk(data, int(size)+1))
		cut, _ := all(max, pieces...)
		if !slices.Equal(whole, cut) {
			t.Fatalf("in one piece %q\nin pieces of %d %q", whole, int(size)+1, cut)
		}
		if rest > HeaderMax+max+1 && (len(whole) == 0 || !strings.HasPrefix(whole[len(whole)-1], "error: ")) {
			t.Fatalf("%d bytes are neither a frame nor an error", rest)
		}
		p := NewParser(max)
		var again []byte
		for b := data; ; {
			f, n, ok, err := p.Next(b)
			if err != nil || !ok {
				break
			}
			if len(f.Data) > HeadBytes || len(f.Data) > f.Size || f.TooLong != (f.Size > max) {
				t.Fatalf("%d bytes of %d are given out", len(f.Data), f.Size)
			}
			if f.Size <= max {
				again = fmt.Appendf(again, "%d %s %d", f.TXNR, f.Command, f.Size)
				if f.Size > 0 {
					again = append(append(again, ' '), f.Data...)
				}
				again = append(again, '\n')
			} else {
				p.last, again = f.TXNR, nil // the numbers would not follow each other
			}
			if _, err := ParseOffers(f.Data); err == nil && !bytes.Contains(f.Data, []byte("relp_version=")) {
				t.Fatalf("offers without a version are taken: %q", f.Data)
			}
			b = b[n:]
		}
		if _, rest := all(max, again); rest != 0 {
			t.Fatalf("written anew, %d bytes are left of %q", rest, again)
		}
	})
}
