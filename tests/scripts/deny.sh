#!/usr/bin/env bash
# Licences, sources and known vulnerabilities of every crate.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

have cargo-deny || fail "cargo-deny is not here. Install it: cargo install --locked cargo-deny"
say "licences and advisories"
cargo deny --log-level error check
