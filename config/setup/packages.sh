#!/usr/bin/env bash
# Install the Debian packages named as arguments, those that are missing, as root.
set -euo pipefail

missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "error: this needs Debian's apt-get to install: ${missing[*]}" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "error: installing ${missing[*]} needs root; type: sudo make" >&2
    exit 1
fi
echo "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# A machine that has just booted may be installing updates by itself.
patiently=(-o DPkg::Lock::Timeout=300)
if ! { apt-get update && apt-get "${patiently[@]}" install --yes --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "error: apt-get could not install ${missing[*]}; its last lines are above" >&2
    exit 1
fi
