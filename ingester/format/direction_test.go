package format

import (
	"testing"

	"millrace/schema"
)

func TestDirection(t *testing.T) {
	own := Domains{"example.net": {}, "xn--bcher-kva.example": {}}
	f := func(listener string, own Domains, want string, fields ...string) {
		t.Helper()
		s, err := NewSet(Builtin(), Options{Direction: listener, Own: own})
		if err != nil {
			t.Fatal(err)
		}
		body := frame(t, "m3", fields...)
		if got := decode(t, s, body).get("direction"); got != want {
			t.Errorf("listener %s, %q: %s, want %s", listener, fields, got, want)
		}
		var d Decoder
		var e schema.Event
		if n := testing.AllocsPerRun(50, func() { d.Decode(s, body, &e, Context{Received: testReceived}) }); n != 0 {
			t.Errorf("%q: %v allocations", fields, n)
		}
	}
	nobody := []string{"auth_user", "", "identity", ""}
	with := func(more ...string) []string { return append(append([]string{}, nobody...), more...) }
	f("incoming", nil, "outgoing", "auth_user", "bob", "identity", "")
	f("incoming", own, "outgoing", "auth_user", "", "identity", "web1", "recipient", "a@example.net")
	f("incoming", nil, "incoming", with("sender", "a@example.net")...)
	f("unknown", own, "incoming", with("sender", "a@example.org", "recipient", "b@EXAMPLE.net")...)
	f("unknown", own, "outgoing", with("sender", "a@xn--bcher-kva.example", "recipient", "b@example.org")...)
	f("outgoing", own, "incoming", with("sender", "forged@example.net", "recipient", "b@example.net")...)
	f("unknown", own, "unknown", with("sender", "a@sub.example.net", "recipient", "b@notexample.net")...)
	f("outgoing", own, "outgoing", with("sender", "", "recipient", "")...)
	f("unknown", own, "outgoing", with("sender", "a@b@example.net", "recipient", "x")...)
}
