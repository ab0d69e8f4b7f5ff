#!/bin/sh
# Unpacks Nagios 4.5 beside the one of Debian 12, for tests/engines/nagios: run as root, safe to repeat.
#
#   nagios_testing_setup.sh [FOLDER]      default /var/cache/monitoring-plugins-kodeks/nagios-testing
#
# From 4.4.12 on Nagios checks the masters of a service ahead of time (predictive service dependency checks); Debian 12
# has 4.4.6, so 4.5 comes from Debian's testing release. Nothing is installed: FOLDER/nagios4 starts the program with the
# C library that it was built for. Packages come from the mirror that this machine's apt already uses and are checked
# with Debian's own keyring (a mirror may be some weeks behind); no package script is run.
set -eu
folder=${1:-/var/cache/monitoring-plugins-kodeks/nagios-testing}
suite=forky
done_mark="$folder/complete-1"
[ -e "$done_mark" ] && exit 0

mirror=$(cat /etc/apt/sources.list.d/debian.sources 2>/dev/null | sed -n 's/^URIs: *\([^ ]*\).*/\1/p' | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) bookworm main.*/\2/p' /etc/apt/sources.list 2>/dev/null | head -n 1)
[ -n "$mirror" ] || { echo "nagios_testing_setup.sh: no Debian mirror found in apt's own configuration" >&2; exit 1; }

rm -rf "$folder"
mkdir -p "$folder"
mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' --include=nagios4-core "$suite" "$folder/root" "$mirror" >"$folder/log" 2>&1 ||
    { cat "$folder/log" >&2; exit 1; }
# Nagios starts its workers by its own name (argv[0]), so that must be this file and not the dynamic loader.
cat >"$folder/nagios4" <<RUN
#!/bin/sh
exec "$folder/root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --argv0 "$folder/nagios4" \\
    --library-path "$folder/root/usr/lib/x86_64-linux-gnu" "$folder/root/usr/sbin/nagios4" "\$@"
RUN
chmod 755 "$folder/nagios4"
chmod -R a+rX "$folder"
"$folder/nagios4" --version | grep '^Nagios Core 4\.5'
rm -f "$folder/log"
: >"$done_mark"
