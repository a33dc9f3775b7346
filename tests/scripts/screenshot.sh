#!/usr/bin/env bash
# Takes web/screenshot.png from a broker and devices of its own.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

tests/scripts/install.sh
web_packages
web_bundle
cargo build --release -p moorline-broker -p moorline-agent
export MOORLINE_BINARIES="${TESTS_BINARIES:-$target_dir/release}"
at_an_empty_home node tests/browser/screenshot.mjs
