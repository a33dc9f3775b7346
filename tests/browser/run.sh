#!/usr/bin/env bash
# Runs the browser tests, or those of the files that are named: run.sh network clipboard.
# MOORLINE_BIN_DIR says where broker and agent are (default: target/release).
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/machine.sh"
cd tests/browser

files=(*.test.mjs)
if [ $# -gt 0 ]; then files=("${@/%/.test.mjs}"); fi
# One file at a time: several browsers at once would measure one another.
at_an_empty_home node --test --test-concurrency=1 --test-reporter=spec "${files[@]}"
