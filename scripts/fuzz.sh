#!/usr/bin/env bash
# fuzz.sh SECONDS: runs every fuzz target of the tree for so long, two at a time.
# An input that fails is printed, stays under testdata/fuzz, and fails the run.
set -euo pipefail
seconds=$1

one() { # directory:target
	local directory=${1%%:*} target=${1##*:} log result file status=0
	log=$(mktemp)
	# A worker that the end of the time overtakes is now and then reported as
	# "context deadline exceeded": no input failed, so the target runs again.
	# Without a bound on minimising, the engine spends a minute on each new
	# input of a slow target, and hardly tries others.
	for try in 1 2 3; do
		status=0
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -fuzzminimizetime 10x -parallel 1 "./$directory" >"$log" 2>&1 || status=$?
		if [ $status -eq 0 ] || ! grep -q 'context deadline exceeded' "$log" || grep -q 'Failing input written' "$log"; then
			break
		fi
	done
	if [ $status -eq 0 ] && ! grep -q 'execs: ' "$log"; then
		# The inputs that are known already took all of the time; each was tried.
		result="  $directory $target: $(grep -o 'baseline coverage: [0-9/]*' "$log" | tail -1), no new input was tried"
	elif [ $status -eq 0 ]; then
		result="  $directory $target: $(grep -o 'execs: [0-9]*' "$log" | tail -1), $(grep -o 'new interesting: [0-9]*' "$log" | tail -1)"
	else
		result="  $directory $target: FAILED"$'\n'$(<"$log")
		for file in $(sed -n 's/^ *Failing input written to //p' "$log"); do
			result+=$'\n'"  $directory/$file:"$'\n'$(<"$directory/$file")
		done
	fi
	echo "$result" # in one piece: another target writes at the same time
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
