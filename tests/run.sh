#!/bin/sh
# Sets everything up where needed, then runs the tests, then the hostile ones. Half of a test's time
# is waiting, so some folders get a process of their own.
set -eu
cd "$(dirname "$0")/.."
.ci/setup engine,wasm,test
reports=${REPORTS:-$(mktemp -d)}
unset PYTHONDONTWRITEBYTECODE # or each process would compile all tests anew
.venv/bin/python -m tests.portable # the portable sandbox's engine: a minute, once on a machine

beside=
trap 'kill $beside 2>/dev/null || :' EXIT

round() { # the reports' name, the folders that run beside the rest, then pytest's arguments
    name=$1 apart=$2 rest= failed=0
    pytest=".venv/bin/python -m pytest --require=sandbox"
    shift 2
    beside=
    for folder in $apart; do
        report=$reports/$name-$folder
        $pytest "tests/$folder" --junitxml "$report.xml" "$@" >"$report.log" 2>&1 &
        beside="$beside $!"
        rest="$rest --ignore=tests/$folder"
    done
    $pytest $rest --junitxml "$reports/$name.xml" "$@" || failed=1
    for process in $beside; do
        wait "$process" || failed=1
    done
    for folder in $apart; do
        cat "$reports/$name-$folder.log"
    done
    return $failed
}

status=0
round usual "gui runtime cli" "$@" || status=1
round attacks "gui plain_user" -m attack "$@" || status=1
exit $status
