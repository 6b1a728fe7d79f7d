#!/bin/sh
# Sets everything up where needed, then runs the tests, then the hostile ones.
set -eu
cd "$(dirname "$0")/.."
.ci/setup engine,wasm,test
reports=${REPORTS:-$(mktemp -d)}
unset PYTHONDONTWRITEBYTECODE # or each process would compile all tests anew
pytest=".venv/bin/python -m pytest --require=sandbox"
.venv/bin/python -m tests.portable # the portable sandbox's engine: a minute, once on a machine

status=0
$pytest --junitxml "$reports/all.xml" "$@" || status=$?
$pytest -m attack --junitxml "$reports/attacks.xml" "$@" || status=$?
exit $status
