#!/bin/sh
# The quick loop on other days: today, in a week, on the next February 29 and in a year. Whoever writes a date into a test sees
# here whether it rots. Needs gcc and what tests/quick.sh needs.
cd "$(dirname "$0")/.." || exit 1
. tests/setup.sh
environment tests/requirements.txt || exit 1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
gcc -shared -fPIC -O1 -Wall -Werror -o "$folder/clock.so" tests/lab/clock.c -ldl || exit 1
[ $# -gt 0 ] || set -- tests/unit tests/functional
leap=$(python3 -c 'import datetime as d; t = d.date.today(); print(next(n for n in range(1, 3000) if (t + d.timedelta(n)).strftime("%m%d") == "0229"))')
failed=""
for days in 0 8 "$leap" 366; do
    echo "== $(date -d "$days days" +%F)"
    KODEKS_CLOCK_AHEAD=$((days * 86400)) LD_PRELOAD="$folder/clock.so" .venv/bin/python -m pytest -q -n 2 --dist loadgroup --quick "$@" || failed="$failed $days"
done
[ -z "$failed" ] || { echo "== failed, so many days ahead:$failed"; exit 1; }
