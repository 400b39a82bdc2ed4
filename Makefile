# Targets for people and for CI. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# So many digits that two clones agree on them: git's own choice depends on what else a clone has.
VERSION  ?= $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo 0.0.0-dev)
REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)
GO       ?= go
BIN      := bin
# What the program says of itself comes from the two above: a clone, a worktree, an archive of the source and the Dockerfile make the same bytes.
BUILD    := $(GO) build -trimpath -buildvcs=false

# The linters are built once, from source, into the cache.
CACHE             ?= $(or $(PULLWATCH_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pullwatch)
GOLANGCI_VERSION  := v2.15.0
GOLANGCI          := $(CACHE)/tools/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/pullwatch
	@CGO_ENABLED=0 $(BUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/pullwatch ./cmd/agent

# README.md says which of them are tested. Told to trim paths too, vet shares with build what is compiled.
PLATFORMS := linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le linux/s390x linux/riscv64

VET       := $(GO) vet -trimpath ./...

.PHONY: cross
cross: ## vet and build bin/pullwatch-OS-ARCH for every platform, as the Dockerfile does
	@for platform in $(PLATFORMS); do \
		IFS=/ read -r os arch variant <<< $$platform; \
		export CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch GOARM=$${variant#v}; \
		echo "$$platform"; \
		$(VET); \
		$(BUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/pullwatch-$$os-$$arch$$variant ./cmd/agent; \
	done

# The time of every file in a release: that of the commit.
SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
DIST              := dist
# A chart's version is semantic: v1.2.3 is 1.2.3, and what has no tag is before all that have one.
CHART_VERSION      = $(or $(patsubst v%,%,$(filter v%,$(VERSION))),0.0.0-g$(VERSION))

# Nothing of the environment may change a program. What a configuration of the go command changes, cmd/release refuses.
.PHONY: release
release: export GOFLAGS :=
release: export GOEXPERIMENT :=
release: ## what a release consists of, into dist/: all platforms, checksums, SBOMs, image, chart, manifests (docs/RELEASES.md)
	@rm -rf $(DIST) && mkdir -p $(DIST)
	@$(MAKE) --no-print-directory cross VET=: BIN=$(BIN)/release
	@cd test/chart && $(GO) run ./cmd/package --version '$(CHART_VERSION)' --app-version '$(VERSION)' --epoch '$(SOURCE_DATE_EPOCH)' --out '$(CURDIR)/$(DIST)'
	@cd test/node && $(GO) run ./cmd/release --version '$(VERSION)' --revision '$(REVISION)' --epoch '$(SOURCE_DATE_EPOCH)' --platforms '$(PLATFORMS)' \
		--programs '$(CURDIR)/$(BIN)/release' --out '$(CURDIR)/$(DIST)'
	@cat $(DIST)/SHA256SUMS

.PHONY: reproducible
reproducible: ## make the release of this commit in two clones, the second with nothing compiled before, and compare
	@cd test/node && $(GO) test -count=1 -timeout 60m -v ./release/reproducible

.PHONY: check
check: fmt vet lint unit chart ## format, vet, lint, unit tests, the chart: run this before a commit

.PHONY: fmt
fmt: ## fail where gofmt would change something
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted (run gofmt -w):"; echo "$$out"; exit 1; fi

.PHONY: vet
vet: ## go vet, all modules
	@$(GO) vet ./...
	@cd test/node && $(GO) vet ./...
	@cd test/chart && $(GO) vet ./...

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint, all modules
	@$(GOLANGCI) run --allow-serial-runners ./...
	@cd test/node && $(GOLANGCI) run --allow-serial-runners --config ../../.golangci.yml ./...
	@cd test/chart && $(GOLANGCI) run --allow-serial-runners --config ../../.golangci.yml ./...

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) (about 4 minutes on 2 cores, once)"
	@mkdir -p $(@D) && GOBIN=$(@D)/new $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) && mv $(@D)/new/golangci-lint $@

.PHONY: unit
unit: ## unit tests with the race detector
	@$(GO) test -race ./...
	@cd test/node && $(GO) test -short . ./asked ./probed ./filled ./release

# -count=1: it reads files outside of its module, at which the cache of results does not look.
.PHONY: chart
chart: ## lint the Helm chart and hold it to the kustomizations (1 minute to compile, then 3 seconds)
	@cd test/chart && $(GO) test -count=1 ./...

.PHONY: test
test: unit chart ## unit tests, then tests against a real containerd and registry from Debian (needs root)
	@cd test/node && $(GO) test -count=1 -timeout 10m ./runtime/... ./cmd/node
	@cd test/node && $(GO) test -count=1 -timeout 10m -short ./monitored

# Both halves wait most of their time, and each has nodes of its own.
.PHONY: e2e
e2e: build ## the whole node: etcd, API server, kubelet, containerd, registries, and the agent (needs root)
	@$(MAKE) --no-print-directory -j2 e2e-node e2e-around

.PHONY: e2e-node
e2e-node:
	@cd test/node && $(GO) test -count=1 -timeout 40m -p 1 -v . ./e2e/... ./cmd/fleet

.PHONY: e2e-around
e2e-around:
	@cd test/node && PULLWATCH_NODE_CONTAINERD=2.4 $(GO) test -count=1 -timeout 20m ./runtime/...
	@cd test/node && $(GO) test -count=1 -timeout 20m ./asked -quick
	@cd test/node && $(GO) test -count=1 -timeout 20m ./probed
	@cd test/node && $(GO) test -count=1 -timeout 20m ./paged
	@cd test/node && $(GO) test -count=1 -timeout 20m ./filled -quick
	@cd test/node && $(GO) test -count=1 -timeout 20m ./monitored

.PHONY: asked
asked: ## all of docs/containerd-hosts.md tried on the real containerd, the slow cases too (needs root; 8 minutes)
	@cd test/node && $(GO) test -count=1 -timeout 40m ./asked

.PHONY: probed
probed: ## write docs/probe-faults.md: what the probe and the real containerd say of every fault (needs root; 5 minutes)
	@cd test/node && $(GO) test -count=1 -timeout 20m ./probed -update

.PHONY: filled
filled: build ## write docs/disk-filled.md: what Pullwatch says of a disk, and then the real kubelet (needs root; 8 minutes)
	@cd test/node && $(GO) test -count=1 -timeout 20m ./filled -update

.PHONY: monitored
monitored: build ## real Prometheus and Alertmanager beside the agent: a registry dies, the alert fires and ends; every panel's query (needs root)
	@cd test/node && $(GO) test -count=1 -timeout 20m -v ./monitored

# Built with the flags of the agent, the harness shares with it what is compiled.
NODE := CGO_ENABLED=0 $(GO) run -trimpath ./cmd/node

.PHONY: paged-picture
paged-picture: build ## write docs/page.png: the page of a real node with broken pods (needs root)
	@cd test/node && $(GO) test -count=1 -timeout 20m ./paged -run TestReal -update

.PHONY: quickstart
quickstart: ## a real containerd and five registries, four of them broken, with the agent beside them (needs root)
	@echo "compiling the agent and the harness (about 2 minutes on 2 cores, once)"
	@$(MAKE) --no-print-directory build
	@cd test/node && $(NODE) quickstart --agent $(CURDIR)/$(BIN)/pullwatch

.PHONY: demo
demo: build ## a whole node of its own with broken pods and the agent, to look around in (needs root)
	@cd test/node && $(NODE) demo --agent $(CURDIR)/$(BIN)/pullwatch

.PHONY: down
down: ## stop what `make quickstart` and `make demo` started
	@cd test/node && $(NODE) down

.PHONY: bench
bench: build ## measure the agent beside its peers; writes the tables of docs/BENCHMARKS.md (needs root)
	@cd test/node && $(GO) run ./cmd/bench --agent $(CURDIR)/$(BIN)/pullwatch --page $(CURDIR)/docs/BENCHMARKS.md

.PHONY: fleet
fleet: build ## measure what 300 agents cost the API server, about 25 minutes; writes docs/FLEET.md (needs root)
	@cd test/node && $(GO) run ./cmd/fleet --agent $(CURDIR)/$(BIN)/pullwatch --page $(CURDIR)/docs/FLEET.md

.PHONY: docs
docs: ## write the pages that are made from the code
	@$(GO) test ./pkg/cause ./pkg/metrics ./cmd/agent -run TestDocs -update
	@cd test/node && $(GO) test ./asked -run TestDocs -update
	@cd test/chart && $(GO) test . -run TestDocs -update
	@cd test/node && $(GO) test ./monitored -run TestPrometheusRules -update

.PHONY: fuzz
fuzz: ## every fuzz target for 20 s
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz || true); do $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime 20s $$p; done; done
