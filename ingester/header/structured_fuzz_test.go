package header

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzStructuredData: whatever stands between the brackets is read, or refused,
// twice in the same way; and what is written by the rules is read as it was.
func FuzzStructuredData(f *testing.F) {
	for _, s := range []string{
		`[x a="q\"\]\\"]`, `[a b="c"][d]`, `[a b="c" b="d"]`, `[]`, `[a b="c"`, `[a b=c]`, `-`, `[a@32473 b="]"]`, "[a b=\"\x00\xff\"]", `[a][a][a x=""]`,
	} {
		f.Add([]byte(s), "id", "name", s)
	}
	f.Fuzz(func(t *testing.T, data []byte, id, name, value string) {
		before := bytes.Clone(data)
		read := func(b []byte) (string, int, error) {
			var all strings.Builder
			n := 0
			err := EachParam(b, func(k, v []byte) { all.WriteString(string(k) + "\x00" + string(v) + "\x00"); n++ })
			return all.String(), n, err
		}
		once, n, err1 := read(data)
		twice, _, err2 := read(data)
		if once != twice || (err1 == nil) != (err2 == nil) || n > len(data) {
			t.Errorf("%q is read as %q, %v and as %q, %v", data, once, err1, twice, err2)
		}
		if !bytes.Equal(data, before) {
			t.Errorf("%q was changed to %q", before, data)
		}
		if !plainName(id) || !plainName(name) || strings.ContainsAny(value, "\x00\r\n") || strings.ToValidUTF8(value, "") != value {
			return
		}
		written := "[" + id + " " + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(value) + `"]`
		if got, _, err := read([]byte(written)); err != nil || got != id+"."+name+"\x00"+value+"\x00" {
			t.Errorf("%q is read as %q, %v", written, got, err)
		}
	})
}

// plainName: an SD-NAME of RFC 5424.
func plainName(s string) bool {
	if len(s) == 0 || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '=' || c == ']' || c == '"' {
			return false
		}
	}
	return true
}
