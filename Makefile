# Millrace. "make help" lists the targets.
#
# What is installed goes to .tools, what is built to bin; nothing is installed
# on the machine itself, and nothing is done twice: each tool has a stamp.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-builtin-rules --no-print-directory

TOOLS       := $(CURDIR)/.tools
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TOXIPROXY   := v2.5.0
STATICCHECK := v0.8.2# supports Go 1.26; a Go of two releases later needs a newer one

# Arguments of "make run".
ARGS        ?= --demo
# RACE=1 runs tests with the race detector, which needs a C compiler; binaries never do.
RACE        ?=
# Minutes of "make soak", "make faults" and "make test-kafka", and for each target of "make fuzz"; 0.5 is half of one.
MINUTES     ?= 10
seconds      = $(shell awk 'BEGIN { n = "$(MINUTES)"; if (n + 0 <= 0 || n !~ /^[0-9]*\.?[0-9]*$$/) exit 1; printf "%d", n * 60 + 0.5 }')
# More arguments for "go test".
TESTFLAGS   ?=
# Of "make bench-ingest" and "make bench-transform": rounds, seconds of each measurement, more flags (see benchmarks/ingest).
ROUNDS      ?= 3
SECONDS     ?= 2
BENCHFLAGS  ?=
# Of "make bench-transform": rows of each run.
ROWS        ?= 2000000
# Of "make bench-query": messages of the past that is asked about.
MESSAGES    ?= 10000000
# Of "make bench-capacity": of a core that each instance may use, and records for the transformers.
SHARE       ?= 0.05
RECORDS     ?= 2000000
# The packages of test and bench.
PACKAGES    ?= ./...
# A version of Apache Kafka other than that of scripts/kafka/pom.xml.
KAFKA       ?=
# KAFKA_REQUIRED=1: a test run without Apache Kafka fails.
KAFKA_REQUIRED ?=
# Those of soak and faults; go test is content when no test has the name, so "exists" looks.
END_TO_END  := ./e2e/...
exists       = go test -list $(1) $(END_TO_END) | grep ^Test >/dev/null || { echo "no test in $(END_TO_END) has $(1) in its name"; exit 1; }
number       = [ -n "$(seconds)" ] || { echo 'MINUTES=$(MINUTES) is not a number of minutes'; exit 1; }

libchdb_stamp     := $(TOOLS)/libchdb/.installed
kafka_stamp       := $(TOOLS)/kafka$(if $(KAFKA),-$(KAFKA))/.installed
# The tests over it have the tag kafka, and TestKafka_ begins their names. One
# package at a time: three brokers fill the machine.
kafka_packages    := ./internal/topics ./query/state ./ingester/publish ./transformer ./e2e
kafka_test         = $(test_environment) MILLRACE_KAFKA=$(dir $(kafka_stamp)) go test $(test_arguments) -tags kafka -run '^TestKafka_' -count 1 -p 1 -parallel 4
debian_stamp      := $(TOOLS)/debian/.installed
staticcheck       := $(TOOLS)/bin/staticcheck-$(STATICCHECK)
toxiproxy         := $(TOOLS)/bin/toxiproxy-server-$(TOXIPROXY)
test_environment  := $(if $(RACE),CGO_ENABLED=1,)
test_arguments    := $(if $(RACE),-race,)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile
	echo '  variables: ARGS="--demo --for 20s" (run), RACE=1 (test), MINUTES=n (fuzz, soak, faults, test-kafka), PACKAGES=./schema/... TESTFLAGS="-run X" (test, bench)'

##  Running

.PHONY: run
run: libchdb build ## install what is missing, build, and run: millrace up $(ARGS)
	@exec scripts/run.sh bin/millrace up $(ARGS)

.PHONY: build
build: ## build bin/millrace alone
	@[ -e bin/millrace ] || echo "building bin/millrace (the first time takes a minute)"
	CGO_ENABLED=0 go build -trimpath -ldflags '-X millrace/cmd.version=$(VERSION)' -o bin/millrace .
	echo "built bin/millrace $(VERSION)"

.PHONY: libchdb
libchdb: $(libchdb_stamp) ## install the ClickHouse engine of the trial stack under .tools

$(libchdb_stamp): internal/embedded/libchdb/package.json internal/embedded/libchdb/package-lock.json
	@scripts/install-libchdb.sh $(TOOLS)

##  Tests

.PHONY: tools
tools: libchdb debian toxiproxy staticcheck-install ## install everything that the other targets need under .tools

.PHONY: debian
debian: $(debian_stamp)

