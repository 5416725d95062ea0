package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Change is a key whose value is not the same in two configurations.
type Change struct {
	Key  string // as in messages: listeners[0].allow
	Live bool   // a running daemon takes it over
}

// Changes lists the keys in which after differs from before, in the order of the tables.
// Listeners are compared by their names; one that is new, or gone, is a change of its own.
// The contents of files that the configuration names are not compared.
func Changes(before, after *Config) []Change { return changes(before.keys(), after.keys(), "") }

func changes(before, after []key, path string) (all []Change) {
	for i, k := range after {
		at := join(path, k.name)
		switch to := k.to.(type) {
		case section:
			all = append(all, changes(before[i].to.(section).keys(), to.keys(), at)...)
		case sections[Listener]:
			all = append(all, listenerChanges(*before[i].to.(sections[Listener]).of, *to.of, at)...)
		case list:
			if !bytes.Equal(shown(before[i]), shown(k)) {
				all = append(all, Change{at, k.live})
			}
		case *Secret:
			if before[i].to.(*Secret).Reveal() != to.Reveal() {
				all = append(all, Change{at, k.live})
			}
		default:
			if was, is := render(before[i]), render(k); was != is {
				// A listener that is not encrypted does not become so.
				begins := k.name == "cert" && (was == `""` || is == `""`)
				all = append(all, Change{at, k.live && !begins})
			}
		}
	}
	return all
}

// shown is the whole list as text.
func shown(k key) []byte {
	var b bytes.Buffer
	writeList(&b, "", k, k.to.(list), 0)
	return b.Bytes()
}

func listenerChanges(before, after []Listener, at string) (all []Change) {
	named := func(list []Listener, name string) int {
		return slices.IndexFunc(list, func(l Listener) bool { return l.Name == name })
	}
	for i := range after {
		path := fmt.Sprintf("%s[%d]", at, i)
		j := named(before, after[i].Name)
		if j < 0 {
			all = append(all, Change{Key: fmt.Sprintf("%s: %q is new", path, after[i].Name)})
			continue
		}
		its := changes(before[j].keys(), after[i].keys(), path)
		if before[j].Address != after[i].Address { // nothing is taken over
			for n := range its {
				its[n].Live = its[n].Live && !strings.HasPrefix(its[n].Key, path)
			}
		}
		all = append(all, its...)
	}
	for j := range before {
		if named(after, before[j].Name) < 0 {
			all = append(all, Change{Key: fmt.Sprintf("%s: %q is gone", at, before[j].Name)})
		}
	}
	return all
}
