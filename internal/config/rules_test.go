package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func parseRules(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return Parse("m.yaml", []byte(text), func(string) string { return "" })
}

func TestRules_Default(t *testing.T) {
	t.Parallel()
	c := Default()
	if len(c.Rules) != 1 || len(c.Effects) != 0 {
		t.Fatalf("%+v %+v", c.Rules, c.Effects)
	}
	r := c.Rules[0]
	if r.Name != "automatic" || r.Per != PerIdentity || r.Everywhere || r.Count != 20 || r.Window != 10*time.Minute || !slices.Equal(r.Classes, []string{"spam", "phish", "virus"}) {
		t.Errorf("%+v", r)
	}
	if c, err := parseRules(t, "rules: []\n"); err != nil || len(c.Rules) != 0 {
		t.Errorf("%v", err)
	}
}

func TestRuleClasses(t *testing.T) {
	t.Parallel()
	c, err := parseRules(t, "classes: [{word: junk, class: spam}]\nrules: [{name: r, classes: [Junk, Rejected, whitelisted]}]\n")
	if err != nil {
		t.Fatal(err)
	}
	classes, groups, unknown := c.RuleClasses(&c.Rules[0])
	if !slices.Equal(groups, []string{"rejected"}) || len(unknown) != 0 || !slices.Contains(classes, "spam") || !slices.Contains(classes, "junk") || !slices.Contains(classes, "allow-list") || slices.Contains(classes, "phish") {
		t.Error(classes, groups, unknown)
	}
}

func TestRules_Failure(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if _, err := parseRules(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
	f("rules: [{name: a}, {name: a}]", "rules[1].name")
	f("rules: [{name: a, per: user}]", "allowed identity, auth-user, sender, ip")
	f("rules: [{name: a, classes: [no-such]}]", `rules[0].classes: got "no-such"`)
	f("rules: [{name: a, classes: [], feedback: 0}]", "rules[0].classes: got an empty list")
	f("rules: [{name: a, effects: [x]}]", `rules[0].effects: got "x"`)
	f("rules: [{name: a, never: [192.0.2.0/33]}]", `rules[0].never: got "192.0.2.0/33"`)
	f("rules: [{name: a, code: '250'}]", "rules[0].code")
	f("effects: [{name: a}]", "effects[0].url: missing")
	f("effects: [{name: a, url: 'https://x.example/'}]", "effects[0].secret: missing")
	f("effects: [{name: a, url: 'http://x.example/', secret: s}]", "http beyond loopback")
	f("effects: [{name: a, url: 'ftp://x.example/', secret: s}]", `unknown scheme "ftp"`)
	f("effects: [{name: a, url: 'https://u:p@x.example/', secret: s}]", "it has a user")
	f("effects: [{name: a, kind: command}]", "effects[0].command: missing")
	f("effects: [{name: a, kind: command, command: [mail, -s, x]}]", "the absolute path of a program")
	f("effects: [{name: a, kind: mail}]", "effects[0].to: missing")
	f("effects: [{name: a, kind: vendor}]", "vendor together with source.url")
	f("source: {import_locks: 5s}", "source.import_locks")
}

func TestEffect_Key(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "m.yaml")
	text := "effects: [{name: a, url: 'http://127.0.0.1:1/', secret_file: key}, {name: b, url: 'https://x.example/', secret: s3cret}]\n"
	for name, content := range map[string]string{path: text, filepath.Join(dir, "key"): " k3y \nmore\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"k3y", "s3cret"} {
		if key, err := c.Effects[i].Key(); err != nil || string(key) != want {
			t.Errorf("%q %v", key, err)
		}
	}
	c.Effects[0].SecretFile = filepath.Join(dir, "none")
	if _, err := c.Effects[0].Key(); err == nil || !strings.Contains(err.Error(), "effects[].secret_file") {
		t.Error(err)
	}
}
