#!/usr/bin/env bash
# install-kafka.sh TOOLS [VERSION]: copies Apache Kafka's jars into TOOLS/kafka
# with Maven, as scripts/kafka/pom.xml says; another VERSION into
# TOOLS/kafka-VERSION. Where Maven fetches from is the machine's own settings.
set -euo pipefail
tools=$1
version=${2:-}
source=scripts/kafka/pom.xml
name=kafka${version:+-$version}
target=$tools/$name

mkdir -p "$tools"
if command -v flock >/dev/null; then # two makes at a time install once
	exec 9>"$tools/.$name.lock"
	flock 9
fi
if [ -e "$target/.installed" ] && cmp -s "$source" "$target/pom.xml"; then
	touch "$target/.installed"
	exit 0
fi
lacks=$(scripts/need-kafka.sh)
if [ -n "$lacks" ]; then
	echo "cannot install Apache Kafka: this machine lacks $lacks" >&2
	exit 1
fi

echo "installing Apache Kafka ${version:-as in $source}: a download of about 45 MB"
begin=$SECONDS
log=$tools/$name.log
new=$target.new
rm -rf "$new"
mkdir -p "$new"
cp "$source" "$new/pom.xml"
if ! mvn -B -f "$source" ${version:+"-Dkafka.version=$version"} dependency:copy-dependencies -DoutputDirectory="$new/lib" >"$log" 2>&1; then
	grep -m 5 ERROR "$log" >&2 || tail -5 "$log" >&2
	echo "Maven could not fetch Apache Kafka; the log is $log" >&2
	exit 1
fi
if ! compgen -G "$new/lib/kafka-server-[0-9]*.jar" >/dev/null; then
	echo "Maven copied no kafka-server jar; the log is $log" >&2
	exit 1
fi
touch "$new/.installed"
rm -rf "$target"
mv "$new" "$target"
echo "installed Apache Kafka in $((SECONDS - begin)) s"
