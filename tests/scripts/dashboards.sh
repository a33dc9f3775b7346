#!/usr/bin/env bash
# Writes dashboards/*.json from dashboards/source; with `check`, says which of them are not as they would be written.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

need_builders
cd dashboards/source
if [ ! -e node_modules/.moorline-stamp ] || [ package-lock.json -nt node_modules/.moorline-stamp ]; then
    npm ci --no-audit --no-fund --loglevel error
    touch node_modules/.moorline-stamp
fi
npm run --silent "${1:-write}"