$(debian_stamp): scripts/install-debian.sh
	@scripts/install-debian.sh $(TOOLS)

.PHONY: kafka
kafka: $(kafka_stamp) ## install Apache Kafka for the tests under .tools; needs Java 17 and Maven

$(kafka_stamp): scripts/kafka/pom.xml scripts/install-kafka.sh
	@scripts/install-kafka.sh $(TOOLS) $(KAFKA)

# A proxy that does to connections what networks do: for tests alone, so that what it is
# built of is not in go.mod.
.PHONY: toxiproxy
toxiproxy: $(toxiproxy)

$(toxiproxy):
	@echo "installing toxiproxy $(TOXIPROXY)"
	mkdir -p $(TOOLS)/bin
	GOFLAGS= GOBIN=$(TOOLS)/bin/.new go install github.com/Shopify/toxiproxy/v2/cmd/server@$(TOXIPROXY)
	mv $(TOOLS)/bin/.new/server $@

# What RACE=1 tests as it is shipped, without the detector: whole programs, which the tests
# over Apache Kafka have with it, and the generator, whose tests are long loops of one goroutine.
plain := ^millrace/(e2e|benchmarks(/.*)?|internal/traffic)$$

.PHONY: test
test: libchdb debian toxiproxy ## run all tests, real components included; RACE=1: with the race detector
	@scripts/need.sh test $(if $(RACE),race)
	packages=$$(go list $(PACKAGES)) failed=
	if [ -n "$(RACE)" ]; then
		raced=$$(grep -vE '$(plain)' <<<"$$packages" || true)
		packages=$$(grep -E '$(plain)' <<<"$$packages" || true)
		[ -z "$$raced" ] || CGO_ENABLED=1 go test -race -timeout 40m $(TESTFLAGS) $$raced || failed=1
	fi
	[ -z "$$packages" ] || go test -timeout 40m $(TESTFLAGS) $$packages || failed=1
	[ -z "$$failed" ]
	[ '$(PACKAGES)' != ./... ] || $(MAKE) test-kafka-short

# test-kafka-short is the part of test-kafka that every run of the tests has: it
# passes over what the other tests contain, and each test has fewer cases.
.PHONY: test-kafka-short
test-kafka-short:
	@lacks=$$(scripts/need-kafka.sh $(kafka_stamp))
	[ -n "$$lacks" ] || $(MAKE) kafka || lacks="the jars (make kafka)"
	if [ -n "$$lacks" ]; then
		echo "LEFT OUT: the tests over Apache Kafka, because this machine lacks $$lacks"
		[ -z "$(KAFKA_REQUIRED)" ]
		exit
	fi
	$(kafka_test) -skip '^TestKafka_Daemons$$' -timeout 30m $(TESTFLAGS) $(kafka_packages)

.PHONY: test-kafka
test-kafka: libchdb kafka ## run all tests over Apache Kafka, with faults of three brokers for MINUTES minutes at least; KAFKA=4.1.2: another version
	@$(call number)
	MILLRACE_KAFKA_MINUTES=$(MINUTES) $(kafka_test) -v -timeout $$(($(seconds) + 2400))s $(TESTFLAGS) ./internal/kafkatest $(kafka_packages)

.PHONY: fuzz
fuzz: ## run every fuzz target for MINUTES minutes, two at a time
	@$(call number)
	scripts/fuzz.sh $(seconds)

.PHONY: fuzz-smoke
fuzz-smoke: ## run every fuzz target for 5 seconds
	@scripts/fuzz.sh 5

.PHONY: bench
bench: libchdb ## run every benchmark once, to see that it works; to measure: go test -bench
	@go test -run '^$$' -bench . -benchtime 1x -timeout 10m $(TESTFLAGS) $(PACKAGES)

.PHONY: bench-ingest
bench-ingest: build debian ## measure the ingester beside rsyslog and syslog-ng, on two cores: ROUNDS=3 SECONDS=2 BENCHFLAGS="-only tcp"
	@go build -o bin/bench-ingest ./benchmarks/ingest
	taskset -c 0,1 bin/bench-ingest -rounds $(ROUNDS) -seconds $(SECONDS) $(BENCHFLAGS)

.PHONY: bench-transform
bench-transform: build libchdb ## measure the transformer beside ClickHouse's Kafka engine, the disk, and the whole of up: ROUNDS=3 ROWS=2000000
	@go build -o bin/bench-transform ./benchmarks/transform
	taskset -c 0,1 bin/bench-transform -rounds $(ROUNDS) -rows $(ROWS) $(BENCHFLAGS)

