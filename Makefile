# Moorline: build, run and test. `make` lists the targets.
# A target's line of help is what stands behind its `##`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up test check chaos bench load fuzz testssl counts dev dashboards deny screenshot clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## build everything, start a broker and one device on this machine (PORT=8080), and a Prometheus (METRICS=1); Ctrl-C ends it
	@exec tests/scripts/up.sh

test: ## install what the tests need and run every one of them (what CI runs)
	@exec tests/scripts/test.sh

check: ## the fast part: format, clippy, types, lint, unit tests, tidy
	@exec tests/scripts/check.sh

chaos: ## kill, cut, stall and fill everything at random moments; no byte, key or session may be lost (SEED=)
	@MOORLINE_SEED="$(SEED)" exec tests/scripts/chaos.sh

bench: ## speed, size and Ctrl-C beside direct ssh, ssh -J, wetty and webssh, and what takes minutes; writes target/bench.json and the README's tables
	@exec tests/scripts/bench.sh --readme

load: ## ten thousand devices and a thousand sessions on one broker (N=10000); writes target/load.json
	@exec tests/scripts/load.sh --devices "$(or $(N),10000)"

fuzz: ## random bytes on every parser of wire, a minute each (SECONDS_EACH=60); by cargo-fuzz where there is a nightly compiler
	@exec tests/scripts/fuzz.sh

testssl: ## what testssl.sh says of the broker's own TLS; fails below grade A (some minutes, needs Debian's testssl.sh)
	@exec tests/scripts/testssl.sh

counts: ## count the instructions of a keystroke and of 1 MiB through wire; more than +5 % fails
	@exec tests/scripts/counts.sh

dev: ## like up, but debug builds, and the web page is built again whenever a file of it changes
	@exec tests/scripts/up.sh dev

dashboards: ## write dashboards/*.json from dashboards/source
	@exec tests/scripts/dashboards.sh

deny: ## licences and known vulnerabilities of every dependency (needs cargo-deny)
	@exec tests/scripts/deny.sh

screenshot: ## take the README's picture again: web/screenshot.png
	@exec tests/scripts/screenshot.sh

clean: ## remove everything that was built; ./var stays
	rm -rf target web/dist web/node_modules dashboards/source/dist dashboards/source/node_modules
