# `make help` lists the targets.
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 60s
REQUESTS ?= 5000
REQUESTS_E2E ?= 1000000
E2E ?=
HTTP ?= mixed memory slow reload stop sse
BENCH ?=
FAULTS ?=
ATTACKS ?=
HOSTILE ?= -seconds 300
CYCLES ?= 0
SEED ?= 1
JOBS ?= 1
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
MODEL_STEPS ?= 1000000
TOOL = $(GO) tool -modfile=tools/go.mod
GOLANGCI = bin/golangci-lint

.DEFAULT_GOAL := help
.PHONY: help build demo test e2e http lint fmt vuln fuzz bench bench-micro faults faults-table model hostile hostile-short bench-sync docker-check clean archive-proofs
.PHONY: dashboard dashboard-check fleet-proof

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: FUZZTIME=$(FUZZTIME) per fuzz target, REQUESTS=$(REQUESTS) for the demo, REQUESTS_E2E=$(REQUESTS_E2E),"
	@echo "  E2E and BENCH for further flags, as in: make e2e E2E='-kill-books 3 -kill-run 2'"

build: ## Build bin/wayside, static, with the version that git describes
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o bin/wayside ./cmd/wayside

demo: ## Sample app, sample traffic and wayside in front of it; ends by itself
	$(GO) run ./cmd/wayside demo --requests $(REQUESTS)

test: ## All tests with the race detector, against a real S3 server that they build themselves
	@scripts/test.sh

e2e: ## REQUESTS_E2E requests through nginx, wayside and S3, each looked for in the archive; E2E=flags
	@scripts/need.sh nginx:nginx-light
	$(GO) run ./test/pipeline -requests $(REQUESTS_E2E) $(E2E)

faults: ## Break it on purpose: FAULTS='kill power-*' CYCLES=n SEED=s JOBS=n, resumable; without FAULTS the short form
	$(GO) run ./test/faults -faults '$(FAULTS)' -cycles $(CYCLES) -seed $(SEED) -jobs $(JOBS)

faults-table: ## The table of what was tried, from docs/evidence/faults.md into docs/GUARANTEES.md
	$(GO) run ./test/faults -table -update docs/GUARANTEES.md

model: ## MODEL_STEPS random operations on spool and store, compared with maps after each
	scripts/model.sh $(MODEL_STEPS)

hostile: ## Attacks on the real binary in 256 MiB, beside a healthy client, root; ATTACKS='half* names', HOSTILE='-seconds 300'
	$(GO) run ./test/hostile -attacks '$(ATTACKS)' $(HOSTILE)

hostile-short: ## The same, seconds each, without the ratio of latencies
	$(GO) run ./test/hostile -attacks '$(ATTACKS)' -short

http: ## Long proofs of the traffic path; HTTP=mixed, memory, slow, reload, stop, sse (minutes each)
	@scripts/need.sh slowhttptest:slowhttptest
	for subject in $(HTTP); do $(GO) run ./test/http $$subject || exit 1; done

lint: $(GOLANGCI) ## go vet, gofumpt and golangci-lint
	$(GO) vet ./...
	$(GO) vet -tags faults ./...
	$(GOLANGCI) run

$(GOLANGCI): tools/go.mod
	@echo "building golangci-lint: a few minutes, once"
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

fmt: ## Format the code
	$(TOOL) gofumpt -l -w $$(git ls-files '*.go')

vuln: ## Look for known vulnerabilities in the code that is reached
	$(TOOL) govulncheck ./...

fuzz: ## Every fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

bench: ## wayside beside nginx, HAProxy and a bare forwarder at four loads: CPU, rate, latency, memory, budgets; BENCH=flags
	@scripts/need.sh nginx:nginx-light haproxy:haproxy wrk:wrk
	$(GO) run ./test/bench $(BENCH)

bench-sync: ## spool.sync: request beside interval: rate and latency, on this folder's disk
	$(GO) run ./test/bench/sync

archive-proofs: ## The archive: kill -9 while archiving, an outage, SIGTERM, a week, 10 million events, DuckDB and ClickHouse (npm)
	@scripts/need.sh nginx:nginx-light node:nodejs
	for proof in kill outage shutdown week volume; do $(GO) run ./test/archive $$proof || exit 1; done
	cd test/archive/duckdb && npm ci --no-audit --no-fund
	$(GO) run ./test/archive duckdb
	cd test/archive/clickhouse && npm ci --no-audit --no-fund
	$(GO) run ./test/archive clickhouse

fleet-proof: ## 200 instances, one bucket: ClickHouse and DuckDB agree with the instances' own figures (npm; with Debian's zookeeper also S3Queue)
	@scripts/need.sh node:nodejs
	for engine in clickhouse duckdb trino; do (cd test/archive/$$engine && npm ci --no-audit --no-fund) || exit 1; done
	$(GO) run ./test/fleet prove

bench-micro: ## Go benchmarks of every step, with allocations
	$(GO) test -run '^$$' -bench . -benchmem -benchtime 1s $$($(GO) list ./... | grep -v /bench$$)

dashboard: ## Build the dashboard's committed files from collector/api/dashboard/src (npm)
	@scripts/dashboard.sh build

dashboard-check: ## Are they what the sources build to? Then drive the dashboard in a real browser (npm, chromium)
	@scripts/dashboard.sh check

docker-check: ## Build and run the Dockerfile's image without a container engine (root)
	@scripts/check-dockerfile.sh

clean: ## Remove what was built
	rm -rf bin dist test/bench/out
