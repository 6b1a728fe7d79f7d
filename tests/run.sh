#!/bin/sh
# Sets everything up where needed, then runs the tests, then the hostile ones: each time those of the
# window beside the others, since they mostly wait.
set -eu
cd "$(dirname "$0")/.."
.ci/setup engine,wasm,test
reports=${REPORTS:-$(mktemp -d)}
unset PYTHONDONTWRITEBYTECODE # or each process would compile all tests anew
.venv/bin/python -m tests.portable # the portable sandbox's engine: a minute, once on a machine

beside=
trap 'kill $beside 2>/dev/null || :' EXIT
round() { # a name for its reports, then pytest's arguments
    name=$1
    shift
    pytest=".venv/bin/python -m pytest --require=sandbox"
    $pytest tests/gui --junitxml "$reports/$name-window.xml" "$@" >"$reports/window.log" 2>&1 &
    beside=$!
    others=0
    $pytest --ignore=tests/gui --junitxml "$reports/$name-others.xml" "$@" || others=$?
    window=0
    wait "$beside" || window=$?
    cat "$reports/window.log"
    return $((others > window ? others : window))
}

status=0
round usual "$@" || status=$?
round attacks -m attack "$@" || status=$?
exit $status
