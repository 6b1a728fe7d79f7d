#!/bin/sh
# Sets everything up where needed, then runs the tests, the hostile ones after the others.
set -eu
cd "$(dirname "$0")/.."
.ci/setup engine,test
reports=${REPORTS:-$(mktemp -d)}
.venv/bin/python -m pytest --junitxml "$reports/tests.xml" "$@"
.venv/bin/python -m pytest -m attack --junitxml "$reports/attacks.xml" "$@"
