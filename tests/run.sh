#!/bin/sh
# Makes this machine (Debian 12 or 13, root) ready and runs everything that CI runs: ruff, mypy --strict, all tests but the
# load tests (sh tests/load.sh). Nothing is repeated. Arguments go to pytest.
#   sh tests/run.sh                    everything
#   sh tests/run.sh tests/packaging    a part
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
. tests/side_by_side.sh
packages tests/packages.txt && environment tests/requirements.txt && sh tests/lab/python_setup.sh &&
    .venv/bin/python tests/engine_folders.py && .venv/bin/python tests/windows_folder.py || exit 1
.venv/bin/ruff check . || exit 1
.venv/bin/mypy || exit 1
[ $# -eq 0 ] || exec $pytest -n 2 --dist loadgroup "$@"

zabbix=tests/engines/zabbix evening=$zabbix/test_evening.py recorded=$zabbix/test_recorded_lines.py
nagios=tests/engines/nagios/test_nagios_incidents.py icinga=tests/engines/icinga2/test_icinga_incidents.py
apart=""
for suite in $nagios $icinga $zabbix tests/kernel tests/packaging tests/fleet tests/satellite; do apart="$apart --ignore $suite"; done
run others -n 4 --dist loadgroup $apart tests

# What plays in real time waits most of its time, so suites run side by side, others among them. All at once would be too much
# for two cores: answers come too late then.
export KODEKS_LAB_UNIT=6  # seconds of a minute in Nagios and Icinga
side_by_side 5 <<SUITES
zabbix-6.0 $evening -k 6.0
icinga-2.14 $icinga -k 2.14
nagios $nagios
recorded-6.0 $recorded -k 6.0
kernel tests/kernel
zabbix-7.0 $evening -k 7.0
templates -n 2 --dist loadgroup --ignore $evening --ignore $recorded $zabbix
icinga-2.13 $icinga -k 2.13
recorded-7.0 $recorded -k 7.0
packaging tests/packaging
SUITES
finish
