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

others() { # what is left to another process: each folder that lies in this one
    for other in $apart; do
        case tests/$other in "$1"/*) echo "--ignore=tests/$other" ;; esac
    done
}

round() { # the reports' name, the folders that run beside the rest, then pytest's arguments
    name=$1 apart=$2 failed=0
    pytest=".venv/bin/python -m pytest --require=sandbox"
    shift 2
    beside=
    for folder in $apart; do
        report=$reports/$name-$(echo "$folder" | tr / -)
        $pytest "tests/$folder" $(others "tests/$folder") --junitxml "$report.xml" "$@" \
            >"$report.log" 2>&1 &
        beside="$beside $!"
    done
    $pytest $(others tests) --junitxml "$reports/$name.xml" "$@" || failed=1
    for process in $beside; do
        wait "$process" || failed=1
    done
    for folder in $apart; do
        cat "$reports/$name-$(echo "$folder" | tr / -).log"
    done
    return $failed
}

status=0
round usual "gui gui/window runtime cli" "$@" || status=1
round attacks "gui plain_user" -m attack "$@" || status=1
exit $status
