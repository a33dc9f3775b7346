#!/usr/bin/env bash
# How many instructions a keystroke and 1 MiB of output cost in wire, against tests/bench/counts.toml.
# `counts.sh write` takes the new numbers.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

need_builders
if ! have valgrind; then
    if have apt-get && have dpkg-query; then
        apt_install valgrind
    else
        fail "valgrind is not here, which counts instructions. Install it, then run this again"
    fi
fi
say "counting the instructions of a keystroke and of 1 MiB through wire"
# By itself: together with others it would be built with their features, and counted otherwise.
cargo build --release -p moorline-counts
exec "$target_dir/release/counts" "${1:-check}" tests/bench/counts.toml "$target_dir/counts"
