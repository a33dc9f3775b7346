#!/usr/bin/env bash
# Ten thousand devices and a thousand sessions on one broker. Options go to the measuring program itself:
# load.sh --devices 5000 --sessions 200 --strict
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

need_builders
unit_test_tools
web_packages
web_bundle
say "building broker and agent as they are shipped, and the measuring program"
cargo build --release -p moorline-broker -p moorline-agent
cargo build --release -p moorline-tests --bin load
export TESTS_BINARIES="${TESTS_BINARIES:-$target_dir/release}"
say "load (about four minutes; the figures are of use only while nothing else runs)"
at_an_empty_home "$target_dir/release/load" --json "$target_dir/load.json" "$@"
