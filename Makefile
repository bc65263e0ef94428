# Two commands: `make run` starts three nodes in one process, `make test` is everything that must pass.
#
# ONE cargo profile, release, for the program, clippy, the docs, the tests and the benches: RocksDB's C++ takes 11
# minutes on two cores, belongs to a profile, and is compiled once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.ONESHELL:
MAKEFLAGS += --no-print-directory

# Where CI or QUORATE_CACHE is set, what was built lies outside the checkout, so that the next checkout finds RocksDB and
# the tools there. A place that cannot be written, or a CARGO_TARGET_DIR that is set, leaves cargo its own way.
ifneq ($(QUORATE_CACHE)$(filter-out 0 false,$(CI)),)
ifndef CARGO_TARGET_DIR
QUORATE_CACHE_USED := $(shell cache="$${QUORATE_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/quorate}"; \
	mkdir -p "$$cache/target" 2>/dev/null && [[ -w "$$cache/target" ]] && cd "$$cache" && pwd)
endif
endif
ifneq ($(QUORATE_CACHE_USED),)
export QUORATE_CACHE_USED
export CARGO_TARGET_DIR := $(QUORATE_CACHE_USED)/target
export PATH := $(QUORATE_CACHE_USED)/tools/bin:$(PATH)
endif
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# The cache is emptied above this size: first of what is ours, and only then of RocksDB.
CACHE_GIB_MAX ?= 12

# In CI all tests run to the end, and Cargo.lock is what it says.
ifneq ($(filter-out 0 false,$(CI)),)
LOCKED := --locked
NEXTEST_PROFILE := ci
endif
NEXTEST_PROFILE ?= default

.PHONY: help run test soak checks deps deps-build deps-package build package fmt clippy doc unit nextest doctest deny bench clean trim-cache

help: ## this list
	@echo 'make TARGET; the first two are all that one needs:'
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: deps-build ## three nodes in one process on this machine; ARGS='--ephemeral' and the like go to `quorate dev`
	@exec cargo run --release -- dev $(ARGS)

# With a cache, two runs would replace each other's program under test: the second waits for the first.
test: ## everything that must pass; CI runs this
ifneq ($(QUORATE_CACHE_USED),)
	@exec 9>"$(QUORATE_CACHE_USED)/lock"
	flock -n 9 || { echo 'test: another run uses $(QUORATE_CACHE_USED); waiting for it to end'; flock 9; }
	$(MAKE) trim-cache checks 9>&-
else
	@$(MAKE) checks
endif

checks: deps fmt deny clippy doc unit doctest
	@echo 'test: all passed'

deps: ## install what is missing to build and to test, saying what and why
	@.ci/deps test

deps-build:
	@.ci/deps build

deps-package:
	@.ci/deps package

build: deps-build ## compile the program
	cargo build --release $(LOCKED)

package: build deps-package ## a Debian package of it, in target/debian
	@mkdir -p target/debian
	deploy/package "$(or $(CARGO_TARGET_DIR),target)/release/quorate" target/debian

fmt: ## is the code formatted? (`cargo fmt` mends it)
	cargo fmt --check

clippy: ## lints, warnings are errors
	cargo clippy --release $(LOCKED) --all-targets -- -D warnings

doc: ## the documentation builds, warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --release $(LOCKED) --no-deps

unit: ## all tests but the documentation's; ARGS='-E "binary(tidy)"' picks some
	cargo nextest run --release $(LOCKED) --profile $(NEXTEST_PROFILE) $(ARGS)

nextest: unit ## the same

doctest: ## the examples in the documentation
	cargo test --release $(LOCKED) --doc

# The advisories are in a git repository; without the network the check is left out, and that is said.
deny: ## licences, sources and versions of dependencies, and known vulnerabilities when their list can be fetched
	@echo 'cargo deny check bans licenses sources'
	cargo deny --log-level error check bans licenses sources
	if timeout 60 cargo deny --log-level off fetch db 2>/dev/null; then
	  echo 'cargo deny check advisories'
	  cargo deny --log-level error check advisories
	else
	  echo '*** deny: SKIPPED the check for known vulnerabilities: github.com/RustSec/advisory-db cannot be fetched'
	fi

soak: deps-build ## simulated clusters with fresh seeds until Ctrl-C; ARGS='--minutes 30' and the like go to `quorate sim`
	@exec cargo run --release $(LOCKED) -- sim --soak $(ARGS)

# The benches of single parts are `cargo bench`.
bench: deps-build ## three minutes of load on a local cluster; ARGS='--quick' and the like go to `quorate bench suite`
	@exec cargo run --release $(LOCKED) -- bench suite $(ARGS)

clean: ## remove what was built in this checkout, RocksDB too
	rm -rf target

trim-cache:
	@over() { (( $$(du -sm "$(CARGO_TARGET_DIR)" | cut -f1) > $(CACHE_GIB_MAX) * 1024 )); }
	if over; then
	  echo 'cache: $(QUORATE_CACHE_USED)/target is over $(CACHE_GIB_MAX) GiB; removing what is ours and keeping the dependencies'
	  cargo clean --quiet --release --package quorate
	  rm -rf "$(CARGO_TARGET_DIR)/doc" "$(CARGO_TARGET_DIR)/nextest"
	fi
	if over; then
	  echo 'cache: still over; removing all, RocksDB too'
	  cargo clean --quiet
	fi
