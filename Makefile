# The commands of this repository. Its modules are those that go.work names.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

PACKAGES = $$(go list -m -f '{{.Dir}}/...')
MODULE := github.com/customstatus/customstatus

# How long each fuzz target runs in "make fuzz".
FUZZTIME ?= 5s
# What "make run" hands on, as in: make run ARGS="--addr 127.0.0.1:4000"
ARGS ?=

.PHONY: help test run race cover lint budgets vuln tidy api stranger crossbuild fuzz bench torture chat ci

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

test: ## all tests of all modules, and which were skipped and why
	@scripts/test

run: ## the single binary, on 127.0.0.1:3000
	@go run ./cmd/customstatusd $(ARGS)

# The benchmarks are left out: their rivals take long to compile, and are tested
# by others. So are the clients: the server that they use is another process. So are
# the tests of dashboards and pages, which have no goroutines of ours.
race: ## all tests under the race detector
	@scripts/test -without benchmarks -without compat/clients -without compat/monitoring -without scripts/docs -race

# Without the race detector, under which counting what is covered takes as long as the
# tests.
cover: ## fails if the tests of the library and the adapter cover too little
	@go test -cover . ./httpadapter | scripts/coverage 90 $(MODULE) $(MODULE)/httpadapter

lint: ## gofmt, go vet, staticcheck, go fix
	@unformatted=$$(gofmt -l .)
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet $(PACKAGES)
	go vet -tags nocluster,nometrics ./cmd/customstatusd/...
	go tool staticcheck $(PACKAGES)
	go fix -diff $(PACKAGES)

budgets: ## how long files may be, and which way imports may go
	@go run ./scripts/budgets

vuln: ## known vulnerabilities that a module can reach
	@go run ./scripts/vuln

tidy: ## whether go mod tidy has nothing to do in any module
	@go run ./scripts/tidy

api: ## write the exported surface of the packages into api/
	@go run ./scripts/api

stranger: ## use each module by version from outside, as a stranger would
	@go run ./scripts/stranger

crossbuild: ## build the binary for every target of a release
	@scripts/crossbuild

fuzz: ## each fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

bench: ## the benchmarks, side by side, into docs/performance.md
	@go run ./benchmarks/cmd/report

torture: ## the same tests with thousands of rounds, and long fuzzing: half an hour
	@export CUSTOMSTATUS_TORTURE=1 CUSTOMSTATUS_KILL_ROUNDS=2000
	scripts/test -count=1 -timeout 4h
	scripts/fuzz 1000000x

chat: ## the example chat server, on 127.0.0.1:3001
	@go run ./examples/chatserver $(ARGS)

ci: ## what a change has to pass
	@.ci/run
