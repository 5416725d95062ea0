// Package config reads the one YAML file that configures Millrace.
//
// It promises:
//
//   - every key has a default, so an empty file, and no file at all, is a
//     complete configuration: [Default];
//   - nothing is guessed: an unknown key, a key written twice, a wrong type and
//     an impossible value are errors, and [Load] reports all of them at once,
//     each with file, line, column, key, what was given and what is allowed;
//   - a secret never prints itself: see [Secret]. Every secret can come from
//     the environment instead of the file;
//   - what is accepted can run: settings that contradict each other, and files
//     of certificates that cannot be read, are refused here and not an hour
//     later by a client library.
//
// The key tables in keys.go are the single source: key, default, documentation
// and allowed values. The decoder, [Default] and the rendered
// deploy/config.example.yaml all read them. To add a key: one field in
// config.go, one line in keys.go, go generate.
package config

//go:generate go test . -run ^TestExample$ -count=1 -update
