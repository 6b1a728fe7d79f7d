#!/bin/sh
# Sets everything up where needed, then runs lmboot with the words given.
set -eu
here=$(dirname "$0")
"$here/.ci/setup" engine
exec "$here/.venv/bin/lmboot" "$@"
