package tap

import (
	"net/url"
	"reflect"
	"testing"
)

// FuzzRequest: the query of a URL says what to show, or is refused; the order in
// which its keys are looked at changes nothing.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"", "kind=message,status&rate=10", "domain=example.com&domain=.example.net", "peer=192.0.2.0/24,2001:db8::1", "reason=short&contains=a%00b&count=5",
		"rate=-1", "rate=NaN", "rate=Inf", "rate=1e400", "for=-1s", "for=10s&max_bytes=18446744073709551616", "kind=x&unknown=z", "listener=in,out,", "peer=::ffff:192.0.2.1/120",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		r, err := ParseRequest(q, []string{"in", "out"})
		again, err2 := ParseRequest(q, []string{"in", "out"})
		if (err == nil) != (err2 == nil) || err == nil && !reflect.DeepEqual(r, again) {
			t.Fatalf("%q: %+v, %v, and %+v, %v", query, r, err, again, err2)
		}
		if err != nil {
			return
		}
		if !(r.Rate >= 0) || r.For < 0 {
			t.Fatalf("%q: %+v", query, r)
		}
		for _, p := range r.Peers {
			if !p.IsValid() {
				t.Fatalf("%q: %+v", query, r)
			}
		}
	})
}
