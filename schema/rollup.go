package schema

import "strings"

// Replacing is the beginning of a ReplacingMergeTree's definition, up to its own arguments,
// that has copies where tables of the given engine have.
func Replacing(engine string) string {
	name, args, found := strings.Cut(strings.TrimSuffix(engine, ")"), "(")
	name = strings.Replace(name, "MergeTree", "ReplacingMergeTree", 1)
	if found && args != "" {
		args += ", "
	}
	return name + "(" + args
}
