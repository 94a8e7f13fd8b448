SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MODULES := $(shell git ls-files '*go.mod' | xargs -n1 dirname)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 1m
export GOWORK = off

.PHONY: help
help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

# In these packages nothing runs at once: the race detector would find nothing, and take six times as long.
# It is the same with some tests of the library, see serial_test.go; lincheck checks fewer histories under it.
SERIAL := /internal/(mutants|view|view/model)$$

.PHONY: test
test: ## Run all tests of every module, with the race detector where anything runs at once
	@for d in $(MODULES); do echo "-- $$d"; (cd $$d && go test -race -timeout 20m $$(go list ./... | grep -Ev '$(SERIAL)')) || exit 1; done
	@go test -timeout 20m $$(go list ./... | grep -E '$(SERIAL)')
	@go test -timeout 20m -run '^Test(Duel|LFU|Ring|Weighing)' .
	@cd lincheck && go test -timeout 20m .

.PHONY: test-386
test-386: ## Vet and test the library built for 32 bits, which any amd64 machine runs
	GOARCH=386 CGO_ENABLED=0 go vet ./...
	GOARCH=386 CGO_ENABLED=0 go test -short ./...

.PHONY: test-invariants
test-invariants: ## Run the tests of all operations with checks of the locks and the accounts after each of them
	go test -tags invariants -run '^(TestMetamorphic|TestAnything.*|TestBounds.*|TestAccounted.*|TestLoan.*|TestHazard.*)$$' .

.PHONY: lint
lint: ## Run go vet and staticcheck on every module
	@for d in $(MODULES); do (cd $$d && go vet ./... && go run $(STATICCHECK) ./...) || exit 1; done

.PHONY: tidy
tidy: ## Tidy every module
	@for d in $(MODULES); do (cd $$d && go mod tidy) || exit 1; done

.PHONY: tidy-check
tidy-check: ## Fail if a module is not tidy
	@for d in $(MODULES); do (cd $$d && go mod tidy -diff) || exit 1; done

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (default 1m)
	@for d in $(MODULES); do (cd $$d && for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; \
	done) || exit 1; done

.PHONY: soak
soak: fuzz ## Run every stress test and every fuzz test for FUZZTIME (default 1m)
	COVEY_SOAK=$(FUZZTIME) go test -race -timeout 1h -run '^(TestAnything|TestSnapshotProcessIsKilled)' .

SEEDS ?= 200
.PHONY: nightly
nightly: soak mutants ## What takes too long for every change: soak, mutants, and many histories of the views and for lincheck (SEEDS)
	go test -timeout 2h -v -run 'Simulation|Start|ListsDiffer' ./internal/view -view.seeds 500 -view.seed 1000 -view.starts 500
	cd internal/view/model && go run . -seeds 500 -seed 1000
	cd lincheck && go test -timeout 2h . -args -seeds $(SEEDS)

.PHONY: mutants
mutants: ## Break each invariant on purpose and see its test fail
	go run ./internal/mutants

.PHONY: bench
bench: ## Compare with the rivals in some minutes: benchmarks/report.html
	cd benchmarks && go run . report -quick

.PHONY: bench-full
bench-full: ## Run all benchmark suites at length: benchmarks/report.html (takes an hour or more)
	cd benchmarks && go run . report

BASE ?= HEAD~1
SUITES ?= local group
.PHONY: bench-compare
bench-compare: ## Compare the speed of the working tree with that of BASE (default HEAD~1), in turns
	cd benchmarks && for s in $(SUITES); do go run . compare -base $(BASE) $$s; done
