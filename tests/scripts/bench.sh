#!/usr/bin/env bash
# Moorline beside what a person would use instead, all in front of one OpenSSH server, and then what takes minutes:
# hundreds of sessions, readers that stop or vanish, a slow line. Options go to the measuring program itself: bench.sh --quick --peers direct_ssh,moorline_embedded --measures key,bulk
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

others="$target_dir/bench-peers"

# install_wetty, install_webssh: other people's servers, in a folder of ours. One that cannot be had is left out.
install_wetty() {
    [ ! -x "$others/wetty/node_modules/.bin/wetty" ] || return 0
    say "installing wetty"
    # Its terminal is built here.
    if have apt-get && have dpkg-query; then (apt_install g++ make python3) || return 1; fi
    mkdir -p "$others/wetty"
    npm install --prefix "$others/wetty" --no-audit --no-fund --loglevel error wetty@3 >"$others/wetty.log" 2>&1
}

install_webssh() {
    [ ! -x "$others/webssh/bin/wssh" ] || return 0
    say "installing webssh"
    if have apt-get && have dpkg-query; then (apt_install python3-venv) || return 1; fi
    mkdir -p "$others"
    { python3 -m venv "$others/webssh" && "$others/webssh/bin/pip" install --quiet webssh; } >"$others/webssh.log" 2>&1
}

need_builders
unit_test_tools
for peer in wetty webssh; do
    "install_$peer" || say "$peer could not be installed and is left out; $others/$peer.log says why"
done
web_packages
web_bundle
say "building broker and agent as they are shipped, and the measuring program"
cargo build --release -p moorline-broker -p moorline-agent
cargo build --release -p moorline-tests --bin bench
export TESTS_BINARIES="${TESTS_BINARIES:-$target_dir/release}"
say "measuring (about forty minutes; the figures are of use only while nothing else runs)"
at_an_empty_home "$target_dir/release/bench" --others "$others" --json "$target_dir/bench.json" "$@"
