# flowtally: make help says what there is.

.DEFAULT_GOAL := build
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# Tools that deploy/setup.sh had to fetch come first, Go's usual place last.
export PATH := $(CURDIR)/.tools/bin:$(PATH):/usr/local/go/bin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s
BENCH ?= .

CONSOLE := $(shell find web/ui/src web/ui/public web/ui/index.html web/ui/*.ts web/ui/*.js web/ui/package.json -type f -not -name '* *' 2>/dev/null)

.PHONY: help build binary compiled console run setup deb test race fuzz bench bench-exporter bench-collector bench-store bench-ingest torture lint generate clean env up down class backup restore test-compose

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

run: ## set up, build and show the product: flowtally lab --demo
	@deploy/setup.sh check
	@$(MAKE) setup
	@$(MAKE) build
	@exec ./flowtally lab --demo

build: ## the console and the binary ./flowtally
	@$(MAKE) -j2 console compiled
	@$(MAKE) binary

setup: ## install what is missing to build and run
	@deploy/setup.sh run

# Static: it runs in any container and on any distribution.
binary:
	@echo "building ./flowtally"
	@CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o flowtally .

# All but what the console goes into, at the same time as that.
compiled:
	@export CGO_ENABLED=0; go mod download && go build -trimpath \
		$$(go list -e -deps . | grep -E '^flowtally/|^[^/]*\.[^/]*/' | grep -vxE 'flowtally/(command|lab|web)')

console: web/dist/index.html
	@:

web/dist/index.html: web/ui/node_modules/.installed $(CONSOLE)
	@echo "building the page"
	@cd web/ui && npm run --silent build >/dev/null
	@touch $@

web/ui/node_modules/.installed: web/ui/package-lock.json
	@echo "getting the page's packages from the npm registry"
	@cd web/ui && npm ci --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

test: ## everything: checks, unit tests, real PostgreSQL, real peers, the page in Chromium
	@deploy/setup.sh test
	@$(MAKE) build
	@$(MAKE) lint
	@deploy/test.sh

deb: build ## a package for Debian and Ubuntu, with systemd units: flowtally_*.deb
	@deploy/deb.sh

race: ## Go's tests alone, under the race detector
	@go test -race ./...

lint: ## gofmt, go vet, staticcheck, other systems, shell syntax
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		if [ -n "$$unformatted" ]; then echo "gofmt: run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet -tags compose ./... && go -C netflow/interop vet ./...
	go tool -modfile=tools/go.mod staticcheck -tags compose ./...
	@for os in openbsd freebsd darwin; do echo "GOOS=$$os go build"; CGO_ENABLED=0 GOOS=$$os go build -o /dev/null ./... ; done
	@for f in deploy/*.sh .ci/run; do bash -n "$$f"; done
	@if command -v shellcheck >/dev/null; then shellcheck --severity=warning deploy/*.sh .ci/run; fi

fuzz: ## every fuzz target for FUZZTIME (30s)
	@go list ./... | while read -r pkg; do \
		go test -list '^Fuzz' "$$pkg" </dev/null | { grep '^Fuzz' || true; } | while read -r target; do \
			echo "== $$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$pkg" </dev/null; \
		done; \
	done
	go -C netflow/interop test -run '^$$' -fuzz FuzzAllDecodersAgree -fuzztime $(FUZZTIME) .

bench: ## Go's benchmarks with allocations; BENCH=regexp chooses
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

bench-exporter: ## the exporter beside softflowd, nfpcapd and pmacctd
	@deploy/bench-exporter.sh

bench-collector: ## the highest lossless rate into PostgreSQL, beside nfacctd
	@deploy/bench-collector.sh

bench-store: ## questions beside nfdump's, on the same 20 million flows; what dashboards cost the collector
	@deploy/bench-store.sh

bench-ingest: ## what polled dashboards, sealing and removal cost the collector
	@deploy/bench-ingest.sh

torture: ## hours of it: 200 kills, every cut of every capture, all tests ten times under -race, five minutes a fuzz target
	@echo "torture: the long tests; every Go test ten times, shuffled, under the race detector; then each fuzz target for five minutes"
	FLOWTALLY_TORTURE=1 go test -timeout 120m -v -run 'TestKill|Torture' ./story
	FLOWTALLY_TORTURE=1 go test -timeout 120m ./...
	go test -race -count 10 -shuffle on -timeout 120m ./...
	@$(MAKE) fuzz FUZZTIME=5m

generate: ## make generated files anew
	go generate ./...

.PHONY: man
man: ## the manual pages, in man/man1
	@go run . man man/man1

clean: ## remove what was built and fetched here; data directories stay
	rm -rf flowtally flowtally_*.deb .tools web/ui/node_modules
	find web/dist -mindepth 1 -not -name .gitkeep -delete

env: .env ## write .env with random passwords for Docker, once

.env:
	@umask 077; for role in POSTGRES WRITER WEB READER GRAFANA; do \
		echo "$${role}_PASSWORD=$$(LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 32 || true)"; \
	done >.env; { echo; cat .env.example; } >>.env; echo "wrote .env with five random passwords, and a line for each thing one would change"

up: env ## docker compose: build, start, wait until healthy
	docker compose up --build --detach --wait

down: ## docker compose: stop; the volumes stay
	docker compose --profile '*' down

class: env ## docker compose: certificate, teacher and STUDENTS="NAME …" for the profile class
	@deploy/class.sh $(STUDENTS)

backup: ## docker compose: the database into FILE, while everything runs
	@deploy/backup.sh save $(FILE)

restore: ## docker compose: FILE in place of the database
	@deploy/backup.sh restore $(FILE)

test-compose: ## the compose file with all profiles, on a Docker engine of its own
	@status=0; deploy/test-compose.sh || status=$$?; \
		if [ $$status -eq 77 ] && [ -z "$${CI:-}" ]; then echo "skipped, see above"; exit 0; fi; exit $$status
