//go:build race

package e2e

// With the race detector in the tests it is in the program too.
var buildArgs, buildEnv = []string{"build", "-race"}, "CGO_ENABLED=1"
