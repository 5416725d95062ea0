package source

import (
	"slices"
	"testing"
)

func TestParseIdentities(t *testing.T) {
	t.Parallel()
	f := func(text, user string, want ...string) {
		t.Helper()
		got, err := parseIdentities(text, "example.com", user)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
	f("", "a")
	f(`""`, "a")
	f("bob@example.com\r\nal@example.com\nbob@example.com\n\n", "a", "bob@example.com", "al@example.com")
	f("example.com,a,bob\nexample.com,b,al\n", "a", "bob")
	f("example.com,a,bob\nexample.com,b,al\n", "*", "bob", "al")
	f("\"a\",\"b, c\"\n,d", "a", "b, c", "d")
	f(`["bob", {"identity": "al", "username": "a"}, {"identity": "eve", "username": "b"}, {"identity": "joe", "domain": "example.net"}]`, "a", "bob", "al")
	f("[]", "a")
	for _, text := range []string{"[1]", "[{}]", "[", "a,b,c,d"} {
		if got, err := parseIdentities(text, "example.com", "a"); err == nil {
			t.Errorf("%q is %q", text, got)
		}
	}
}

func TestCallURL(t *testing.T) {
	t.Parallel()
	e, _, _, err := ParseEndpoint("https://filter.example.com")
	if err != nil {
		t.Fatal(err)
	}
	got := e.callURL("api_lock_outgoing_identity", "domain", "example.com", "identity", "a b&c=d+e@é", "username", "*")
	if want := "https://filter.example.com/cgi-bin/api?call=api_lock_outgoing_identity&domain=example.com&identity=a%20b%26c%3Dd%2Be%40%C3%A9&username=%2A"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
