#!/usr/bin/env bash
# Everything: the fast part, then broker and agent as they are shipped, driven from end to end.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

tests/scripts/install.sh
tests/scripts/check.sh
say "building broker and agent as they are shipped"
cargo build --release -p moorline-broker -p moorline-agent
export TESTS_BINARIES="${TESTS_BINARIES:-$target_dir/release}"
say "end to end: real processes, real OpenSSH"
if have cargo-nextest; then
    cargo nextest run -p moorline-tests --no-fail-fast --status-level pass --final-status-level slow
else
    # Without nextest the tests of one binary would share the machine: one at a time instead.
    cargo test -p moorline-tests --no-fail-fast -- --test-threads=1
fi
say "in the browser: the page as it is shipped, in real Chromium"
MOORLINE_BINARIES="$TESTS_BINARIES" tests/browser/run.sh
