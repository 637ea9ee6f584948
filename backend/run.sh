#!/usr/bin/env bash
# Start the service: ./backend/run.sh [--once] […]. The first run installs what is needed into .venv.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "$0" || echo "$0")")/setup.sh" # "$0" may be a link
prepare
exec .venv/bin/python -m backend serve "$@"
