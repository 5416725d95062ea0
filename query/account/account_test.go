package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/query/state"
	"millrace/query/state/statetest"
)

var (
	by   = state.By{Actor: "cli:root", How: state.CLI}
	here = netip.MustParseAddr("192.0.2.1")
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a time that tests move.
type clock struct {
	mutex sync.Mutex
	now   time.Time
}

func (c *clock) Now() time.Time { c.mutex.Lock(); defer c.mutex.Unlock(); return c.now }
func (c *clock) add(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now = c.now.Add(d)
}

func accounts(t *testing.T) (*Accounts, *clock) {
	t.Helper()
	c := &clock{now: time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)}
	return New(statetest.Open(t), Options{Now: c.Now}), c
}

const password = "correct horse"

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	a, _ := accounts(t)
	must(t, a.Add(t.Context(), by, state.User{Name: "Joe", Role: "domain", Domains: []string{"Example.COM", "bücher.example", "example.com."}, Addresses: []string{"x@example.com"}}, password))
	for range 2 { // the second time it is remembered
		p, err := a.Authenticate(t.Context(), " JOE ", password, here)
		must(t, err)
		if p.Name != "joe" || p.Role != Domain || !slices.Equal(p.Domains, []string{"example.com", "xn--bcher-kva.example"}) || p.Addresses != nil {
			t.Errorf("%+v", p)
		}
	}
	f := func(name, password string) {
		t.Helper()
		if p, err := a.Authenticate(t.Context(), name, password, here); !errors.Is(err, ErrDenied) || p.Name != "" {
			t.Errorf("%q %q: %+v %v", name, password, p, err)
		}
	}
	f("joe", "wrong")
	f("joe", "")
	f("joe", password+"\x00")
	f("joe\x00", password)
	f("joe", strings.Repeat("x", maxPassword+1))
	f("", "")
	f("nobody", password)

	// The hash stands nowhere in what is given out, and is argon2id.
	if u := a.Users(); len(u) != 1 || u[0].Password != "" {
		t.Errorf("%+v", u)
	}
	if u, _ := a.store.Snapshot().User("joe"); !strings.HasPrefix(u.Password, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%q", u.Password)
	}
	// A change ends what was remembered.
	must(t, a.SetPassword(t.Context(), by, "joe", "another password"))
	f("joe", password)
	if _, err := a.Authenticate(t.Context(), "joe", "another password", here); err != nil {
		t.Error(err)
	}
	must(t, a.Set(t.Context(), by, "joe", func(u *state.User) error { u.Disabled = true; u.Password = "none"; return nil }))
	f("joe", "another password")
	must(t, a.Set(t.Context(), by, "joe", func(u *state.User) error { u.Disabled = false; return nil }))
	if _, err := a.Authenticate(t.Context(), "joe", "another password", here); err != nil {
		t.Error("Set has changed the password:", err)
	}
	must(t, a.Remove(t.Context(), by, "joe"))
	f("joe", "another password")
}

