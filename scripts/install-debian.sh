#!/usr/bin/env bash
# install-debian.sh TOOLS: unpacks the Debian packages that tests need under
# TOOLS/debian. Nothing is installed on the machine, no service is started.
set -euo pipefail
tools=$1
target=$tools/debian
# rsyslog, syslog-ng, haproxy and dovecot, two programs of systemd, and those of their
# libraries that a small machine lacks. As packages the first two exclude each other; as files
# they do not.
packages=(
	rsyslog rsyslog-kafka rsyslog-relp rsyslog-openssl rsyslog-gnutls libestr0 libfastjson4 liblognorm5 librelp0 librdkafka1
	syslog-ng-core syslog-ng-mod-rdkafka libivykis0 libnet1 libpcre3 libwrap0 libnsl2 libtirpc3 libjson-c5 libglib2.0-0
	dovecot-core dovecot-imapd dovecot-submissiond libsodium23
	haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 libpcre2-8-0
	systemd libsystemd0 libsystemd-shared libip4tc2 libkmod2 libapparmor1 libcap2 libcap-ng0
)
tests="the tests and benchmarks with rsyslog, syslog-ng, haproxy, dovecot and systemd need it; the others run with: go test ./..."

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
		echo "$command is missing, so rsyslog, syslog-ng, haproxy, dovecot and systemd cannot be fetched from Debian's packages: $tests" >&2
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
if [ -d "$new/lib" ]; then # of packages older than the merge of /lib and /usr/lib
	cp -a "$new/lib/." "$new/usr/lib/"
	rm -rf "$new/lib"
fi

# Daemons without their libraries are no use: name those that this machine lacks.
libraries=$(dirname "$(find "$new/usr/lib" -name 'libestr.so*' | head -1)")
lacking=$(find "$new/usr/sbin" "$new/usr/bin" "$new/usr/lib/dovecot" "$libraries" \( -name rsyslogd -o -name syslog-ng -o -name haproxy -o -name systemd-analyze \
	-o -name systemd-socket-activate -o -path "$new/usr/sbin/dovecot" -o -name doveconf -o -path "*/dovecot/auth" -o -path "*/dovecot/imap" -o -path "$libraries/*.so" -not -path "$libraries/security/*" \) -print0 |
	LD_LIBRARY_PATH=$libraries:$libraries/systemd:$new/usr/lib/syslog-ng:$new/usr/lib/dovecot:$new/usr/lib/dovecot/modules/old-stats xargs -0 ldd 2>/dev/null | awk '/not found/ {print $1}' | sort -u)
if [ -n "$lacking" ]; then
	echo "the daemons were unpacked, but this machine lacks:" $lacking. "$tests" >&2
	exit 1
fi
rm -rf "$target"
mv "$new" "$target"
touch "$target/.installed"
rm -rf "$tools/apt"
