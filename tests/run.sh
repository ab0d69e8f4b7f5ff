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

evening=tests/engines/zabbix/test_evening.py recorded=tests/engines/zabbix/test_recorded_lines.py
nagios=tests/engines/nagios/test_nagios_incidents.py icinga=tests/engines/icinga2/test_icinga_incidents.py
apart=""
for suite in $nagios $icinga $evening $recorded tests/fleet tests/satellite; do apart="$apart --ignore $suite"; done
run others -n 3 --dist loadgroup $apart --ignore tests/engines/zabbix --ignore tests/kernel tests

# What plays in real time waits most of its time, so suites run side by side, with the kernel's guest and the template's tests
# among them. All at once would be too much for two cores: answers come too late then.
export KODEKS_LAB_UNIT=6  # seconds of a minute in Nagios and Icinga
start zabbix-6.0 $evening -k 6.0
start icinga-2.14 $icinga -k 2.14
start nagios $nagios
start templates -n 2 --dist loadgroup $apart tests/engines/zabbix
together
start zabbix-7.0 $evening -k 7.0
start recorded-6.0 $recorded -k 6.0
start recorded-7.0 $recorded -k 7.0
start icinga-2.13 $icinga -k 2.13
start kernel tests/kernel
finish
