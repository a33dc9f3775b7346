#!/usr/bin/env bash
# The fast part: what can be said without starting a broker.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

need_builders
unit_test_tools
web_packages
say "format"
cargo fmt --all --check
say "types and lint of the page"
(cd web && npm run --silent check)
say "the dashboards are as their source writes them"
tests/scripts/dashboards.sh check
web_bundle
say "clippy"
cargo clippy --workspace --all-targets --quiet -- -D warnings
say "unit tests, simulated pairs, actors on a stopped clock, tidy"
if have cargo-nextest; then
    at_an_empty_home cargo nextest run --workspace --status-level fail -E 'not (binary(e2e) or binary(observability) or binary(timing))'
else
    at_an_empty_home cargo test --workspace --exclude moorline-tests --quiet
    cargo test -p moorline-tests --test tidy --quiet
fi
say "unit tests of the page"
(cd web && npm run --silent test)
if have cargo-deny; then tests/scripts/deny.sh; else say "cargo-deny is not here: licences and advisories were not checked (make deny says how)"; fi
