# The commands of this repository. `go test ./...` needs Go alone; race needs a C compiler, kafka-test and bench a JDK 17 and Maven.

GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
PLATFORMS   := linux/amd64 linux/386 windows/amd64 darwin/arm64
FUZZTIME    := 10s
SEEDS       := 500
# another each time; FROM=n repeats a run
FROM        := $(shell od -An -N3 -tu4 /dev/urandom | tr -d " ")
ORACLETIME  := 60s
COMPOSETIME := 60s
SOAKTIME    := 1h
DEFECTS     := 10
DRAW        := 0
ROUNDS      := 20

.PHONY: help test race vet lint actionlint fuzz figures kafka-test bench bench-test sim damage chaos soak mutants sim-mutants peer-mutants oracle oracle-mutants composed

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## all tests that need Go alone
	go test ./...

race: ## the same, shortened, with the race detector
	go test -race -short -timeout 20m ./...

vet: ## go vet for every platform, without cgo, the tests under the tag kafka included
	@set -e; for p in $(PLATFORMS); do echo "vet $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go vet -tags kafka ./...; done
	cd bench && go vet ./...

lint: ## gofmt and golangci-lint with .golangci.yml; the linter is built once and cached, which takes some minutes
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	go run $(GOLANGCI) run ./...

actionlint: ## the workflows in .github
	go run $(ACTIONLINT)

figures: ## how readable the code is, in figures; DIRS="..": those of other code beside them
	go run ./scripts/figures . $(DIRS)

fuzz: ## every Fuzz function for FUZZTIME (10s)
	scripts/fuzz $(FUZZTIME)

kafka-test: ## the tests under the tag kafka, on a real Apache Kafka 4.3.0 from Maven
	scripts/kafka-test

bench: ## the tables of docs/performance.md, beside Kafka Streams 4.3.0 on a real Apache Kafka, from Maven; BENCH="-quick" for a smoke test
	cd bench && go vet ./... && go run . $(BENCH)

bench-test: ## the tests of the bench
	cd bench && go test ./...

sim: ## SEEDS (500) new histories of whole Apps and brokers in virtual time, each with its faults; FROM=n: those from seed n on
	@echo "FROM=$(FROM)"
	go test -count=1 -timeout 120m -v -run TestHistories ./tests/sim -histories $(SEEDS) -from $(FROM)

damage: ## SEEDS files damaged, one at a time, under a loaded App in a process of its own; FROM=n: the seeds from n on
	go test -count=1 -timeout 120m -v -run TestDamage ./tests/damage -damages $(SEEDS) -from $(FROM)

chaos: ## ROUNDS (20) for each guarantee of processes and a real Kafka that are killed, frozen, wiped; FROM=n: with the schedules of seed n. Linux
	@echo "FROM=$(FROM)"
	go test -tags kafka -count=1 -timeout 0 -v -run '^TestKafkaChaos' ./tests/chaos -rounds $(ROUNDS) -seed $(FROM)

soak: ## stores under load for SOAKTIME (1h), with stops and crashes; what they use may not grow. Linux
	go test -count=1 -timeout 0 -v -run TestSoak ./tests/soak -soak $(SOAKTIME)

sim-mutants: ## plants one defect at a time in a copy of the code; the simulation has to find each within 200 histories
	go run ./tests/sim/mutants

mutants: ## a sample of DEFECTS (10) from the three lists below, drawn by DRAW (another each time, printed)
	go run ./tests/sim/mutants -sample $(DEFECTS) -seed $(DRAW)

peer-mutants: ## plants the defects of other libraries (docs/testing.md), one at a time; the tests named there have to find each
	go run ./tests/sim/mutants -peers

oracle: ## each operator against its naive recomputation, as many histories as fit in ORACLETIME (60s), all operators together
	@go test -count=1 -timeout 0 -v -run TestOracles ./tests/oracle -time $(ORACLETIME)

composed: ## random programs of several operators, as many as fit in COMPOSETIME (60s), other ones each time
	@go test -count=1 -timeout 0 -v -run TestComposedPrograms ./tests/composed -time $(COMPOSETIME)

oracle-mutants: ## plants a fault in each operator in a copy of the code; its oracle has to find it within 100 histories
	go run ./tests/sim/mutants -oracles -histories 100
