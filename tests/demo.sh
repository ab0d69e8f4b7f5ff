#!/bin/sh
# Makes this machine ready and replays the evening, scene by scene, with the real checks; with --language ru in Russian.
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
packages tests/packages-demo.txt && environment tests/requirements-demo.txt || exit 1
exec .venv/bin/python tests/demo.py "$@"
