# `make help` lists the targets.
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 60s
REQUESTS ?= 5000
REQUESTS_E2E ?= 1000000
E2E ?=
HTTP ?= mixed memory slow reload stop sse mixed-http2 reload-http2 stop-http2
BENCH ?=
FAULTS ?=
FLEET ?=
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
.PHONY: dashboard dashboard-check fleet-proof helm helm-server release release-check

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: FUZZTIME=$(FUZZTIME) per fuzz target, REQUESTS=$(REQUESTS) for the demo, REQUESTS_E2E=$(REQUESTS_E2E),"
	@echo "  E2E and BENCH for additional flags, as in: make e2e E2E='-kill-books 3 -kill-run 2'"

build: ## Build bin/wayside, statically linked, with the version from git describe
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o bin/wayside ./cmd/wayside

demo: ## Run a sample app with wayside in front of it and sample traffic; ends by itself
	$(GO) run ./cmd/wayside demo --requests $(REQUESTS)

test: ## Run all tests with the race detector and a real S3 server, which the tests build themselves
	@scripts/test.sh

e2e: ## Send REQUESTS_E2E requests through wayside to nginx, and look up each in the archive on S3; E2E=flags
	@scripts/need.sh nginx:nginx-light
	$(GO) run ./test/pipeline -requests $(REQUESTS_E2E) $(E2E)

faults: ## Break wayside on purpose: FAULTS='kill power-*' CYCLES=n SEED=s JOBS=n, resumable; short form without FAULTS
	$(GO) run ./test/faults -faults '$(FAULTS)' -cycles $(CYCLES) -seed $(SEED) -jobs $(JOBS)

faults-table: ## Update the table of faults in docs/GUARANTEES.md from docs/evidence/faults.md
	$(GO) run ./test/faults -table -update docs/GUARANTEES.md

model: ## Run MODEL_STEPS random operations on spool and store, and compare both with maps after each
	scripts/model.sh $(MODEL_STEPS)

hostile: ## Attack the real binary in 256 MiB while a healthy client uses it (root); ATTACKS='half* names', HOSTILE='-seconds 300'
	$(GO) run ./test/hostile -attacks '$(ATTACKS)' $(HOSTILE)

hostile-short: ## The same with only seconds per attack, without checking latencies
	$(GO) run ./test/hostile -attacks '$(ATTACKS)' -short

http: ## Run the long proofs of the traffic path; HTTP=mixed, memory, slow, reload, stop, sse, mixed-http2, reload-http2, stop-http2 (minutes each)
	@scripts/need.sh slowhttptest:slowhttptest
	for subject in $(HTTP); do $(GO) run ./test/http -streams 1000000 $$subject || exit 1; done

lint: $(GOLANGCI) ## Run go vet, gofumpt and golangci-lint
	$(GO) vet ./...
	$(GO) vet -tags faults ./...
	$(GOLANGCI) run

$(GOLANGCI): tools/go.mod
	@echo "building golangci-lint, which takes a few minutes the first time"
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

fmt: ## Format the code
	$(TOOL) gofumpt -l -w $$(git ls-files '*.go')

vuln: ## Look for known vulnerabilities in code that can be reached
	$(TOOL) govulncheck ./...

fuzz: ## Run every fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

bench: ## Compare wayside with nginx, HAProxy and a bare forwarder at four loads: CPU, rate, latency, memory; BENCH=flags, as in BENCH='-http2 h2c'
	@scripts/need.sh nginx:nginx-light haproxy:haproxy wrk:wrk
	$(GO) run ./test/bench $(BENCH)

bench-sync: ## Compare spool.sync: request with interval, by rate and latency on this folder's disk
	$(GO) run ./test/bench/sync

archive-proofs: ## Prove the archive: kill -9, an outage, SIGTERM, a week, 10 million events, DuckDB and ClickHouse (npm)
	@scripts/need.sh nginx:nginx-light node:nodejs
	for proof in kill outage shutdown week volume; do $(GO) run ./test/archive $$proof || exit 1; done
	cd test/archive/duckdb && npm ci --no-audit --no-fund
	$(GO) run ./test/archive duckdb
	cd test/archive/clickhouse && npm ci --no-audit --no-fund
	$(GO) run ./test/archive clickhouse

fleet-proof: ## Compare ClickHouse and DuckDB with the figures of 200 instances in one bucket (npm; S3Queue needs Debian's zookeeper); FLEET='-instances 60'
	@scripts/need.sh node:nodejs
	for engine in clickhouse duckdb trino; do (cd test/archive/$$engine && npm ci --no-audit --no-fund) || exit 1; done
	$(GO) run ./test/fleet prove $(FLEET)

bench-micro: ## Run the Go benchmarks of every step, with allocations
	$(GO) test -run '^$$' -bench . -benchmem -benchtime 1s $$($(GO) list ./... | grep -v /bench$$)

dashboard: ## Build the dashboard's committed files from collector/api/dashboard/src (npm)
	@scripts/dashboard.sh build

dashboard-check: ## Check the dashboard's committed files against its sources, and drive it in a real browser (npm, chromium)
	@scripts/dashboard.sh check

docker-check: ## Build and run the Dockerfile's image without a container engine (root)
	@scripts/check-dockerfile.sh

helm: ## Lint and render the Helm chart and the Kustomize base over a matrix of values; builds Helm the first time (minutes)
	@scripts/helm.sh

helm-server: ## Apply all renderings to a real API server of Kubernetes (dry run, pod security restricted); builds it the first time (a quarter of an hour)
	@scripts/need.sh openssl:openssl
	@scripts/helm-server.sh

release: ## Build archives and packages of the working tree in dist/, and publish nothing; builds GoReleaser and syft the first time (ten minutes)
	scripts/release.sh snapshot

release-check: ## Build a release twice, compare the hashes, and install, upgrade and remove its packages; arm64 in an emulator (root, half an hour)
	@scripts/need.sh debootstrap:debootstrap systemd-nspawn:systemd-container qemu-aarch64-static:qemu-user-static rpm:rpm man:man-db
	scripts/release.sh check
	scripts/release.sh twice
	scripts/release.sh older
	$(GO) run ./test/release

clean: ## Remove everything that was built
	rm -rf bin dist test/bench/out
