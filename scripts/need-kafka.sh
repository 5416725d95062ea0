#!/usr/bin/env bash
# need-kafka.sh [STAMP]: names what the machine lacks for Apache Kafka, nothing
# when it has all. Maven is not needed where STAMP says that the jars are there.
set -euo pipefail
lacks=()
major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -1 || true)
if [ "${major:-0}" -lt 17 ]; then
	lacks+=("Java 17 or later (Debian package default-jre-headless)")
fi
[ -e "${1:-}" ] || command -v mvn >/dev/null || lacks+=("mvn (Debian package maven)")
for ((i = 0; i < ${#lacks[@]}; i++)); do
	[ $i -eq 0 ] || printf ' and '
	printf '%s' "${lacks[i]}"
done
