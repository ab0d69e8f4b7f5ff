# Sourced by run.sh, load.sh and newest.sh: suites one after the other or side by side, each with its output in one piece.
#   run NAME PYTEST_ARGUMENTS      now
#   start NAME PYTEST_ARGUMENTS    beside the others
#   together                       waits for those, shows what they said
#   finish                         the same, then exits 1 if any suite failed
pytest=".venv/bin/python -m pytest --durations 5"
failed=""
started=""
logs=$(mktemp -d)

run() {
    suite=$1; shift
    echo "== $suite"
    begun=$(date +%s)
    $pytest "$@" || failed="$failed $suite"
    echo "== $suite: $(($(date +%s) - begun)) s"
}

start() {
    suite=$1; shift
    (
        begun=$(date +%s)
        $pytest "$@" >"$logs/$suite" 2>&1
        result=$?
        echo "== $suite: $(($(date +%s) - begun)) s" >>"$logs/$suite"
        exit $result
    ) &
    started="$started $suite=$!"
}

together() {
    for suite in $started; do
        wait "${suite#*=}" || failed="$failed ${suite%=*}"
        echo "== ${suite%=*}"
        cat "$logs/${suite%=*}"
    done
    started=""
}

finish() {
    together
    rm -rf "$logs"
    [ -z "$failed" ] || { echo "== failed:$failed"; exit 1; }
}
