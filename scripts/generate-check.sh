#!/usr/bin/env bash
# generate-check.sh: "go generate" must change nothing. What it changed stays
# changed, ready to be looked at and committed.
set -euo pipefail
state() { git ls-files -co --exclude-standard -z | xargs -0 sha256sum 2>/dev/null | sort -k2 || true; }
before=$(state)
go generate ./... >/dev/null
after=$(state)
if [ "$before" != "$after" ]; then
	echo "generated files were out of date; they have been generated anew (make generate), commit them:"
	diff <(echo "$before") <(echo "$after") | awk '/^>/ {print "  " $3}'
	exit 1
fi
