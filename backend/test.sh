#!/usr/bin/env bash
# Run every test on all cores, or those that pytest's arguments name. The first run installs what is needed into .venv.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # called as `sh test.sh`
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "$0" || echo "$0")")/setup.sh" # "$0" may be a link
prepare dev
unset PYTHONDONTWRITEBYTECODE # what pytest makes of each test's asserts is kept for the next run
if [ $# -eq 0 ]; then set -- -n auto --dist worksteal; fi
exec .venv/bin/python -m pytest "$@"
