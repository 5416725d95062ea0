#!/usr/bin/env bash
# install-debian.sh TOOLS: unpacks the Debian packages that tests need under
# TOOLS/debian. Nothing is installed on the machine, no service is started.
set -euo pipefail
tools=$1
target=$tools/debian
packages=(rsyslog libestr0 libfastjson4 liblognorm5)
tests="the tests with rsyslog as a relay need it; the others run with: go test ./..."

mkdir -p "$tools"
if command -v flock >/dev/null; then
	exec 9>"$tools/.debian.lock"
	flock 9
fi
if [ -e "$target/.installed" ] && [ ! scripts/install-debian.sh -nt "$target/.installed" ]; then
	exit 0
fi
for command in apt-get dpkg-deb; do
	if ! command -v $command >/dev/null; then
		echo "$command is missing, so rsyslog cannot be fetched from Debian's packages: $tests" >&2
		exit 1
	fi
done

echo "unpacking ${packages[*]} under .tools/debian"
new=$tools/debian.new
rm -rf "$new"
mkdir -p "$new/packages"
log=$tools/debian.log
# As root, apt downloads as the user _apt, who may not write here; root may.
download() { (cd "$new/packages" && apt-get "$@" -o APT::Sandbox::User=root download "${packages[@]}") >>"$log" 2>&1; }
# The lists of a fresh machine are missing or too old. Fresh ones go beside the
# packages: the machine's own stay as they are, and nobody has to be root.
private=(-o "Dir::State::Lists=$tools/apt/lists" -o "Dir::Cache=$tools/apt/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=1)
: >"$log"
if ! download; then
	echo "fetching the package lists"
	mkdir -p "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial"
	if ! apt-get "${private[@]}" -q update >>"$log" 2>&1 || ! download "${private[@]}"; then
		cat "$log" >&2
		echo "apt-get cannot download ${packages[*]}; as root, try: apt-get update. $tests" >&2
		exit 1
	fi
fi
for package in "$new"/packages/*.deb; do
	dpkg-deb -x "$package" "$new"
done

# The daemon without its libraries is no use: name those that this machine lacks.
libraries=$(dirname "$(find "$new/usr/lib" -name 'libestr.so*' | head -1)")
lacking=$(LD_LIBRARY_PATH=$libraries ldd "$new/usr/sbin/rsyslogd" | awk '/not found/ {print $1}')
if [ -n "$lacking" ]; then
	echo "rsyslogd was unpacked, but this machine lacks: $lacking. $tests" >&2
	exit 1
fi
rm -rf "$target"
mv "$new" "$target"
touch "$target/.installed"
rm -rf "$tools/apt"
