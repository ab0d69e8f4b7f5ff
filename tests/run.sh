#!/bin/sh
# Makes this machine (Debian 12 or 13, root) ready and runs everything that CI runs: ruff, mypy --strict, all tests but the
# load tests (sh tests/load.sh). Nothing is repeated. Arguments go to pytest.
#   sh tests/run.sh                    everything
#   sh tests/run.sh tests/packaging    a part
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
. tests/side_by_side.sh
packages tests/packages.txt && environment tests/requirements.txt && sh tests/lab/python_setup.sh &&
    .venv/bin/python tests/engine_folders.py || exit 1
.venv/bin/ruff check . || exit 1
.venv/bin/mypy || exit 1
[ $# -eq 0 ] || exec $pytest -n 2 --dist loadgroup "$@"

# What plays in real time runs side by side, with minutes of 6 seconds: together they need 1.3 of two cores. What keeps both
# cores busy, and measures time where it does, runs before it by itself.
alone="tests/engines/nagios/test_nagios_incidents.py tests/engines/icinga2/test_icinga_incidents.py tests/engines/zabbix/test_evening.py"
others=""
for suite in $alone tests/kernel tests/fleet tests/satellite; do others="$others --ignore $suite"; done
run others -n 2 --dist loadgroup tests $others
run kernel tests/kernel
export KODEKS_LAB_UNIT=6
start nagios tests/engines/nagios/test_nagios_incidents.py
start icinga-2.13 tests/engines/icinga2/test_icinga_incidents.py -k 2.13
start icinga-2.14 tests/engines/icinga2/test_icinga_incidents.py -k 2.14
start zabbix-6.0 tests/engines/zabbix/test_evening.py -k 6.0
start zabbix-7.0 tests/engines/zabbix/test_evening.py -k 7.0
finish
