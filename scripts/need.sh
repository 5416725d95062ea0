#!/usr/bin/env bash
# need.sh test|race...: names what the machine lacks for these tests.
set -euo pipefail
missing=()
need() { # command, what for, package
	command -v "$1" >/dev/null || missing+=("$1 (Debian package $3): $2")
}
for what in "$@"; do
	case $what in
	test)
		need python3 "the tests with Python's SysLogHandler" python3
		need logger "the tests with util-linux logger" bsdutils
		need curl "the tests with the vendor's example scripts" curl
		need awk "the tests with the vendor's example scripts" mawk
		need openssl "the tests of the lines that make certificates" openssl
		;;
	race)
		need "${CC:-gcc}" "the race detector needs cgo" "gcc libc6-dev"
		;;
	esac
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "this machine lacks:" >&2
	printf '  %s\n' "${missing[@]}" >&2
	exit 1
fi
