#!/bin/sh
# Unpacks the Python interpreters for tests/packaging: run as root, safe to repeat.
#
#   python_setup.sh [FOLDER]      default /var/cache/monitoring-plugins-kodeks/python
#
# Each is a folder for chroot with the interpreter of a Debian or Ubuntu release, its standard library and libusb, and
# nothing else: no nagiosplugin, no pyusb, no psutil, no pip. 3.6 is there to be refused. The packages are fetched by
# mmdebstrap from the distributions' archives and checked with their own keys; no package script is run. The key of the
# oldest Ubuntu is bound by SHA-1, which apt of Debian 13 takes from gpgv and not from its own sqv.
set -eu
folder=${1:-/var/cache/monitoring-plugins-kodeks/python}
done_mark="$folder/complete-1"
[ -e "$done_mark" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder"

unpack() { # unpack VERSION SUITE FURTHER_PACKAGES [OPTION]: the root folder of one interpreter
    mmdebstrap --quiet --variant=extract --aptopt='APT::Key::GPGVCommand "/usr/bin/gpgv"' ${4:+"$4"} \
        --include="base-files,python3-minimal,libpython3-stdlib,libusb-1.0-0$3" "$2" "$folder/$1" >"$folder/$1.log" 2>&1 ||
        { cat "$folder/$1.log" >&2; exit 1; }
    mkdir -p "$folder/$1/mnt"
    chroot "$folder/$1" /usr/bin/python3 -IS -c "import sys, ctypes, ssl; assert sys.version_info[:2] == ($(echo "$1" | tr . ,)), sys.version"
}

unpack 3.13 trixie ,ubuntu-keyring
keys="--keyring=$folder/3.13/usr/share/keyrings"
unpack 3.9 bullseye "" & debian_old=$!
unpack 3.11 bookworm "" & debian=$!
unpack 3.6 bionic "" "$keys" & ubuntu_old=$!
wait $debian_old; wait $debian; wait $ubuntu_old
unpack 3.10 jammy "" "$keys" & ubuntu=$!
unpack 3.12 noble "" "$keys"
wait $ubuntu
rm -f "$folder"/*.log
: >"$done_mark"
