package state

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// written is one record of a log that a test writes.
type written struct {
	offset int64
	key    Key
	value  []byte
}

func value(t *testing.T, e envelope) []byte {
	t.Helper()
	e.V = max(e.V, 1)
	text, err := json.Marshal(&e)
	must(t, err)
	return text
}

func since(v Version) *Version { return &v }

func TestMachine_Effects(t *testing.T) {
	t.Parallel()
	key := LockKey("example.com", "*", "bob")
	held := json.RawMessage(`{"locked":true}`)
	leader := func(term int64) json.RawMessage { return fmt.Appendf(nil, `{"term":%d}`, term) }
	type step struct {
		key   Key
		value []byte
		want  Effect
	}
	f := func(name string, present bool, steps ...step) {
		t.Helper()
		m := newMachine()
		for i, s := range steps {
			if got := m.apply(int64(i), []byte(s.key), s.value).Effect; got != s.want {
				t.Errorf("%s: record %d is %s, want %s", name, i, got, s.want)
			}
		}
		if _, ok := m.snapshot().Lock("example.com", "*", "bob"); ok != present {
			t.Errorf("%s: there: %v", name, ok)
		}
		if m.next != Version(len(steps)) {
			t.Errorf("%s: next is %d", name, m.next)
		}
	}
	set := func(id string, at *Version, term int64, want Effect) step {
		return step{key, value(t, envelope{ID: id, State: held, Since: at, Term: term}), want}
	}
	begin := func(id string, term int64, at *Version, want Effect) step {
		return step{leaderKey, value(t, envelope{ID: id, State: leader(term), Since: at, Term: term}), want}
	}
	remove := step{key, value(t, envelope{ID: "removal", Removed: true}), Applied}
	f("one", true, set("a", nil, 0, Applied))
	f("the first of two who saw nothing", true, set("a", since(0), 0, Applied), set("b", since(0), 0, Conflict))
	f("who has seen the last one", true, set("a", since(0), 0, Applied), set("b", since(1), 0, Applied), set("c", since(1), 0, Conflict), set("d", since(2), 0, Applied))
	f("whose past was compacted away", true, set("b", since(0), 0, Applied))
	f("without condition", true, set("a", since(0), 0, Applied), set("b", nil, 0, Applied))
	f("a copy", true, set("a", nil, 0, Applied), set("a", nil, 0, Duplicate))
	f("a copy with a condition", true, set("a", since(0), 0, Applied), set("a", since(0), 0, Duplicate))
	f("a copy behind another change", true, set("a", nil, 0, Applied), set("b", nil, 0, Applied), set("a", nil, 0, Duplicate))
	f("removed", false, set("a", nil, 0, Applied), remove, step{key, nil, Forgotten})
	f("removed, and a late change", false, set("a", nil, 0, Applied), remove, step{key, nil, Forgotten}, set("b", since(1), 0, Conflict))
	f("removed and made again", true, set("a", nil, 0, Applied), remove, step{key, nil, Forgotten}, set("b", since(3), 0, Applied))
	f("a tombstone that another change has come before", true, remove, set("a", nil, 0, Applied), step{key, nil, Conflict})
	f("in its term", true, begin("1", 1, nil, Applied), set("a", nil, 1, Applied))
	f("in a term that is over", false, begin("1", 1, nil, Applied), begin("2", 2, since(1), Applied), set("a", nil, 1, Fenced), set("a", nil, 1, Fenced))
	f("a person heeds no term", true, begin("2", 2, nil, Applied), set("a", nil, 0, Applied))
	f("two begin at once", true, begin("1", 1, since(0), Applied), begin("other", 1, since(0), Conflict), set("a", nil, 1, Applied))
	f("not ours", false, step{"x", []byte("text"), Unreadable}, step{"%zz", []byte("{}"), Unreadable}, step{"", nil, Unreadable}, step{key, []byte(`{"v":9}`), Unreadable})
}

// What a newer version has written is kept, passed over, and not put right.
func TestMachine_NewerVersion(t *testing.T) {
	t.Parallel()
	m := newMachine()
	strange := NewKey("fence", "a/b", "c")
	for i, w := range []written{
		{key: strange, value: value(t, envelope{V: 2, ID: "a", State: json.RawMessage(`[1,2]`)})},
		{key: LockKey("example.com", "*", "bob"), value: value(t, envelope{V: 2, ID: "b", State: json.RawMessage(`"not an object"`)})},
		{key: NewKey(KindLock, "colour", "x"), value: value(t, envelope{ID: "c", State: json.RawMessage(`{}`)})},
		{key: UserKey("joe"), value: value(t, envelope{V: 2, ID: "d", State: json.RawMessage(`{"role":"admin","shoe_size":44}`)})},
		{key: UserKey("joe"), value: []byte("\x00\x01 something else")},
	} {
		m.apply(int64(i), []byte(w.key), w.value)
	}
	s := m.snapshot()
	if raw, _, ok := s.Raw(strange); !ok || string(raw) != "[1,2]" {
		t.Errorf("%v %s", ok, raw)
	}
	if len(s.Locks()) != 0 || len(s.Keys(KindLock)) != 2 || len(m.spoiled) != 0 {
		t.Errorf("%v %v %v", s.Locks(), s.Keys(KindLock), m.spoiled)
	}
	if u, _ := s.User("joe"); u.Role != "admin" {
		t.Errorf("%+v", u)
	}
}

