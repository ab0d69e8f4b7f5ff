# Sourced by demo.sh, quick.sh, run.sh and others: makes this machine ready.
#   packages FILE       as root installs the Debian packages that are missing, otherwise names them
#   environment FILE    puts Python packages into .venv in the project's folder
packages() {
    missing=""
    for package in $(sed 's/#.*//' "$1"); do
        [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "These Debian packages are missing. Run as root:  apt-get install --no-install-recommends$missing" >&2
        return 1
    fi
    echo "installing$missing"
    without_services apt_install $missing
}

environment() {
    stamp=".venv/made-from-$(cat "$1" tests/setup.sh | cksum | tr -d ' ')"
    [ ! -e "$stamp" ] || return 0
    echo "making the virtual environment .venv"
    [ -x .venv/bin/python ] || python3 -m venv .venv || { rm -rf .venv; return 1; }
    .venv/bin/python -m pip install -q --disable-pip-version-check -r "$1" && touch "$stamp"
}

apt_install() {
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/tmp/apt-install.$$ 2>&1 ||
        { cat /tmp/apt-install.$$ >&2; rm -f /tmp/apt-install.$$; return 1; }
    rm -f /tmp/apt-install.$$
}

# The tests start their servers themselves; a package must not start one on its installation.
without_services() {
    [ -e /usr/sbin/policy-rc.d ] && { "$@"; return; }
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
    "$@"
    result=$?
    rm -f /usr/sbin/policy-rc.d
    return $result
}
