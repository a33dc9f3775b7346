#!/usr/bin/env bash
# What testssl.sh says of the broker's own TLS: takes some minutes, and fails below grade A. `make test` asks openssl for the same
# in a second (tests/e2e/secure.rs); this one knows more.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

need_builders
have testssl || { have apt-get && apt_install testssl.sh bsdmainutils dnsutils; }
have testssl || fail "testssl.sh is not here: install it as testssl"
binary="${TESTS_BINARIES:-$target_dir/release}/moorline-broker"
[ -x "$binary" ] || cargo build --release -p moorline-broker
folder="$(mktemp -d)"
broker=
trap 'if [ -n "$broker" ]; then kill "$broker" 2>/dev/null; fi; rm -rf "$folder"' EXIT
port="${PORT:-8443}"

say "an authority and a certificate for localhost"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 300 -subj "/CN=tests' authority" \
    -addext 'keyUsage=critical,keyCertSign,cRLSign' -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=localhost' -keyout "$folder/broker.key" -out "$folder/broker.csr" 2>/dev/null
printf '%s\n' 'subjectAltName=DNS:localhost,IP:127.0.0.1' 'extendedKeyUsage=serverAuth' 'basicConstraints=CA:FALSE' >"$folder/extensions"
openssl x509 -req -in "$folder/broker.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 300 -extfile "$folder/extensions" \
    -out "$folder/broker.pem" 2>/dev/null
chmod 600 "$folder"/*.key
"$binary" --config config/demo.toml --set "listen=127.0.0.1:$port" --set "data_dir=$folder/data" --set "enroll.install_key_file=" \
    --set "tls.certificate_file=$folder/broker.pem" --set "tls.key_file=$folder/broker.key" >"$folder/broker.log" 2>&1 &
broker=$!
for _ in $(seq 100); do
    curl --silent --cacert "$folder/ca.pem" "https://localhost:$port/livez" >/dev/null && break
    kill -0 "$broker" 2>/dev/null || { cat "$folder/broker.log"; fail "the broker has ended"; }
    sleep 0.1
done

mkdir -p "$target_dir"
report="$target_dir/testssl.json"
rm -f "$report"
# Its exit status counts its own findings of any kind; the report is what is judged.
testssl --quiet --color 0 --ip one --add-ca "$folder/ca.pem" --jsonfile "$report" "https://localhost:$port/" || true
python3 - "$report" <<'PYTHON'
import json, sys
found = json.load(open(sys.argv[1]))
assert len(found) > 80, f"only {len(found)} findings: it was cut short"
# Debian's 3.0 gives no grade yet: there, nothing may be wrong at all.
grade = next((one["finding"] for one in found if one["id"] == "overall_grade"), "A (no grade is given)")
bad = [f'{one["id"]}: {one["finding"]}' for one in found if one["severity"] in ("MEDIUM", "HIGH", "CRITICAL")]
# HSTS is never told for localhost; nobody revokes a certificate that an authority of this minute has issued.
known = ("HSTS", "cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL", "DNS_CAArecord", "OCSP_stapling", "security_headers", "BREACH")
bad = [line for line in bad if not line.startswith(known)]
print(f"grade: {grade}", *bad, sep="\n  ")
sys.exit(0 if grade.startswith("A") and not bad else 1)
PYTHON
