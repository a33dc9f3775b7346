#!/usr/bin/env bash
# Everything: the fast part, then broker and agent as they are shipped, driven from end to end.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

tests/scripts/install.sh
tests/scripts/check.sh
say "building broker and agent as they are shipped"
cargo build --release -p moorline-broker -p moorline-agent
export TESTS_BINARIES="${TESTS_BINARIES:-$target_dir/release}"
# A failure in one part is no reason not to look at the others.
failed=0
tests/scripts/counts.sh || failed=1
say "end to end: real processes, real OpenSSH, real Prometheus"
if have cargo-nextest; then
    at_an_empty_home cargo nextest run -p moorline-tests --status-level pass --final-status-level slow -E 'binary(e2e) or binary(observability) or binary(timing)' || failed=1
else
    # Without nextest the tests of one binary would share the machine: one at a time instead.
    at_an_empty_home cargo test -p moorline-tests --test e2e --test observability --test timing --no-fail-fast -- --test-threads=1 || failed=1
fi
say "chaos: every fault three times (make chaos tries them more often)"
cargo build -p moorline-tests --bin chaos
TESTS_LOG=info at_an_empty_home "$target_dir/debug/chaos" --short --json "$target_dir/chaos-short.json" || failed=1
say "load: two thousand devices and twenty sessions (make load has ten thousand and a thousand)"
cargo build -p moorline-tests --bin load
at_an_empty_home "$target_dir/debug/load" --short --json "$target_dir/load-short.json" || failed=1
say "in the browser: the page as it is shipped, in real Chromium"
MOORLINE_BINARIES="$TESTS_BINARIES" tests/browser/run.sh || failed=1
exit "$failed"
