# Sourced by demo.sh and run.sh: makes this machine ready. As root it installs the Debian packages that are missing,
# otherwise it names them; Python packages go into .venv in the project's folder.
#   setup PACKAGES_FILE REQUIREMENTS_FILE
setup() {
    missing=""
    for package in $(sed 's/#.*//' "$1"); do
        [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        if [ "$(id -u)" != 0 ]; then
            echo "These Debian packages are missing. Run as root:  apt-get install --no-install-recommends$missing" >&2
            return 1
        fi
        echo "installing$missing"
        without_services apt_install $missing || return 1
    fi
    stamp=".venv/made-from-$(cat "$2" tests/setup.sh | cksum | tr -d ' ')"
    if [ ! -e "$stamp" ]; then
        echo "making the virtual environment .venv"
        [ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv || return 1
        .venv/bin/python -m pip install -q --disable-pip-version-check -r "$2" || return 1
        touch "$stamp"
    fi
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
