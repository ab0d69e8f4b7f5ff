#!/bin/sh
# The load tests, for a release: a thousand hosts behind a Zabbix proxy and behind an Icinga satellite. As root, by itself.
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
. tests/side_by_side.sh
packages tests/packages.txt && environment tests/requirements.txt && .venv/bin/python tests/engine_folders.py || exit 1
run fleet tests/fleet
run satellite tests/satellite
finish
