#!/usr/bin/env bash
# Every fault at random moments, with every byte and key counted. Options go to the suite itself:
# chaos.sh --rounds 3 --faults broker_kill,tab_reload --seed 7 (MOORLINE_SEED).
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

tests/scripts/install.sh
web_packages
web_bundle
say "building broker and agent as they are shipped, and the suite"
cargo build --release -p moorline-broker -p moorline-agent
cargo build -p moorline-tests --bin chaos
export TESTS_BINARIES="${TESTS_BINARIES:-$target_dir/release}" TESTS_LOG="${TESTS_LOG:-info}"
if [ -n "${MOORLINE_SEED:-}" ]; then export TESTS_SEED="$MOORLINE_SEED"; fi
say "chaos (about ten minutes)"
at_an_empty_home "$target_dir/debug/chaos" --json "$target_dir/chaos.json" "$@"
