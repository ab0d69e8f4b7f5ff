#!/bin/sh
# Makes this machine ready and runs everything: ruff, mypy --strict, all tests. Arguments go to pytest.
#   sh tests/run.sh                    everything
#   sh tests/run.sh tests/unit         a part
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
setup tests/packages.txt tests/requirements.txt || exit 1
for prepare in tests/lab/*_setup.sh; do
    [ ! -e "$prepare" ] || sh "$prepare" || exit 1
done
.venv/bin/ruff check . || exit 1
.venv/bin/mypy || exit 1
pytest=".venv/bin/python -m pytest --durations 10"
parallel="-n 2 --dist loadgroup --reruns 1 --reruns-delay 2 -rR"
[ $# -eq 0 ] || exec $pytest $parallel "$@"

# What plays in real time on real engines runs alone, one suite after the other, and a suite that fails is played once
# more from nothing: two engines that start at once on two cores can be late. What fails twice fails.
alone="tests/engines/zabbix/test_evening.py tests/engines/nagios tests/engines/icinga2 tests/fleet tests/satellite tests/kernel"
failed=""
others=""
for suite in $alone; do
    $pytest "$suite" || { echo "== $suite failed; once more from nothing"; $pytest "$suite" || failed="$failed $suite"; }
    others="$others --ignore $suite"
done
# The rest: a test that fails on a busy machine is run once more, and named at the report's end.
$pytest $parallel tests $others || failed="$failed the-rest"
[ -z "$failed" ] || echo "== failed:$failed"
[ -z "$failed" ]
