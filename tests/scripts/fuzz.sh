#!/usr/bin/env bash
# Random bytes on every body that the API reads and on every parser of wire, SECONDS_EACH for each. The latter: with a nightly
# compiler by cargo-fuzz, which looks for bytes that reach new code; without, by the seeded tests that `make test` runs for some seconds.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

need_builders
seconds="${SECONDS_EACH:-60}"
say "the bodies of the API, $seconds s"
TESTS_FUZZ_SECONDS="$seconds" cargo test --quiet -p moorline-broker --bin moorline-broker whatever_stands_in_a_body -- --nocapture
if ! cargo +nightly --version >/dev/null 2>&1; then
    say "no nightly compiler is here (rustup toolchain install nightly): the seeded tests, $seconds s each"
    TESTS_FUZZ_SECONDS="$seconds" exec cargo test -p moorline-wire --release --test parsers -- --nocapture --test-threads=2
fi
folder="$PWD/target/fuzz" tools="$PWD/target/tools/cargo-fuzz"
if [ ! -x "$tools/bin/cargo-fuzz" ]; then
    say "building cargo-fuzz"
    cargo install --quiet --locked --root "$tools" cargo-fuzz
fi
export PATH="$tools/bin:$PATH"
say "the seeds"
TESTS_FUZZ_SEEDS="$folder/seeds" TESTS_FUZZ_SECONDS=1 cargo test --quiet -p moorline-wire --test parsers >/dev/null
for body in $(cargo +nightly fuzz list --fuzz-dir tests/fuzz); do
    say "$body, $seconds s"
    mkdir -p "$folder/corpus/$body"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir "$folder/build" "$body" "$folder/corpus/$body" "$folder/seeds/$body" -- \
        -max_total_time="$seconds" -max_len=65536 -artifact_prefix="$folder/found-$body-" -verbosity=0 -print_final_stats=1
done
