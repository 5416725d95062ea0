//go:build !race

package e2e

var buildArgs, buildEnv = []string{"build"}, "CGO_ENABLED=0"
