#!/usr/bin/env bash
# What the tests need beyond what the build needs: a real sshd, a real browser, the programs that are run
# in its terminal, and Prometheus.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

need_builders
unit_test_tools
if have apt-get && have dpkg-query; then
    apt_install tmux vim less chromium prometheus faketime \
        fonts-dejavu-core fonts-noto-color-emoji fonts-wqy-zenhei
else
    missing=()
    for program in tmux vim less top prometheus promtool faketime; do have "$program" || missing+=("$program"); done
    have chromium || have chromium-browser || have google-chrome || missing+=(chromium)
    [ ${#missing[@]} = 0 ] || fail "the tests need these programs: ${missing[*]}"
fi
