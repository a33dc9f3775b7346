#!/usr/bin/env bash
# Runs the browser tests, or those of the files that are named: run.sh network clipboard.
# MOORLINE_BIN_DIR says where broker and agent are (default: target/release).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

files=(*.test.mjs)
if [ $# -gt 0 ]; then files=("${@/%/.test.mjs}"); fi
# One file at a time: several browsers at once would measure one another.
exec node --test --test-concurrency=1 --test-reporter=spec "${files[@]}"
