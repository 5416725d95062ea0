#!/usr/bin/env bash
# run.sh COMMAND...: runs the command so that Ctrl-C is its own affair.
#
# On a terminal the command gets a process group of its own in the foreground:
# Ctrl-C then reaches it alone, and make reports the status with which it ends
# after draining. Otherwise make would die of the same Ctrl-C.
set -euo pipefail
if [ -t 0 ]; then
	set -m
	"$@"
else
	exec "$@"
fi
