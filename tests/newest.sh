#!/bin/sh
# The incidents and the configuration tests on the engines and the Python of Debian's testing release. Not in CI, since that
# moves; as root. The last line says what it ran on: it belongs under "Tested on".
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
. tests/side_by_side.sh
packages tests/packages.txt && environment tests/requirements.txt && .venv/bin/python tests/engine_folders.py newest || exit 1
export KODEKS_ENGINES=newest KODEKS_LAB_UNIT=6
run configuration tests/engines/nagios/test_nagios_configuration.py tests/engines/icinga2/test_icinga_configuration.py \
    tests/engines/zabbix --ignore tests/engines/zabbix/test_evening.py
side_by_side 3 <<SUITES
nagios tests/engines/nagios/test_nagios_incidents.py
icinga tests/engines/icinga2/test_icinga_incidents.py
zabbix tests/engines/zabbix/test_evening.py
SUITES
finish
.venv/bin/python tests/engine_folders.py versions newest
