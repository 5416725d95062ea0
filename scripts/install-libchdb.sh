#!/usr/bin/env bash
# install-libchdb.sh TOOLS: installs libchdb, the ClickHouse engine of the trial
# stack, into TOOLS/libchdb with npm, exactly as the committed lock file says.
set -euo pipefail
tools=$1
source=internal/embedded/libchdb
target=$tools/libchdb
stamp=$target/.installed
library=node_modules/@chdb/lib-linux-x64-gnu/libchdb.so

mkdir -p "$tools"
if command -v flock >/dev/null; then # two makes at a time install once
	exec 9>"$tools/.libchdb.lock"
	flock 9
fi
if [ -s "$target/$library" ] && [ -e "$target/node_modules/.package-lock.json" ] &&
	cmp -s "$source/package-lock.json" "$target/package-lock.json"; then
	touch "$stamp"
	exit 0
fi

system=$(uname -sm)
if [ "$system" != "Linux x86_64" ]; then
	echo "libchdb is installed for Linux x86_64 with glibc, this is $system: use a Kafka and a ClickHouse of your own (make build; bin/millrace ingest, transform)" >&2
	exit 1
fi
if ! command -v npm >/dev/null; then
	echo "npm is missing: install Node.js with npm (Debian packages nodejs npm), it installs libchdb" >&2
	exit 1
fi

new=$tools/libchdb.new
rm -rf "$new"
mkdir -p "$new"
cp "$source/package.json" "$source/package-lock.json" "$new/"
echo "installing libchdb (ClickHouse): a download of about 180 MB, 550 MB on disk"

npm ci --prefix "$new" --no-audit --no-fund --no-update-notifier --loglevel=error >"$tools/libchdb.log" 2>&1 &
npm=$!
trap 'kill $npm 2>/dev/null || true' EXIT
begin=$SECONDS
shown=0
while kill -0 $npm 2>/dev/null; do
	sleep 1
	spent=$((SECONDS - begin))
	size=$(du -sm "$new" 2>/dev/null | cut -f1 || true)
	if [ -t 1 ]; then
		printf '\r  %3d s, %3d MB unpacked ' "$spent" "${size:-0}"
	elif [ $((spent - shown)) -ge 5 ]; then
		printf '  %3d s, %3d MB unpacked\n' "$spent" "${size:-0}"
		shown=$spent
	fi
done
[ -t 1 ] && echo
trap - EXIT
if ! wait $npm; then
	cat "$tools/libchdb.log" >&2
	echo "npm could not install libchdb; the log is $tools/libchdb.log" >&2
	exit 1
fi
if [ ! -s "$new/$library" ]; then
	echo "npm installed a package without $library" >&2
	exit 1
fi
touch "$new/.installed"
rm -rf "$target"
mv "$new" "$target"
echo "installed libchdb in $((SECONDS - begin)) s"
