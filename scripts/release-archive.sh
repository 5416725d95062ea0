#!/usr/bin/env bash
# release-archive.sh REF NAME: what the release REF leaves behind, for the tests of later
# ones: internal/migrate/testdata/releases/NAME/{data.tar.gz,schema.sql,rows.tsv}.
#
# It builds REF in a directory of its own, lets `up` take 500 generated frames and
# one that is none, stops it in order, and packs the data directory without what is this
# machine's: locks, logs, configuration, credentials. NAME is the release's.
set -euo pipefail
if [ $# -ne 2 ]; then
	echo "usage: scripts/release-archive.sh REF NAME" >&2
	exit 2
fi
here=$(git rev-parse --show-toplevel)
to=$here/internal/migrate/testdata/releases/$2
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT

mkdir -p "$work/source" "$to"
git -C "$here" archive "$1" | tar -x -C "$work/source"
ln -s "$here/.tools" "$work/source/.tools"
(cd "$work/source" && go build -o bin/millrace .)
millrace=$work/source/bin/millrace

# Nothing expires: the rows are there when this is read in years.
cat > "$work/forever.yaml" <<'YAML'
kafka: {retention: 3650d, partitions: 2}
retention: {events: 20000d, raw: 20000d}
up: {kafka_retention: 3650d}
YAML
"$millrace" up --config "$work/forever.yaml" --data "$work/data" --syslog-udp off --syslog-tcp 127.0.0.1:0 --kafka 127.0.0.1:0 \
	--clickhouse-native 127.0.0.1:0 --clickhouse-http 127.0.0.1:0 --http 127.0.0.1:0 --api 127.0.0.1:0 > "$work/out" 2> "$work/err" &
pid=$!
for _ in $(seq 600); do
	grep -q '^ready ' "$work/out" && break
	kill -0 "$pid" || { cat "$work/err" >&2; exit 1; }
	sleep 0.1
done
address() { grep -m1 '^ready ' "$work/out" | tr ' ' '\n' | sed -n "s/^$1=//p"; }
ask() { "$millrace" query --data "$work/data" --server "$(address clickhouse_native)" --format tsv "$1"; }
# The listener's name is its key in the line.
tcp=$(grep -m1 '^ready ' "$work/out" | tr ' ' '\n' | sed -n 's/^.*tcp[^=]*=//p' | sed 's|^.*://||' | head -1)
"$millrace" generate --to "tcp://$tcp" --count 500 --seed 7 --format mixed --wait-published "http://$(address http)"
printf '<22>this is no event\0' > "/dev/tcp/${tcp%:*}/${tcp##*:}"

all="SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events) + (SELECT count() FROM rejects)"
for _ in $(seq 300); do
	[ "$(ask "$all")" = 501 ] && break
	sleep 0.2
done
[ "$(ask "$all")" = 501 ] || { echo "not all rows are there: $(ask "$all") of 501" >&2; exit 1; }
# Each table's columns, rows, and a sum over all values.
for table in message_events status_events rejects; do
	columns=$(ask "DESCRIBE TABLE $table" | cut -f1 | paste -sd,)
	ask "SELECT '$table', '$columns', count(), sum(cityHash64($columns)) FROM $table"
done > "$to/rows.tsv"

# The tables as the server shows them, and which migrations have made them.
{
	echo "-- The tables of release $2 (commit $(git -C "$here" rev-parse "$1"))."
	for table in message_events status_events rejects schema_migrations; do
		printf '\n%s;\n' "$(ask "SHOW CREATE TABLE $table" | sed 's/\\n/\n/g; s/\\'"'"'/'"'"'/g')"
	done
	ask "SELECT concat('\nINSERT INTO millrace.schema_migrations VALUES (', toString(version), ', ''', name, ''', ''', checksum, ''', ''', toString(applied_at), ''', ''', binary_version, ''');') FROM schema_migrations ORDER BY version" | sed 's/\\n/\n/g; s/\\'"'"'/'"'"'/g'
} > "$to/schema.sql"

kill -TERM "$pid"
wait "$pid"
pid=
(cd "$work/data" && find . -path ./clickhouse-reader -o -path ./kafka-credentials -o -path ./clickhouse/admin -o -path './clickhouse/*.xml' -o -path ./clickhouse/lock -o -path ./kafka/lock \
	-o -path ./clickhouse/log -o -path ./clickhouse/data/tmp -o -path ./clickhouse/data/status -o -path './clickhouse/data/*/system') | sort > "$work/leave"
echo "left out:" && sed 's/^/  /' "$work/leave"
tar -C "$work/data" --exclude-from "$work/leave" --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rwX,go= -cf - . | gzip -9n > "$to/data.tar.gz"
if { tar -xOzf "$to/data.tar.gz"; tar -tvzf "$to/data.tar.gz"; cat "$to/schema.sql"; } | grep -aqF -e "$work" -e "$here" -e "$HOME"; then
	echo "the archive names places of this machine" >&2
	exit 1
fi
ls -l "$to"
