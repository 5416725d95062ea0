package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"millrace/schema"
)

// Rule locks or blocks by itself; package query/guard.
type Rule struct {
	Name        string
	Per         string // PerIdentity, ...
	Classes     []string
	Count       int
	Window      time.Duration
	Late        time.Duration
	Feedback    int
	Everywhere  bool
	DryRun      bool
	Cooldown    time.Duration
	UnlockAfter time.Duration
	Code        string
	Never       []string
	Effects     []string
}

// What a rule counts by.
const (
	PerIdentity = "identity"
	PerAuthUser = "auth-user"
	PerSender   = "sender"
	PerIP       = "ip"
)

// Effect is what is done when a lock or block changes.
type Effect struct {
	Name       string
	Kind       string // EffectWebhook, ...
	Manual     bool
	URL        string
	Secret     Secret
	SecretFile string
	Command    []string
	To         []string
	Timeout    time.Duration
	Attempts   int
}

// Kinds of effects.
const (
	EffectWebhook = "webhook"
	EffectCommand = "command"
	EffectMail    = "mail"
	EffectVendor  = "vendor"
)

func (r *Rule) keys() []key {
	return []key{
		nameKey(&r.Name, "Its name: in the state, in reasons, in metrics."),
		oneOf("per", &r.Per, PerIdentity, "What is counted by, and locked. identity: identities of outgoing users, told apart by their identification method. auth-user: locks the outgoing user. "+
			"sender: blocks the envelope sender within its outgoing user. ip: locks the outgoing user of the domain that the client's address names.", PerIdentity, PerAuthUser, PerSender, PerIP),
		texts("classes", &r.Classes, "[spam, phish, virus]", "Messages of these classes or groups are counted, one for each recipient. millrace classes lists both.",
			"names of classes, or of groups: "+strings.Join(schema.ClassGroups, ", ")),
		number("count", &r.Count, "20", 1, 100_000_000, "So many messages, within window, trip it."),
		duration("window", &r.Window, "10m", second, 7*day, "The time, by the events' own."),
		duration("late", &r.Late, "1h", 0, 7*day, "Events count for so long beyond window: as long as they may be on their way, and we may be away."),
		number("feedback", &r.Feedback, "1", 0, 1_000_000, "An abuse report counts as so many messages at the time it came; 0: not at all. The filter's own reports about a message that is in the logs do not count again."),
		boolean("everywhere", &r.Everywhere, "false", "With per: identity, also for outgoing users whose setting lock identities automatically is off. They need an identification method all the same."),
		boolean("dry_run", &r.DryRun, "false", "Only say in the log and the state what it would do."),
		duration("cooldown", &r.Cooldown, "1h", 0, 365*day, "It does not fire again for the same before this time is over or the count has fallen below."),
		duration("unlock_after", &r.UnlockAfter, "0s", 0, 3650*day, "What it locks is unlocked by itself after this time; 0: by people alone."),
		{name: "code", to: textValue{&r.Code, checkResponseCode}, def: `""`, allowed: "4xx, 5xx, blackhole, or empty: as the outgoing user has it", doc: "The answer to the sender."},
		texts("never", &r.Never, "[]", "What is never locked or blocked. What clients of these networks send is not counted.",
			"a list of addresses, domains, identities, outgoing users, and networks such as 192.0.2.0/24"),
		texts("effects", &r.Effects, "[]", "Names of effects that run when it locks or blocks, and when that ends.", "names of effects"),
	}
}

func (e *Effect) keys() []key {
	return []key{
		nameKey(&e.Name, "Its name: in rules[].effects, in metrics, in messages."),
		oneOf("kind", &e.Kind, EffectWebhook, "webhook: a signed POST of JSON. command: a program with JSON on its standard input. mail: a message. vendor: the same lock in the filter's own API (section source).",
			EffectWebhook, EffectCommand, EffectMail, EffectVendor),
		boolean("manual", &e.Manual, "true", "Run it also for changes that people make (command line, APIs), and for the end of their locks; false: for the rules that name it alone."),
		{name: "url", to: textValue{&e.URL, checkHook}, def: `""`, allowed: "https://HOST/PATH; http:// on loopback", doc: "webhook: where it goes."},
		secret("secret", &e.Secret, "", "webhook: key of the signature (HMAC-SHA256)."),
		text("secret_file", &e.SecretFile, "", "webhook: file whose first line is the key. Relative paths start at this file's directory."),
		texts("command", &e.Command, "[]", "command: the program, by its path, and its arguments. There is no shell.", "a list of texts"),
		texts("to", &e.To, "[]", "mail: who gets it.", "a list of addresses"),
		duration("timeout", &e.Timeout, "10s", 100*ms, 10*minute, "For one attempt."),
		number("attempts", &e.Attempts, "8", 1, 1000, "So often it is tried, after longer and longer pauses (1 s to 5 min). Then it is given up, logged and counted, and the next change has its turn."),
	}
}

