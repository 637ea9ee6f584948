#!/usr/bin/env bash
# Start the service: ./backend/run.sh [--once] […]. The first run installs what is needed into .venv.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # called as `sh run.sh`
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "$0" || echo "$0")")/setup.sh" # "$0" may be a link
prepare
exec .venv/bin/python -m backend serve "$@"