// What every reader has in memory at the end, by key.
func visible(m *machine) map[Key]string {
	all := map[Key]string{}
	for _, entries := range m.entries {
		for k, e := range entries {
			if !e.env.Removed {
				all[k] = fmt.Sprint(e.version, " ", string(e.env.State))
			}
		}
	}
	return all
}

// A log of writers who know of more or less of it, with copies, removals and terms. Now
// and then nothing is on its way, and what had no effect has been put right: there the log
// is compacted. A reader of what is left has the state of one who has read all.
func TestMachine_Compaction(t *testing.T) {
	t.Parallel()
	without := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 6))
		m := newMachine()
		var log []written
		var terms []int64 // when the record of that offset was about to be written
		put := func(key Key, text []byte) {
			w := written{int64(len(log)), key, text}
			log, terms = append(log, w), append(terms, m.term)
			switch m.apply(w.offset, []byte(w.key), w.value).Effect {
			case Conflict, Fenced, Duplicate:
				without++
			}
		}
		cut := 0
		for round := range 5 {
			begin := len(log)
			for n := range 20 {
				view := begin + r.IntN(len(log)-begin+1) // what the writer has read
				term := m.term
				if view < len(log) {
					term = terms[view]
				}
				key := NewKey("k", fmt.Sprint(r.IntN(5)))
				e := envelope{ID: fmt.Sprint(round, " ", n), State: fmt.Appendf(nil, "%d", 100*round+n)}
				if r.IntN(2) == 0 {
					e.Since = since(Version(view))
				}
				if r.IntN(3) == 0 {
					e.Term = term
				}
				switch r.IntN(10) {
				case 0:
					if view < len(log) { // a copy of one that was on its way
						put(log[view].key, log[view].value)
					}
				case 1:
					e.Removed, e.State = true, nil
					put(key, value(t, e))
					put(key, nil)
				case 2:
					e.State, e.Since, e.Term = fmt.Appendf(nil, `{"term":%d}`, term+1), since(Version(view)), term+1
					put(leaderKey, value(t, e))
				default:
					put(key, value(t, e))
				}
			}
			for _, group := range (&Store{machine: m}).repairs() {
				for _, o := range group {
					put(o.key, o.value)
				}
			}
			if len(m.spoiled) > 0 {
				t.Fatalf("seed %d: not put right: %v", seed, m.spoiled)
			}
			if r.IntN(2) == 0 {
				cut = len(log)
			}
		}
		last := map[Key]int64{}
		for _, w := range log[:cut] {
			last[w.key] = w.offset
		}
		fresh := newMachine()
		for _, w := range log {
			if w.offset < int64(cut) && (last[w.key] != w.offset || w.value == nil && r.IntN(2) == 0) {
				continue
			}
			fresh.apply(w.offset, []byte(w.key), w.value)
		}
		if got, want := visible(fresh), visible(m); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d, compacted up to %d: %v, want %v", seed, cut, got, want)
		}
	}
	if without < 1000 {
		t.Errorf("only %d records had no effect: this test tests little", without)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	f := func(kind string, parts ...string) {
		t.Helper()
		gotKind, got, ok := NewKey(kind, parts...).Split()
		if !ok || gotKind != kind || !slices.Equal(got, parts) {
			t.Errorf("%q: %v %q %q", NewKey(kind, parts...), ok, gotKind, got)
		}
	}
	f("a")
	f("a", "")
	f("lock", "identity", "example.com", "*", "a/b", "%2F", "x\x00y", "ü", "..", "a b")
	f("a/b", "c")
	if LockKey("a", "b/c", "d") == LockKey("a/b", "c", "d") {
		t.Error("two identities have one key")
	}
}

func TestRecent_Forgets(t *testing.T) {
	t.Parallel()
	r := recent{places: map[string]int{}}
	for i := range recentIDs + 10 {
		r.add(fmt.Sprint(i))
	}
	if r.has("9") || !r.has("10") || !r.has(fmt.Sprint(recentIDs+9)) || len(r.places) != recentIDs {
		t.Error("it does not remember the last ones")
	}
}
