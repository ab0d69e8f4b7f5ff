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
# Real engines and time limits on two busy cores: a test that fails is run once more, at the report's end as "rerun".
# What fails twice fails; a test that passes only at the second try is told by its name.
exec .venv/bin/python -m pytest -n 2 --dist loadgroup --durations 15 --reruns 1 --reruns-delay 2 -rR "$@"