var responseCode = regexp.MustCompile(`^(?:[45][0-9]{2}|blackhole)?$`)

func checkResponseCode(s string) error {
	if !responseCode.MatchString(s) {
		return errors.New("no response code")
	}
	return nil
}

func checkHook(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("not an address")
	case u.User != nil:
		return errors.New("it has a user: the signature says who we are")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("unknown scheme %q", u.Scheme)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("http beyond loopback: others could read who is locked")
	}
	return nil
}

// Key is the key of a webhook's signature.
func (e *Effect) Key() ([]byte, error) {
	if e.SecretFile == "" {
		return []byte(e.Secret.Reveal()), nil
	}
	text, err := os.ReadFile(e.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the key of effect %q (effects[].secret_file): %w", e.Name, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return nil, fmt.Errorf("cannot use the key of effect %q (effects[].secret_file): the first line of %q is empty", e.Name, e.SecretFile)
	}
	return []byte(line), nil
}

// RuleClasses are the classes and the groups among a rule's words; what is neither is in
// unknown.
func (c *Config) RuleClasses(r *Rule) (classes, groups, unknown []string) {
	spellings := c.ClassTable().Spellings()
	for _, w := range r.Classes {
		word := schema.NormalWord(w)
		at := slices.IndexFunc(spellings, func(s schema.Spelling) bool { return s.Word == word })
		switch {
		case slices.Contains(schema.ClassGroups, word):
			groups = append(groups, word)
		case at < 0:
			unknown = append(unknown, w)
		default:
			// Rows of before the configuration knew a word hold the word.
			for _, s := range spellings {
				if s.Name == spellings[at].Name && !slices.Contains(classes, s.Word) {
					classes = append(classes, s.Word)
				}
			}
		}
	}
	return classes, groups, unknown
}

func (c *Config) checkRules(d *decoder) {
	for i := range c.Rules {
		r, at := &c.Rules[i], fmt.Sprintf("rules[%d]", i)
		if slices.ContainsFunc(c.Rules[:i], func(o Rule) bool { return o.Name == r.Name }) && r.Name != "" {
			d.report(at+".name", Problem{Got: quoted(r.Name), Allowed: "a name of its own: another rule has that one"})
		}
		if _, _, unknown := c.RuleClasses(r); len(unknown) > 0 && !d.failed("classes") {
			d.report(at+".classes", Problem{Got: quoted(unknown[0]), Allowed: "classes and groups that millrace classes lists"})
		}
		if len(r.Classes) == 0 && r.Feedback == 0 && !d.failed(at+".classes") {
			d.report(at+".classes", Problem{Got: "an empty list", Allowed: "at least one class, or feedback above 0"})
		}
		for _, name := range r.Effects {
			if !slices.ContainsFunc(c.Effects, func(e Effect) bool { return e.Name == name }) {
				d.report(at+".effects", Problem{Got: quoted(name), Allowed: "names of effects"})
			}
		}
		for _, n := range r.Never {
			if _, err := netip.ParsePrefix(n); err != nil && strings.Contains(n, "/") && strings.Trim(n, "0123456789abcdefABCDEF:./") == "" {
				d.report(at+".never", Problem{Got: quoted(n), Allowed: "a network such as 192.0.2.0/24", Why: err.Error()})
			}
		}
	}
	for i := range c.Effects {
		e, at := &c.Effects[i], fmt.Sprintf("effects[%d]", i)
		if slices.ContainsFunc(c.Effects[:i], func(o Effect) bool { return o.Name == e.Name }) && e.Name != "" {
			d.report(at+".name", Problem{Got: quoted(e.Name), Allowed: "a name of its own: another effect has that one"})
		}
		switch e.Kind {
		case EffectWebhook:
			if e.URL == "" && !d.failed(at+".url") {
				d.report(at+".url", Problem{Text: "missing: a webhook needs it"})
			}
			if !e.Secret.IsSet() && e.SecretFile == "" {
				d.report(at+".secret", Problem{Text: "missing: a webhook needs it, or secret_file; without a signature anybody could say who is locked"})
			}
		case EffectCommand:
			if len(e.Command) == 0 {
				d.report(at+".command", Problem{Text: "missing: the program and its arguments"})
			} else if !strings.HasPrefix(e.Command[0], "/") {
				d.report(at+".command", Problem{Got: quoted(e.Command[0]), Allowed: "the absolute path of a program"})
			}
		case EffectMail:
			if len(e.To) == 0 {
				d.report(at+".to", Problem{Text: "missing: who gets the message"})
			}
		case EffectVendor:
			if c.Source.URL == "" {
				d.report(at+".kind", Problem{Got: quoted(e.Kind), Allowed: "vendor together with source.url"})
			}
		}
	}
	if c.Source.ImportLocks > 0 && c.Source.ImportLocks < minute && !d.failed("source.import_locks") {
		d.report("source.import_locks", Problem{Got: quoted(FormatDuration(c.Source.ImportLocks)), Allowed: "0s, or at least 1m"})
	}
}
