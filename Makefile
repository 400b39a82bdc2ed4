# Targets for people and for CI. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
REVISION ?= $(shell git rev-parse --short HEAD 2>/dev/null)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)
GO       ?= go
BIN      := bin

# The linters are built once, from source, into the cache.
CACHE             ?= $(or $(PULLWATCH_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pullwatch)
GOLANGCI_VERSION  := v2.15.0
GOLANGCI          := $(CACHE)/tools/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/pullwatch
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/pullwatch ./cmd/agent

# README.md says which of them are tested. Told to trim paths too, vet shares with build what is compiled.
PLATFORMS := linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le linux/s390x linux/riscv64

.PHONY: cross
cross: ## vet and build bin/pullwatch-OS-ARCH for every platform, as the Dockerfile does
	@for platform in $(PLATFORMS); do \
		IFS=/ read -r os arch variant <<< $$platform; \
		export CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch GOARM=$${variant#v}; \
		echo "$$platform: vet, build"; \
		$(GO) vet -trimpath ./...; \
		$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/pullwatch-$$os-$$arch$$variant ./cmd/agent; \
	done

.PHONY: check
check: fmt vet lint unit ## format, vet, lint, unit tests: run this before a commit

.PHONY: fmt
fmt: ## fail where gofmt would change something
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted (run gofmt -w):"; echo "$$out"; exit 1; fi

.PHONY: vet
vet: ## go vet, both modules
	@$(GO) vet ./...
	@cd test/node && $(GO) vet ./...

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint, both modules
	@$(GOLANGCI) run --allow-serial-runners ./...
	@cd test/node && $(GOLANGCI) run --allow-serial-runners --config ../../.golangci.yml ./...

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) (about 4 minutes on 2 cores, once)"
	@mkdir -p $(@D) && GOBIN=$(@D)/new $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) && mv $(@D)/new/golangci-lint $@

.PHONY: unit
unit: ## unit tests with the race detector
	@$(GO) test -race ./...
	@cd test/node && $(GO) test -short . ./asked ./probed

.PHONY: test
test: unit ## unit tests, then tests against a real containerd and registry from Debian (needs root)
	@cd test/node && $(GO) test -count=1 -timeout 10m ./runtime/... ./cmd/node

.PHONY: e2e
e2e: build ## the whole node: etcd, API server, kubelet, containerd, registries, and the agent (needs root)
	@cd test/node && PULLWATCH_NODE_CONTAINERD=2.4 $(GO) test -count=1 -timeout 20m ./runtime/...
	@cd test/node && $(GO) test -count=1 -timeout 20m ./asked -quick
	@cd test/node && $(GO) test -count=1 -timeout 20m ./probed
	@cd test/node && $(GO) test -count=1 -timeout 20m ./paged
	@cd test/node && $(GO) test -count=1 -timeout 40m -p 1 -v . ./e2e/... ./cmd/fleet

.PHONY: asked
asked: ## all of docs/containerd-hosts.md tried on the real containerd, the slow cases too (needs root; 8 minutes)
	@cd test/node && $(GO) test -count=1 -timeout 40m ./asked

.PHONY: probed
probed: ## write docs/probe-faults.md: what the probe and the real containerd say of every fault (needs root; 5 minutes)
	@cd test/node && $(GO) test -count=1 -timeout 20m ./probed -update

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
	@$(GO) test ./pkg/cause ./pkg/metrics -run TestDocs -update
	@cd test/node && $(GO) test ./asked -run TestDocs -update

.PHONY: fuzz
fuzz: ## every fuzz target for 20 s
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz || true); do $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime 20s $$p; done; done
