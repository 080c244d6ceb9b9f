#!/usr/bin/env bash
# The tour of `make demo`: start the appliance, push an app, look at it, change it. Can be repeated.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
app=python-hello

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$(printf '%q ' "$@")"; "$@"; }

if [ "$(id -u)" != 0 ]; then
    echo "error: the appliance needs root; type: sudo make demo" >&2
    exit 1
fi

# Under sudo the appliance tells the invoking user's ~/.flynnrc and git of itself, so that is where to read it.
if [ -n "${SUDO_USER:-}" ]; then
    HOME=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    export HOME
fi

say "Start the appliance (the first time it makes its keys and the stack images)"
if flynn-aio status >/dev/null 2>&1; then
    echo "it is running already"
else
    run flynn-aio up --detach
fi
domain=$(flynn-aio credentials --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["domain"])')
fetch() { run curl --silent --show-error --fail --retry 5 --retry-all-errors --cacert "$ca" "https://$app.$domain$1"; echo; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ca=$(cd "$here/.." && pwd)/.venv/demo-ca.pem # stays, so that what is shown can be typed again
flynn-aio credentials --json | python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)["ca_cert"])' >"$ca"

say "Create an app from examples/$app and push it"
cp -R "$here/$app/." "$work/$app"
cd "$work/$app"
git init --quiet --initial-branch=master .
git add .
git -c user.name=demo -c user.email=demo@localhost commit --quiet --message "An example"
if flynn -a "$app" info >/dev/null 2>&1 && flynn apps | grep -w "$app" >/dev/null; then
    run flynn -a "$app" remote add --yes
    git fetch --quiet flynn && git reset --quiet --soft flynn/master 2>/dev/null || true
    git -c user.name=demo -c user.email=demo@localhost commit --quiet --allow-empty --message "Once more"
else
    run flynn create "$app"
fi
run git push flynn master

say "It answers over HTTPS"
fetch /

say "Scale it"
run flynn scale web=2
run flynn ps

say "Change its environment: a new release; the old processes leave when the new ones are up"
run flynn env set GREETING="Hello again, it is $(date +%H:%M:%S)"
fetch /

say "Its log"
run flynn log -n 5

say "It goes on running. Push your own code the same way; stop everything with:"
echo "    $(command -v flynn-aio) down"
