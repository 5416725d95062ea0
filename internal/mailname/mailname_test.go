package mailname_test

import (
	"testing"

	"millrace/internal/mailname"
)

func TestDomain(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if got, err := mailname.Domain(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	f("example.com", "example.com")
	f(" EXAMPLE.Com. ", "example.com")
	f("Bücher.example", "xn--bcher-kva.example")
	f("BÜCHER.EXAMPLE", "xn--bcher-kva.example")
	f("xn--bcher-kva.example", "xn--bcher-kva.example")
	f("XN--BCHER-KVA.example", "xn--bcher-kva.example")
	f("faß.example", "xn--fa-hia.example")
	f("例え。テスト", "xn--r8jz45g.xn--zckzah")
	f("_dmarc.example.com", "_dmarc.example.com")
	f("localhost", "localhost")
	f("", "")
	f(".", "")
	f("a b.example", "")
	f("a/b", "")
	f("*", "")
	f("a@b.example", "")
	f("a..example", "")
	f("xn--zzzzzz--.example", "")
}

func TestAddress(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if got, err := mailname.Address(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	f("Bob@Example.COM", "bob@example.com")
	f("<bob@example.com>", "bob@example.com")
	f("Jürgen@Bücher.example", "jürgen@xn--bcher-kva.example")
	f(`"a@b"@example.com`, `"a@b"@example.com`)
	f("@example.com", "")
	f("bob", "")
	f("bob@", "")
	f("bob smith@example.com", "")
	f("bob\x00@example.com", "")
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if got := mailname.Identity(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	f(" Bob@Example.COM ", "bob@example.com")
	f("Customer 4711", "Customer 4711")
	f("192.0.2.1", "192.0.2.1")
}

func TestMailbox(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if got, err := mailname.Mailbox(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	f(" Abuse+outgoing@Bücher.example ", "Abuse+outgoing@xn--bcher-kva.example")
	f("a@b.example\r\nBcc: c@d.example", "")
	f("a@b.example> NOTIFY=NEVER", "")
	f("a\r\nRSET@b.example", "")
	f("a,b@c.example", "")
	f("jürgen@c.example", "")
	f(`"a b"@c.example`, "")
	f("a..b@c.example", "")
	f("@c.example", "")
	f("bob", "")
	f("", "")
}
