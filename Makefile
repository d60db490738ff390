# The commands of this repository. `go test ./...` needs Go alone; race needs a C compiler, kafka-test Java 17 and Maven.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
PLATFORMS   := linux/amd64 linux/386 windows/amd64 darwin/arm64
FUZZTIME    := 10s
SEEDS       := 500
ORACLETIME  := 60s

.PHONY: help test race vet lint fuzz kafka-test bench sim sim-mutants peer-mutants oracle oracle-mutants

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## all tests that need Go alone
	go test ./...

race: ## the same, shortened, with the race detector
	go test -race -short ./...

vet: ## go vet for every platform, without cgo, the tests under the tag kafka included
	@set -e; for p in $(PLATFORMS); do echo "vet $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go vet -tags kafka ./...; done
	cd bench && go vet ./...

lint: ## gofmt and staticcheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	go run $(STATICCHECK) -tags kafka ./...

fuzz: ## every Fuzz function for FUZZTIME (10s)
	scripts/fuzz $(FUZZTIME)

kafka-test: ## the tests under the tag kafka, on a real Apache Kafka 4.3.0 from Maven
	scripts/kafka-test

bench: ## the table of docs/performance.md, on a real Apache Kafka 4.3.0 from Maven; BENCH="-quick" for a smoke test
	cd bench && go vet ./... && go run . $(BENCH)

sim: ## SEEDS (500) histories of whole Apps and brokers in virtual time, each with its faults
	go test -count=1 -timeout 60m -v -run TestHistories ./internal/sim -histories $(SEEDS)

sim-mutants: ## plants one defect at a time in a copy of the code; the simulation has to find each within 200 histories
	go run ./internal/sim/mutants

peer-mutants: ## plants the defects of other libraries (docs/testing.md), one at a time; the tests named there have to find each
	go run ./internal/sim/mutants -peers

oracle: ## each operator against its naive recomputation, as many histories as fit in ORACLETIME (60s), all operators together
	@go test -count=1 -timeout 0 -v -run TestOracles ./internal/oracle -time $(ORACLETIME)

oracle-mutants: ## plants a fault in each operator in a copy of the code; its oracle has to find it within 100 histories
	go run ./internal/sim/mutants -oracles -histories 100
