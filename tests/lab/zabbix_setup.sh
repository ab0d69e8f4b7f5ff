#!/bin/sh
# Puts the Zabbix software for tests/lab/zabbix_lab.py on this machine: Debian 12, run as root, safe to repeat.
#
#   zabbix_setup.sh [FOLDER]      default /var/cache/monitoring-plugins-kodeks/zabbix
#
# 6.0 is installed by the packages named in tests/packages.txt (their dependencies serve both versions). 7.0 comes from
# bookworm-backports and is unpacked beside it, FOLDER/7.0, with nothing installed: two versions cannot be installed at
# once. The proxies cannot be installed beside the servers either, so both are unpacked: FOLDER/6.0-proxy and
# FOLDER/7.0-proxy. Packages come from the mirror that this machine's apt already uses and are checked with Debian's
# own keyring.
set -eu
folder=${1:-/var/cache/monitoring-plugins-kodeks/zabbix}
done_mark="$folder/complete-1"
[ -e "$done_mark" ] && exit 0

mirror=$(cat /etc/apt/sources.list.d/debian.sources 2>/dev/null | sed -n 's/^URIs: *\([^ ]*\).*/\1/p' | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) bookworm main.*/\2/p' /etc/apt/sources.list 2>/dev/null | head -n 1)
[ -n "$mirror" ] || { echo "zabbix_setup.sh: no Debian mirror found in apt's own configuration" >&2; exit 1; }

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/parts" "$work/debs" "$work/out"
cat > "$work/parts/lab.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: bookworm bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
apt_get() {
    apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/parts" \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User=root "$@"
}
unpack() { # unpack PACKAGE SUITE NAME: the package's files into out/NAME
    (cd "$work/debs" && apt_get download "$1/$2")
    dpkg-deb -x "$work/debs/$1"_*.deb "$work/out/$3"
    rm -f "$work/debs/$1"_*.deb
}

apt_get update
for package in zabbix-server-pgsql zabbix-frontend-php zabbix-agent; do
    unpack "$package" bookworm-backports 7.0
done
unpack zabbix-proxy-sqlite3 bookworm-backports 7.0-proxy
unpack zabbix-proxy-sqlite3 bookworm 6.0-proxy

"$work/out/7.0/usr/sbin/zabbix_server" -V | head -n 1
"$work/out/7.0-proxy/usr/sbin/zabbix_proxy" -V | head -n 1
"$work/out/6.0-proxy/usr/sbin/zabbix_proxy" -V | head -n 1
mkdir -p "$folder"
for part in 7.0 7.0-proxy 6.0-proxy; do
    rm -rf "${folder:?}/$part"
    cp -a "$work/out/$part" "$folder/$part"
done
chmod -R a+rX "$folder"
: > "$done_mark"
