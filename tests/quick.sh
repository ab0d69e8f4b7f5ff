#!/bin/sh
# The quick loop, for anybody: ruff, mypy, and the unit and functional tests that need a virtual environment and nothing
# else: no root, no Debian package. Nothing is repeated. Arguments go to pytest. The last line says what is left.
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
environment tests/requirements.txt || exit 1
.venv/bin/ruff check -q . || exit 1
.venv/bin/mypy || exit 1
[ $# -gt 0 ] || set -- tests/unit tests/functional
exec .venv/bin/python -m pytest -q -n 4 --dist loadgroup --quick "$@"
