#!/bin/sh
# Sets everything up where needed, then runs the tests, then the hostile ones: each time in three
# processes, since half of a test's time is waiting.
set -eu
cd "$(dirname "$0")/.."
.ci/setup engine,wasm,test
reports=${REPORTS:-$(mktemp -d)}
unset PYTHONDONTWRITEBYTECODE # or each process would compile all tests anew
.venv/bin/python -m tests.portable # the portable sandbox's engine: a minute, once on a machine

pytest=".venv/bin/python -m pytest --require=sandbox"
window= runtime=
trap 'kill $window $runtime 2>/dev/null || :' EXIT

round() { # the reports' name, then pytest's arguments
    name=$1 failed=0
    shift
    $pytest tests/gui --junitxml "$reports/$name-gui.xml" "$@" >"$reports/gui.log" 2>&1 &
    window=$!
    $pytest tests/runtime --junitxml "$reports/$name-runtime.xml" "$@" >"$reports/runtime.log" 2>&1 &
    runtime=$!
    $pytest --ignore=tests/gui --ignore=tests/runtime --junitxml "$reports/$name.xml" "$@" || failed=1
    wait "$runtime" || failed=1
    cat "$reports/runtime.log"
    wait "$window" || failed=1
    cat "$reports/gui.log"
    return $failed
}

status=0
round usual "$@" || status=1
round attacks -m attack "$@" || status=1
exit $status
