#!/usr/bin/env bash
# step.sh NAME COMMAND...: runs one step of "make check" and says how long it took.
set -uo pipefail
name=$1
shift
echo "== $name"
begin=$SECONDS
"$@"
status=$?
if [ $status -ne 0 ]; then
	echo "== $name: FAILED after $((SECONDS - begin)) s"
	exit $status
fi
echo "== $name: ok, $((SECONDS - begin)) s"
