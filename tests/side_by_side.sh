# Sourced by run.sh, load.sh and newest.sh: suites one after the other or side by side, each with its output in one piece.
#   run NAME PYTEST_ARGUMENTS    now
#   side_by_side NUMBER          the suites on standard input, one a line, NUMBER of them at once: as one ends, the next begins
#   finish                       exits 1 if any suite failed
pytest=".venv/bin/python -m pytest --durations 5"
failed=""
logs=$(mktemp -d)

run() {
    suite=$1; shift
    echo "== $suite"
    begun=$(date +%s)
    $pytest "$@" || failed="$failed $suite"
    echo "== $suite: $(($(date +%s) - begun)) s"
}

side_by_side() {
    xargs -P "$1" -L 1 sh -c '
        said=$0/$2 pytest=$1 suite=$2; shift 2
        begun=$(date +%s)
        touch "$said.failed"  # until it has passed, so one that is killed has failed
        {
            echo "== $suite"
            $pytest "$@" 2>&1 && rm "$said.failed"
            echo "== $suite: $(($(date +%s) - begun)) s"
        } >"$said"
        cat "$said"
    ' "$logs" "$pytest" || failed="$failed side_by_side"
    for file in "$logs"/*.failed; do
        [ ! -e "$file" ] || failed="$failed $(basename "$file" .failed)"
    done
}

finish() {
    rm -rf "$logs"
    [ -z "$failed" ] || { echo "== failed:$failed"; exit 1; }
}