func TestAdd_Failure(t *testing.T) {
	t.Parallel()
	a, _ := accounts(t)
	f := func(u state.User, password, want string) {
		t.Helper()
		if err := a.Add(t.Context(), by, u, password); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", u, err, want)
		}
	}
	admin := state.User{Name: "a", Role: "admin"}
	must(t, a.Add(t.Context(), by, admin, ""))
	f(admin, "", `there is one of that name`)
	f(state.User{Name: "", Role: "admin"}, "", "empty")
	f(state.User{Name: "a:b", Role: "admin"}, "", "colon")
	f(state.User{Name: "a b", Role: "admin"}, "", "space")
	f(state.User{Name: "b", Role: "root"}, "", `"root": want admin, domain or email`)
	f(state.User{Name: "b", Role: "domain"}, "", "--domain")
	f(state.User{Name: "b", Role: "email", Domains: []string{"example.com"}}, "", "--address")
	f(state.User{Name: "b", Role: "domain", Domains: []string{"a b"}}, "", "a b")
	f(state.User{Name: "b", Role: "admin"}, "short", "at least 10")
	f(state.User{Name: "b", Role: "admin"}, strings.Repeat("x", 2000), "at most 1024")
	if _, err := a.Authenticate(t.Context(), "a", "", here); !errors.Is(err, ErrDenied) {
		t.Errorf("a user without a password: %v", err)
	}
	for _, err := range []error{
		a.Set(t.Context(), by, "nobody", func(*state.User) error { return nil }),
		a.SetPassword(t.Context(), by, "nobody", password), a.Remove(t.Context(), by, "nobody"),
	} {
		if !errors.Is(err, ErrNoUser) {
			t.Error(err)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	a, c := accounts(t)
	must(t, a.Add(t.Context(), by, state.User{Name: "joe", Role: "email", Addresses: []string{"Joe@Example.com"}}, ""))
	text, token, err := a.AddToken(t.Context(), by, "joe", "backup", c.Now().Add(time.Hour))
	must(t, err)
	if !strings.HasPrefix(text, "mr_") || token.Hash != "" || token.Last4 != text[len(text)-4:] || !IsToken(text) {
		t.Errorf("%q %+v", text, token)
	}
	p, err := a.AuthenticateToken(t.Context(), text, here)
	if err != nil || p.Name != "joe" || p.Token != token.ID || !slices.Equal(p.Addresses, []string{"joe@example.com"}) {
		t.Errorf("%+v %v", p, err)
	}
	f := func(name, text string) {
		t.Helper()
		if p, err := a.AuthenticateToken(t.Context(), text, here); !errors.Is(err, ErrDenied) || p.Name != "" {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	f("nothing", "")
	f("cut", text[:len(text)-1])
	f("the id alone", "mr_"+token.ID)
	f("another secret", text[:len(text)-1]+"!")
	f("another id", "mr_0000000000"+text[13:])
	// In the log is its hash alone.
	raw, _, _ := a.store.Snapshot().Raw(state.TokenKey(token.ID))
	if strings.Contains(string(raw), text[15:]) {
		t.Errorf("%s", raw)
	}
	forever, kept, err := a.AddToken(t.Context(), by, "joe", "", time.Time{})
	must(t, err)
	if l := a.Tokens("JOE"); len(l) != 2 || l[0].Hash != "" || len(a.Tokens("jim")) != 0 {
		t.Errorf("%+v", l)
	}
	c.add(2 * time.Hour)
	f("over", text)
	if _, err := a.AuthenticateToken(t.Context(), forever, here); err != nil {
		t.Error(err)
	}
	must(t, a.RevokeToken(t.Context(), by, token.ID, ""))
	if err := a.RevokeToken(t.Context(), by, token.ID, ""); err == nil {
		t.Error("revoked twice")
	}
	must(t, a.Remove(t.Context(), by, "joe"))
	f("of a removed user", forever)
	if _, there := a.store.Snapshot().Token(kept.ID); there {
		t.Error("the token outlives its user")
	}
	if _, _, err := a.AddToken(t.Context(), by, "joe", "", time.Time{}); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	a, c := accounts(t)
	must(t, a.Add(t.Context(), by, state.User{Name: "joe", Role: "admin"}, password))
	must(t, a.Add(t.Context(), by, state.User{Name: "jim", Role: "admin"}, password))
	try := func(name, password, from string) error {
		_, err := a.Authenticate(t.Context(), name, password, netip.MustParseAddr(from))
		return err
	}
	must(t, try("jim", password, "192.0.2.9")) // and is remembered
	var limited *LimitedError
	for i := range 10 {
		if err := try("joe", "wrong password", fmt.Sprintf("192.0.2.%d", i)); !errors.Is(err, ErrDenied) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	if err := try("JOE", password, "192.0.2.77"); !errors.As(err, &limited) || limited.Retry <= 0 || limited.Retry > 30*time.Second {
		t.Errorf("the eleventh: %v", err)
	}
	c.add(31 * time.Second)
	must(t, try("joe", password, "192.0.2.77"))

	// One network tries many names; IPv6 in one /64 is one network.
	for i := range 30 {
		if err := try(fmt.Sprint("user", i), "wrong password", fmt.Sprintf("2001:db8::%x", i+1)); !errors.Is(err, ErrDenied) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	if err := try("jack", password, "2001:db8::ffff"); !errors.As(err, &limited) {
		t.Errorf("from the same network: %v", err)
	}
	if err := try("jack", password, "2001:db8:0:1::1"); !errors.Is(err, ErrDenied) {
		t.Errorf("from another network: %v", err)
	}
	must(t, try("jim", password, "2001:db8::ffff")) // who was right a moment ago is no guess
	if _, err := a.AuthenticateToken(t.Context(), "mr_x", netip.MustParseAddr("2001:db8::1")); !errors.As(err, &limited) {
		t.Errorf("tokens: %v", err)
	}
	c.add(10 * time.Minute)
	must(t, try("joe", password, "2001:db8::1"))
}

// Attempts at the same time are counted before they are computed.
func TestLimits_AtOnce(t *testing.T) {
	t.Parallel()
	a, _ := accounts(t)
	must(t, a.Add(t.Context(), by, state.User{Name: "joe", Role: "admin"}, password))
	var wg sync.WaitGroup
	var mutex sync.Mutex
	denied := 0
	for i := range 40 {
		wg.Go(func() {
			_, err := a.Authenticate(t.Context(), "joe", "wrong password", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
			if errors.Is(err, ErrDenied) {
				mutex.Lock()
				denied++
				mutex.Unlock()
			}
		})
	}
	wg.Wait()
	if denied != 10 {
		t.Errorf("%d guesses were answered", denied)
	}
}

func TestLimiter_IsBounded(t *testing.T) {
	t.Parallel()
	l := newLimiter(allowance{1, time.Minute}, 100)
	now := time.Now()
	for i := range 1000 {
		l.take(fmt.Sprint(i), now)
	}
	if len(l.all) != 100 || l.order.Len() != 100 {
		t.Errorf("%d, %d", len(l.all), l.order.Len())
	}
	if l.take("999", now) == 0 || l.take("0", now) != 0 {
		t.Error("it has not kept the last ones")
	}
}

// A hash from elsewhere can be verified, and one that would eat the memory is nobody's.
func TestVerify(t *testing.T) {
	t.Parallel()
	h := hasher{make(chan struct{}, 1)}
	f := func(password, hash string, want bool) {
		t.Helper()
		if got, err := h.verify(t.Context(), password, hash); got != want || err != nil {
			t.Errorf("%q: %v %v", hash, got, err)
		}
	}
	// The reference implementation's own test vector.
	f("password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", true)
	f("passwore", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", false)
	f("password", "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", false)
	f("password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", false)
	f("password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$", false)
	f("", "", false)
	own, err := h.hash(t.Context(), "password")
	must(t, err)
	f("password", own, true)
	// Who gives up waiting for a place is told so.
	h.slots <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.verify(ctx, "password", own); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	a, _ := accounts(t)
	dir := t.TempDir()
	path, err := a.Bootstrap(t.Context(), dir)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if path != filepath.Join(dir, PasswordFile) || info.Mode().Perm() != 0o600 {
		t.Errorf("%s %v", path, info.Mode())
	}
	text, err := os.ReadFile(path)
	must(t, err)
	p, err := a.Authenticate(t.Context(), "admin", strings.TrimSpace(string(text)), here)
	if err != nil || p.Role != Admin {
		t.Errorf("%+v %v", p, err)
	}
	if path, err := a.Bootstrap(t.Context(), dir); path != "" || err != nil {
		t.Errorf("a second time: %q %v", path, err)
	}
	// A start that was cut off behind the file is finished by the next.
	other, _ := accounts(t)
	if _, err := other.Bootstrap(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if _, err := other.Authenticate(t.Context(), "admin", strings.TrimSpace(string(text)), here); err != nil {
		t.Error(err)
	}
}
