#!/usr/bin/env bash
# Random and mutated bytes on every body that the API reads, and random histories of the terminal protocol, for
# longer than `make test` has: FUZZ_SECONDS for the bodies, and as many histories as fit into about the same time.
# What fails prints its seed; MOORLINE_SEED repeats it.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

seconds="${FUZZ_SECONDS:-600}"
say "bodies of the API, for $seconds s"
MOORLINE_FUZZ_SECONDS="$seconds" cargo test --quiet -p moorline-broker --bin moorline-broker \
    whatever_stands_in_a_body -- --nocapture
say "histories of the terminal protocol"
MOORLINE_HISTORIES="${FUZZ_HISTORIES:-$((seconds * 50))}" cargo test --quiet -p moorline-wire --test term_pair
