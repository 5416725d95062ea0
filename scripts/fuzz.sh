#!/usr/bin/env bash
# fuzz.sh SECONDS: runs every fuzz target of the tree for so long, two at a time.
set -euo pipefail
seconds=$1

one() { # directory:target
	local directory=${1%%:*} target=${1##*:} log status=0
	log=$(mktemp)
	# A worker that the end of the time overtakes is now and then reported as
	# "context deadline exceeded": no input failed, so the target runs again.
	for try in 1 2 3; do
		status=0
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -parallel 1 "./$directory" >"$log" 2>&1 || status=$?
		if [ $status -eq 0 ] || ! grep -q 'context deadline exceeded' "$log" || grep -q 'Failing input written' "$log"; then
			break
		fi
	done
	if [ $status -eq 0 ]; then
		echo "  $directory $target: $(grep -o 'execs: [0-9]*' "$log" | tail -1), $(grep -o 'new interesting: [0-9]*' "$log" | tail -1)"
	else
		echo "  $directory $target: FAILED"
		cat "$log"
	fi
	rm -f "$log"
	return $status
}
export -f one
export seconds

targets=$(git ls-files -co --exclude-standard '*_test.go' | xargs grep -oH '^func Fuzz[A-Za-z0-9_]*' |
	sed -E 's|^(.*/)?([^/]*):func (Fuzz.*)$|\1:\3|; s|/:|:|; s|^:|.:|')
[ -n "$targets" ] || { echo "no fuzz target found" >&2; exit 1; }
echo "$(wc -l <<<"$targets") fuzz targets, $seconds s each, two at a time"
xargs -P 2 -I '{}' bash -euo pipefail -c 'one {}' <<<"$targets"