.PHONY: bench-query
bench-query: build libchdb ## measure the questions of every day over a made-up past: MESSAGES=10000000 BENCHFLAGS="-rounds 11 -data DIR"
	@go build -o bin/bench-query ./benchmarks/query
	taskset -c 0,1 bin/bench-query -messages $(MESSAGES) $(BENCHFLAGS)

.PHONY: bench-parts
bench-parts: libchdb ## measure the transformer's two parts alone: records to columns, columns to ClickHouse
	@go test ./transformer/block -run '^$$' -bench . -benchtime 1000000x -count $(ROUNDS)
	go test ./transformer/insert -run '^$$' -bench . -benchtime 8x -count $(ROUNDS) -timeout 30m

.PHONY: bench-capacity
bench-capacity: build libchdb kafka ## measure one, two and three ingesters and transformers over three brokers, in five minutes: SHARE=0.05 RECORDS=2000000
	@go build -o bin/bench-capacity ./benchmarks/capacity
	MILLRACE_KAFKA=$(dir $(kafka_stamp)) bin/bench-capacity -share $(SHARE) -rows $(RECORDS) $(BENCHFLAGS)

.PHONY: soak
soak: libchdb debian ## run the daemons under steady load with a fault every second for MINUTES minutes
	@$(call exists,Soak)
	$(call number)
	MILLRACE_SOAK_MINUTES=$(MINUTES) go test -count 1 -v -run Soak -timeout $$(($(seconds) + 900))s $(TESTFLAGS) $(END_TO_END)

.PHONY: faults
faults: libchdb debian toxiproxy ## kill and freeze parts of the stack under load, then break brokers under a producer, for MINUTES minutes each
	@$(call exists,Fault)
	$(call number)
	MILLRACE_FAULT_MINUTES=$(MINUTES) go test -count 1 -v -run Fault -timeout $$(($(seconds) + 900))s $(TESTFLAGS) $(END_TO_END)
	MILLRACE_FAULT_MINUTES=$(MINUTES) go test -count 1 -v -run Fault_Property -timeout $$(($(seconds) + 900))s $(TESTFLAGS) ./ingester/publish

.PHONY: model
model: ## explore the model of exactly once with wider bounds than the tests: minutes, and two gigabytes
	@MILLRACE_MODEL=1 go test -count 1 -v -timeout 60m $(TESTFLAGS) ./transformer/model

##  Checks

.PHONY: generate
generate: ## render docs/schema.md, docs/events.proto, deploy/config.example.yaml
	@go generate ./...

.PHONY: generate-check
generate-check:
	@scripts/generate-check.sh

.PHONY: fmt-check
fmt-check:
	@changed=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
	[ -z "$$changed" ] || { echo "gofmt -w would change:"; echo "$$changed"; exit 1; }

.PHONY: vet
vet:
	@go vet -tags kafka ./...
	go vet -tags crashpoints ./internal/crashpoint

.PHONY: staticcheck-install
staticcheck-install: $(staticcheck)

$(staticcheck):
	@echo "installing staticcheck $(STATICCHECK)"
	mkdir -p $(TOOLS)/bin
	GOFLAGS= GOBIN=$(TOOLS)/bin/.new go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK)
	mv $(TOOLS)/bin/.new/staticcheck $@

.PHONY: staticcheck
staticcheck: $(staticcheck)
	@$(staticcheck) -tags kafka ./...
	$(staticcheck) -tags crashpoints ./internal/crashpoint

.PHONY: check-configs
check-configs: build
	@for file in $$(git ls-files -co --exclude-standard 'deploy/*config*.yaml'); do
		echo "  $$file"
		bin/millrace check --config $$file
	done

.PHONY: check
check: ## all that a change must pass, as in .ci/run; cheapest first
	@scripts/step.sh "formatting" $(MAKE) fmt-check
	scripts/step.sh "build" $(MAKE) build
	scripts/step.sh "vet" $(MAKE) vet
	scripts/step.sh "staticcheck" $(MAKE) staticcheck
	scripts/step.sh "generated files" $(MAKE) generate-check
	scripts/step.sh "shipped configurations" $(MAKE) check-configs
	scripts/step.sh "tests with the race detector" $(MAKE) test RACE=1
	scripts/step.sh "fuzz targets, 5 s each" $(MAKE) fuzz-smoke
	scripts/step.sh "benchmarks, once each" $(MAKE) bench
	echo "make check: all passed"

.PHONY: clean
clean: ## remove bin and .tools
	@rm -rf bin $(TOOLS)
