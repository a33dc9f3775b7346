#!/usr/bin/env bash
# Builds Moorline and runs a broker and one device on this machine until Ctrl-C. `up.sh dev`: debug
# builds, and the page is built again at each change. PORT picks the port; all data is under ./var
# (VAR). METRICS=1: a Prometheus beside it, on METRICS_PORT.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

mode="${1:-release}"
port="${PORT:-8080}"
var="${VAR:-var}"
case "$port" in '' | *[!0-9]*) fail "PORT is \"$port\", which is not a number" ;; esac
keepers="$(realpath -m "$var")/keepers"
metrics_port="${METRICS_PORT:-$((port + 1000))}"
case "$metrics_port" in '' | *[!0-9]*) fail "METRICS_PORT is \"$metrics_port\", which is not a number" ;; esac
children=()
need_bundle=yes

# end_keepers: the shells of this device outlive broker and agent, but not this script.
end_keepers() {
    local environ
    for environ in /proc/[0-9]*/environ; do
        if grep -qszFx "MOORLINE_KEEP_DIR=$keepers" "$environ"; then kill -KILL "$(basename "$(dirname "$environ")")" 2>/dev/null || true; fi
    done
}

# finish: ends every child, waits for it, and leaves with the status it was given.
finish() {
    local status=$? pid
    trap '' INT TERM HUP
    trap - EXIT
    [ ${#children[@]} -gt 0 ] || exit "$status"
    kill -TERM "${children[@]}" 2>/dev/null || true
    # Whoever has not ended after 35 s (the broker drains for at most 30) is ended.
    ( exec 2>/dev/null; timeout 35 tail -q -f /dev/null "${children[@]/#/--pid=}" || kill -KILL "${children[@]}" ) || true
    for pid in "${children[@]}"; do wait "$pid" 2>/dev/null || true; done
    end_keepers
    [ "$status" = 0 ] && say "everything has ended"
    exit "$status"
}
trap finish EXIT
trap 'exit 0' INT TERM HUP

# start COMMAND...: runs it as a child that cannot outlive this script.
start() {
    if have setpriv; then setpriv --pdeathsig TERM "$@" & else "$@" & fi
    children+=($!)
}

build() {
    need_builders
    if [ "${METRICS:-0}" = 1 ] && ! have prometheus; then
        have apt-get && have dpkg-query || fail "prometheus is not here. Install it, then run this again, or leave METRICS=1 away"
        apt_install prometheus
    fi
    web_packages
    web_bundle
    local flags=(--release) profile=release
    if [ "$mode" = dev ]; then flags=() profile=debug; fi
    say "building broker and agent (the first time takes some minutes)"
    cargo build ${flags[@]+"${flags[@]}"} -p moorline-broker -p moorline-agent
    bin="$target_dir/$profile"
}

# start_prometheus: with the dashboards' own configuration, at our broker.
start_prometheus() {
    mkdir -p "$var/prometheus"
    sed -e "s|127.0.0.1:8080|127.0.0.1:$port|" -e "s|alerts/|$PWD/dashboards/alerts/|" dashboards/prometheus.yml >"$var/prometheus/prometheus.yml"
    start prometheus --config.file="$var/prometheus/prometheus.yml" --storage.tsdb.path="$var/prometheus/data" \
        --web.listen-address="127.0.0.1:$metrics_port" --log.level=warn
    tests/scripts/wait.mjs "$metrics_port" Prometheus "${children[-1]}" || exit 1
}

prepare() {
    mkdir -p "$var/demo"
    chmod 700 "$var" "$var/demo"
    if [ ! -s "$var/demo/install.key" ]; then
        (umask 077 && head -c 32 /dev/urandom | base64 | tr -d '\n' >"$var/demo/install.key")
    fi
}

run() {
    start "$bin/moorline-broker" --config config/demo.toml --set "listen=127.0.0.1:$port" \
        --set "data_dir=$var/broker" --set "enroll.install_key_file=$var/demo/install.key"
    local broker=${children[-1]}
    tests/scripts/wait.mjs "$port" broker "$broker" || exit 1
    start "$bin/moorline-agent" --set "broker.url=ws://127.0.0.1:$port" --set broker.proxy=none --set "state_dir=$var/agent" \
        --set "install_key_file=$var/demo/install.key" --set "keeper.dir=$keepers"
    tests/scripts/wait.mjs "$port" device "$broker" "${children[-1]}" || exit 1
    if [ "${METRICS:-0}" = 1 ]; then start_prometheus; fi
    if [ "$mode" = dev ]; then
        (cd web && exec npx --no-install vite build --watch) &
        children+=($!)
    fi
    printf '\n  \033[1mMoorline is up: http://localhost:%s\033[0m\n' "$port"
    printf '  It opens a shell on this machine. Its data is in %s. Ctrl-C ends it.\n' "$var"
    if [ "${METRICS:-0}" = 1 ]; then printf '  Prometheus scrapes it: http://localhost:%s/alerts\n' "$metrics_port"; fi
    printf '\n'
    # The first child that ends, ends all.
    local status=0
    wait -n "${children[@]}" || status=$?
    say "a part of Moorline has ended (status $status); its message stands above"
    exit 1
}

build
prepare
run
