# Sourced by the scripts beside it: where we are, how we speak, what must be on the machine.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target_dir="${CARGO_TARGET_DIR:-target}"

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'moorline: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# apt_install PACKAGE...: installs those that are missing, when we may; else says what is to be done.
# No service is started by it: the tests bring their own ports and folders.
apt_install() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || fail "these packages are missing: ${missing[*]}. Install them: sudo apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    local policy=/usr/sbin/policy-rc.d ours=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && ours=yes
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } || status=$?
    [ "$ours" = no ] || rm -f "$policy"
    [ "$status" = 0 ] || fail "apt-get could not install ${missing[*]}; see its message above"
}

# need_builders: a C compiler, cargo, node and npm, each in a version that does.
need_builders() {
    if ! have cc; then
        if have apt-get; then apt_install gcc libc6-dev; else fail "no C compiler is here. Install gcc, then run this again"; fi
    fi
    have cargo || fail "cargo is not here. Install Rust from https://rustup.rs, then run this again"
    local node_need="Node.js 20.19 or newer is needed to build the page. Install it from https://nodejs.org, then run this again"
    if ! { have node && have npm; } && have apt-get && [ "$(id -u)" = 0 ]; then apt_install nodejs npm; fi
    have node && have npm || fail "$node_need"
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
        fail "node $(node --version) is too old. $node_need"
}

# ssh_audit: looks at what an SSH server offers. Debian's is older than the key exchange that it is to judge.
ssh_audit() {
    local folder="target/tools/ssh-audit" version=3.9.0
    if [ -e "$folder/ssh_audit-$version.dist-info" ]; then return 0; fi
    if have apt-get && have dpkg-query && ! python3 -m pip --version >/dev/null 2>&1; then apt_install python3-pip; fi
    say "fetching ssh-audit $version"
    rm -rf "$folder"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder" "ssh-audit==$version" ||
        fail "ssh-audit $version cannot be fetched: it needs Python, pip and the Python Package Index"
}

# unit_test_tools: what the agent's own tests run: an SSH client and server, certificates for TLS, limits, ssh-audit.
unit_test_tools() {
    local program missing=()
    if have apt-get && have dpkg-query; then
        apt_install openssh-server openssh-client openssl util-linux procps python3
        ssh_audit
        return
    fi
    for program in ssh ssh-keygen openssl prlimit; do have "$program" || missing+=("$program"); done
    [ -x /usr/sbin/sshd ] || have sshd || missing+=(sshd)
    [ ${#missing[@]} = 0 ] || fail "the tests need these programs: ${missing[*]}"
    ssh_audit
}

# web_packages: what package-lock.json names, unless it is there already.
web_packages() {
    local stamp=web/node_modules/.moorline-stamp
    if [ -e "$stamp" ] && [ ! web/package-lock.json -nt "$stamp" ]; then return 0; fi
    say "installing the page's packages (npm ci)"
    (cd web && npm ci --no-audit --no-fund)
    touch "$stamp"
}

# web_bundle: web/dist, unless nothing of the page has changed since it was built.
web_bundle() {
    local stamp=web/node_modules/.moorline-bundle-stamp
    if [ -e "$stamp" ] && [ -e web/dist/index.html ] && [ -z "$(find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -newer "$stamp" -print -quit)" ]; then
        return 0
    fi
    say "building the page"
    (cd web && npm run --silent build)
    touch "$stamp"
}

# at_an_empty_home COMMAND...: runs it so that whoever logs in as this user, at a device or at an OpenSSH server of the tests, finds
# an empty home. What a person's own profile does at a login is no part of what is tested: it takes its time, and one that is
# killed halfway may leave a lock for which every later login waits. Needs root; for others the home is what it is.
# Nothing can be installed by the command: the list of users does not take another.
at_an_empty_home() (
    if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
        "$@"
        exit
    fi
    home="$(mktemp -d "${TMPDIR:-/tmp}/moorline-home.XXXXXX")"
    trap 'rm -rf "$home" "$home.passwd"' EXIT
    # passwd(5): the third field is the user's number, the sixth the home. All may read it.
    awk -F : -v OFS=: -v home="$home" '$3 == 0 { $6 = home } { print }' /etc/passwd >"$home.passwd"
    chmod 644 "$home.passwd"
    unshare --mount --propagation private bash -c 'mount --bind "$0" /etc/passwd && exec "$@"' "$home.passwd" "$@"
)
