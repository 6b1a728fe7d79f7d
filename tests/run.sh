#!/bin/sh
# Sets everything up where needed, then runs the tests: those of the window beside the others, since
# they mostly wait; then the hostile ones.
set -eu
cd "$(dirname "$0")/.."
.ci/setup engine,wasm,test
reports=${REPORTS:-$(mktemp -d)}
pytest=".venv/bin/python -m pytest"
.venv/bin/python -m tests.portable # the portable sandbox's engine: a minute, once on a machine

$pytest tests/gui --junitxml "$reports/windows.xml" "$@" >"$reports/windows.log" 2>&1 &
beside=$!
trap 'kill $beside 2>/dev/null || :' EXIT
others=0
$pytest --ignore=tests/gui --require=sandbox --junitxml "$reports/others.xml" "$@" || others=$?
status=0
wait $beside || status=$?
cat "$reports/windows.log"
$pytest -m attack --require=sandbox --junitxml "$reports/attacks.xml" "$@" || status=$?
exit $((others > status ? others : status))
